"""How a running testbed is told of faults: one JSON object a line over a local socket. Used by `run` and by `fault`."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


async def serve(port: int, answer: Answer, runtime: Path) -> asyncio.Server:
    """Listens on 127.0.0.1 (port 0: any free one), writes where into the runtime file; OSError: the port is taken."""

    async def talk(lines: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        try:
            while line := await lines.readline():
                out.write(json.dumps(await _reply(line, answer), ensure_ascii=False).encode() + b"\n")
                await out.drain()
        except (ConnectionError, ValueError):  # the caller left, or sent a line without end: nothing to answer
            pass
        finally:
            out.close()

    server = await asyncio.start_server(talk, "127.0.0.1", port)
    bound = server.sockets[0].getsockname()[1]
    runtime.write_text(json.dumps({"port": bound}), "utf-8")  # noqa: ASYNC240 - once, at the start
    return server


async def _reply(line: bytes, answer: Answer) -> Mapping[str, Any]:
    try:
        asked = json.loads(line)
        if not isinstance(asked, dict):
            return {"ok": False, "error": "send one JSON object a line"}
        return await answer(asked)
    except (ValueError, KeyError) as error:
        return {"ok": False, "error": str(error)}


def ask(runtime: Path, port: int | None, question: Mapping[str, Any]) -> dict[str, Any]:
    """Asks the running testbed; ConnectionError says how to start one."""
    try:
        there = int(json.loads(runtime.read_text("utf-8"))["port"]) if port is None else port
        with socket.create_connection(("127.0.0.1", there), timeout=10) as line:
            line.sendall(json.dumps(question).encode() + b"\n")
            reply: dict[str, Any] = json.loads(line.makefile("rb").readline())
    except (OSError, ValueError, KeyError) as error:
        raise ConnectionError(f"no testbed answers ({error}); start one with `haechi-testbed run CITY_DIR`") from error
    return reply
