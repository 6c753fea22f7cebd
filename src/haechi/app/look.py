"""Listens to a running platform for some seconds and asks how quick its log and its disk are. For `haechi doctor`."""

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path

import orjson

from haechi.app import processes
from haechi.app.bottleneck import Look, Word
from haechi.app.settings import RunSettings
from haechi.core.errors import Unavailable
from haechi.plugins.stores.nats.log import NatsBus, NatsLog, close, connect

SPAN_S = 3.0
SYNCS = 9
ANSWER_S = 5.0


async def look(settings: RunSettings, supervisor: int | None, span_s: float = SPAN_S) -> Look:
    """Takes `span_s`, more when the log does not answer; writes a file of four kilobytes and removes it."""
    pids = processes.children(supervisor) if supervisor is not None else {}
    states = states_of(pids, supervisor)
    if states.get("nats-server") == "stopped":  # it would be asked in vain
        return Look(span_s, {}, states, log_answers=False)
    sync_s = await asyncio.to_thread(_sync_s, settings.folder / "log")
    nats_pid = pids.get("nats-server", 0)
    before, begun = processes.cpu_s(nats_pid) or 0.0, time.monotonic()
    try:
        async with asyncio.timeout(span_s + 2 * ANSWER_S):
            words, heard_s, behind = await _listened(settings, span_s)
    except (Unavailable, TimeoutError):
        return Look(span_s, {}, states, log_answers=False, sync_s=sync_s)
    cores = ((processes.cpu_s(nats_pid) or 0.0) - before) / (time.monotonic() - begun)
    return Look(heard_s, words, states, behind, sync_s=sync_s, nats_cores=cores)


def states_of(pids: Mapping[str, int], supervisor: int | None) -> dict[str, str]:
    """Of each process by its name; a supervisor that is stopped starts nothing again."""
    own = {} if supervisor is None else {"supervisor": supervisor}
    return {name: processes.state(pid) for name, pid in {**pids, **own}.items()}


async def _listened(
    settings: RunSettings, span_s: float
) -> tuple[Mapping[str, tuple[Word, Word]], float, Mapping[str, int]]:
    client = await connect(settings.log, "doctor")
    try:
        said: dict[str, list[tuple[float, Word]]] = {}
        seen: dict[str, int] = {}

        async def heard(subject: str, payload: bytes) -> None:
            role = subject.removeprefix("health.")
            said.setdefault(role, []).append((time.monotonic(), orjson.loads(payload)))

        async def applied(subject: str, payload: bytes) -> None:
            seen[subject.removeprefix("applied.")] = int(orjson.loads(payload)["seq"])

        bus, log = NatsBus(client), NatsLog(client, settings.log_limits)
        await bus.listen("health.*", heard)
        await bus.listen("applied.*", applied)
        await log.last_seq()
        await asyncio.sleep(span_s)
        last = await log.last_seq()
        spans = [words[-1][0] - words[0][0] for words in said.values()]
        pairs = {role: (words[0][1], words[-1][1]) for role, words in said.items()}
        return pairs, max(*spans, 1.0) if spans else span_s, {name: max(0, last - seq) for name, seq in seen.items()}
    finally:
        await close(client)


def _sync_s(folder: Path) -> float:
    """The median of some writes of four kilobytes, each synced."""
    file, times = folder / "doctor.probe", list[float]()
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError:
        return 0.0
    try:
        for _ in range(SYNCS):
            begun = time.monotonic()
            os.pwrite(number, bytes(4096), 0)
            os.fsync(number)
            times.append(time.monotonic() - begun)
    except OSError:
        pass  # a full disk is said by another look
    finally:
        os.close(number)
        file.unlink(missing_ok=True)
    return sorted(times)[len(times) // 2] if times else 0.0
