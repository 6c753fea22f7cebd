#!/usr/bin/env python3
"""Which ports the links of the demonstration city get. Called by scripts/demo; prints `LINK HOST:PORT` lines.

A link's own port, unless HAECHI_<LINK> (HAECHI_POWER_MODBUS=127.0.0.1:6020) says another; a port that is taken and was
not asked for is replaced by a free one, and that is said.
"""

import os
import socket
import sys
import tomllib
from pathlib import Path


def free(port: int) -> int:
    """The port if it can be had on 127.0.0.1, else any."""
    for wanted in (port, 0):
        try:
            with socket.create_server(("127.0.0.1", wanted)) as probe:
                return int(probe.getsockname()[1])
        except OSError:
            continue
    raise SystemExit("no port of 127.0.0.1 is free")


SHORT = {"water-mqtt": "HAECHI_MQTT", "air-hj212": "HAECHI_HJ212"}
for file in sorted(Path(sys.argv[1], "links").glob("*.toml")):
    usual = tomllib.loads(file.read_text("utf-8")).get("settings", {}).get("port")
    name = SHORT.get(file.stem, "HAECHI_" + file.stem.upper().replace("-", "_"))
    if usual is None:
        continue
    where = os.environ.get(name)
    if where is None:
        port = free(usual)
        where = f"127.0.0.1:{port}"
        if port != usual:
            print(f"{file.stem}: port {usual} is taken, using {port} ({name} names another)", file=sys.stderr)
    print(file.stem, where)
