"""Runs the cases of several brokers of ETSI's NGSI-LD suite against five platforms on loopback; prints what passed.

    .venv/bin/python scripts/etsi_brokers.py SUITE OUT [folder below IOP_TP/NGSI-LD/Interoperability]

SUITE as for `etsi_suite.py`. These cases know no accounts, and the brokers they register with each other neither: each
platform stands behind a small proxy that adds the token. What a case waits 15 or 30 s for is waited for 5 s.
"""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from etsi_suite import asked, made_city, point_at, publish

from haechi.app.supervisor import free_port
from haechi.testing.platform import Platform

BROKERS = 5
CASES = Path("IOP_TP/NGSI-LD/Interoperability")
PSEUDONYM = "antares"  # what CAS_01 calls the brokers in Via; a broker's own name is asked of it
PATIENCE_S = 5
LARGEST_HEAD = 1 << 20
DROPPED = (b"connection:", b"authorization:")


def main() -> None:
    suite, out, folder, robot = asked(__doc__)
    with tempfile.TemporaryDirectory(prefix="etsi-") as work:
        run(suite, Path(work), robot, CASES / folder)
    publish(out)


def run(suite: Path, work: Path, robot: Sequence[str], cases: Path) -> None:
    """Robot over a copy of the suite that knows where the brokers are and what they are called."""
    ignored = shutil.ignore_patterns(".venv")
    copy = Path(shutil.copytree(suite, work / "suite", ignore=ignored))
    with contextlib.ExitStack() as stack:
        brokers = [
            stack.enter_context(Platform(_city(suite, work / str(number)), work / f"data{number}"))
            for number in range(1, BROKERS + 1)
        ]
        urls = [stack.enter_context(open_door(one)) for one in brokers]
        point_at(copy, urls[0])
        _rewrite(copy, [_alias(one) for one in brokers])
        names = [f"b{number}_url:{url}/ngsi-ld/v1" for number, url in enumerate(urls, 1)]
        variables = [word for name in names for word in ("--variable", name)]
        command = [*robot, "--log", "NONE", "--report", "NONE", "--console", "dotted", *variables, str(copy / cases)]
        environment = {**os.environ, "PYTHONPATH": str(copy / "libraries")}
        # Its exit code counts failures.
        subprocess.run(command, cwd=copy, env=environment, check=False)  # noqa: S603 - the suite the caller names


def _city(suite: Path, work: Path) -> Path:
    work.mkdir()
    return made_city(suite, work)


def _alias(broker: Platform) -> str:
    """What it is called in Via; it is empty of entities afterwards, because cases count what there is."""
    for one in broker.request("GET", "/ngsi-ld/v1/entities?local=true&limit=1000"):
        broker.request("DELETE", f"/ngsi-ld/v1/entities/{one['id']}")
    return str(broker.request("GET", "/ngsi-ld/v1/info/sourceIdentity")["contextSourceAlias"])


def _rewrite(copy: Path, aliases: Sequence[str]) -> None:
    for case in (copy / "IOP_TP").rglob("*.robot"):
        text = case.read_text()
        for number, alias in enumerate(aliases, 1):
            text = text.replace(f"{PSEUDONYM}{number}", alias)
        case.write_text(
            re.sub(r"Wait For Request( {4,})\$\{(?:15|30)\}", rf"Wait For Request\1${{{PATIENCE_S}}}", text)
        )


@contextlib.contextmanager
def open_door(broker: Platform) -> Iterator[str]:
    """The URL of a proxy that adds the broker's token."""
    port, token, loop = free_port(), broker.token().encode(), asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await _pass_on(reader, writer, broker.http_port, token)
        writer.close()

    loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", port, limit=LARGEST_HEAD))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, token: bytes) -> None:
    """One request a connection: nothing of the head but these two lines is looked at."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = [one for one in head[:-4].split(b"\r\n") if not one.lower().startswith(DROPPED)]
    lines += [b"Authorization: Bearer " + token, b"Connection: close"]
    there, back = await asyncio.open_connection("127.0.0.1", port)
    back.write(b"\r\n".join(lines) + b"\r\n\r\n")
    sending = asyncio.create_task(_pump(reader, back))
    await _pump(there, writer)
    sending.cancel()
    back.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while content := await reader.read(65_536):
            writer.write(content)
            await writer.drain()


if __name__ == "__main__":
    main()
