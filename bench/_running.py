"""Runs what is measured: the platform's doors alone, and what processes cost (CPU seconds, memory)."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haechi.app import order, processes
from haechi.app.settings import RunSettings, load
from haechi.app.supervisor import Supervisor, free_port
from haechi.core.frame import decode
from haechi.plugins.stores.nats.log import NatsLog, close, connect
from haechi.plugins.stores.nats.server import Address

TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk the repository lies on (a measurement in memory would sync nothing), gone afterwards."""
    base = Path.cwd() / "artefacts"
    base.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, prefix="bench-") as folder:
        yield Path(folder)


@dataclass(frozen=True, slots=True)
class Door:
    """A gateway with its log and nothing behind it; `port` of its one link, `secrets` of its devices."""

    port: int
    pid: int
    secrets: dict[str, str]
    data: Path

    def rows(self) -> int:
        """Observations that are on the log, read back from it; nothing of it may be in quarantine."""
        return asyncio.run(_rows(self.data))


@contextlib.contextmanager
def door(city: Path, data: Path, durability: str = "disk", settings: Mapping[str, Any] = {}) -> Iterator[Door]:
    """nats-server and the role `gateway`, supervised as `haechi run` does; the pipeline's consumers do not run."""
    known = issue(city, data)
    (link,) = (one.stem for one in (city / "links").glob("*.toml"))
    port = free_port()
    address = Address(free_port(), secrets.token_hex(16))
    RunSettings(
        str(city), str(data), address, durability=durability, overrides={link: {**settings, "port": port}}
    ).save()
    with (data / "door.log").open("w") as log:
        command = [sys.executable, "-m", "bench._running", str(data)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"up\n", f"the gateway did not start; see {data}/door.log"
        yield Door(port, process.pid, {device: one[link] for device, one in known.items()}, data)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        process.stdout.close()


def issue(city: Path, data: Path) -> dict[str, dict[str, str]]:
    """Gives every device of the city its secret: device -> link -> secret."""
    data.mkdir(parents=True, exist_ok=True)
    out = data / "credentials.json"
    command = [sys.executable, "-m", "haechi", "device", "issue", str(city), "--data", str(data), "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return dict(json.loads(out.read_text()))


async def _rows(data: Path) -> int:
    client = await connect(load(data).log, "bench")
    log, rows = NatsLog(client), 0
    last = await log.last_seq()
    async for records in log.read(0, frozenset({"obs"})):
        for frame in (decode(one.payload) for one in records):
            assert not frame.quarantined, frame.quarantined[0]
            links = frame.observations.column("entity").to_pylist()
            rows += sum(":Device:" not in one for one in links)  # what adapters say of connections is not counted
        if records[-1].seq >= last:
            break
    await close(client)
    return rows


async def _supervise(data: Path) -> None:
    """The pipeline makes its stores and ends; then the gateway alone."""
    settings, stop, made = load(data), asyncio.Event(), asyncio.Event()
    await Supervisor(settings, ("pipeline",)).run(made, made.set)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.create_task(Supervisor(settings, ("gateway",)).run(stop, lambda: print("up", flush=True)))
    await asyncio.wait([running], timeout=1)  # a cold start forgets what a former run said
    order.made(settings)
    await running


def family(pid: int) -> dict[int, str]:
    """The process, its children and theirs: role or program by process id."""
    found = {pid: processes.role_of(pid)}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= family(int(child))
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds these processes have used so far, user and system."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_mb(pid: int) -> float:
    """Memory of a process with its share of what several processes share (PSS), in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(one.split()[1]) for one in lines if one.startswith("Pss:")) * 1024 / 1e6


if __name__ == "__main__":
    asyncio.run(_supervise(Path(sys.argv[1])))
