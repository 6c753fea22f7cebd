"""Where the time of one observation goes: each stage alone, on real frames and real stores, in small and large frames.

CPU is what the stage's own thread or process used; waiting is wall time beyond that. Small frames are what a steady
17,000/s makes, large ones what a flood makes. `python -m bench profile`.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import uvloop

from bench import _city, _running, mqtt_door
from haechi.app import parts
from haechi.app.city import plans
from haechi.app.settings import RunSettings
from haechi.app.supervisor import free_port
from haechi.core.frame import Frame, decode, encode
from haechi.core.message import Message
from haechi.faces.console.live import LiveHub
from haechi.plugins.stores.nats.log import NatsLog, close, connect
from haechi.plugins.stores.nats.server import Address, NatsServer, ServerSettings
from haechi.ports import Projection, Record
from haechi.services.cities.model import City
from haechi.services.cities.provision import commands
from haechi.services.commands import CommandProjection, setpoints
from haechi.services.context.projection import ContextProjection
from haechi.services.history.reader import HistoryTail
from haechi.services.history.writer import HistoryWriter
from haechi.services.incidents import IncidentProjection
from haechi.services.ingest.account import AccountProjection
from haechi.services.ingest.batch import Builder
from haechi.services.ingest.mapping import Mapper
from haechi.services.watch.projection import WatchProjection

SENSORS, COUNT = 10_000, 40_000
FRAMES = (20, 500)  # observations in one
TOGETHER = 16  # frames a projection is handed at once
T = TypeVar("T")
FIRST = ", a sensor's first"  # what is learned once: not in the sum
Stages = dict[str, tuple[float, float]]  # name -> CPU and waiting, µs an observation


def batched(items: Iterable[T], size: int) -> list[list[T]]:
    whole = list(items)
    return [whole[start : start + size] for start in range(0, len(whole), size)]


class Watch:
    """Adds up CPU and waiting of stages."""

    def __init__(self) -> None:
        self.spent: Stages = {}

    def time(self, name: str, work: Callable[..., T], *given: object) -> T:
        wall, cpu = time.perf_counter(), time.process_time()
        answer = work(*given)
        self.add(name, time.process_time() - cpu, time.perf_counter() - wall)
        return answer

    def add(self, name: str, cpu_s: float, wall_s: float) -> None:
        cpu, wait = self.spent.get(name, (0.0, 0.0))
        count = SENSORS if name.endswith(FIRST) else COUNT
        used, waited = cpu_s / count * 1e6, max(0.0, wall_s - cpu_s) / count * 1e6
        self.spent[name] = (cpu + used, wait + waited)


def main() -> None:
    found = []
    for size in FRAMES:
        with _running.scratch() as folder:
            found.append(stages(folder, size))
    _, door = uvloop.run(mqtt_door.door())
    print(f"{'µs of one observation':<42}{'frames of ' + str(FRAMES[0]):>20}{'frames of ' + str(FRAMES[1]):>20}")
    print(f"{'stage':<42}" + f"{'CPU':>10}{'waiting':>10}" * len(FRAMES))
    print(f"{'door: MQTT packets, PUBACK':<42}" + f"{door:>10.2f}{'':>10}" * len(FRAMES))
    for name in found[0]:
        print(f"{name:<42}" + "".join(f"{one[name][0]:>10.2f}{one[name][1]:>10.2f}" for one in found))
    totals = [door + sum(cpu for name, (cpu, _) in one.items() if not name.endswith(FIRST)) for one in found]
    print(f"{'CPU of all':<42}" + "".join(f"{one:>10.2f}{'':>10}" for one in totals))


def stages(folder: Path, size: int) -> Stages:
    watch = Watch()
    path = _city.make(folder / "city", SENSORS, 100)
    settings = RunSettings(str(path), str(folder), Address(free_port(), secrets.token_hex(16)))
    city = parts.load_city(path)
    frames = ingest(watch, city, size)
    asyncio.run(append_and_read(watch, settings, frames))
    apply(watch, settings, city, frames)
    return watch.spent


def ingest(watch: Watch, city: City, size: int) -> list[bytes]:
    """Codec, mapping, columns and bytes, as the gateway does; the frames."""
    mappers, found, groups = plans(city), [], list(batched(messages(), size))
    mapper = mappers["mqtt"]
    for group in groups[: SENSORS // size]:  # what is learned once per sensor is not what one observation costs
        found.append(encode(_mapped(mappers, group).frames()[0]))
    for group in groups[SENSORS // size :]:
        watch.time("codec: JSON to samples", _each, mapper.samples, group)
        builder = watch.time("codec again and mapping", _mapped, mappers, group)
        frame = watch.time("columns of the frame", builder.frames)[0]
        found.append(watch.time("frame to bytes", encode, frame))
    codec, both = watch.spent["codec: JSON to samples"], watch.spent.pop("codec again and mapping")
    rest = watch.spent.pop("columns of the frame"), watch.spent.pop("frame to bytes")
    watch.spent["mapping, checks, units"] = (both[0] - codec[0], 0.0)
    watch.spent["columns of the frame"], watch.spent["frame to bytes"] = rest
    return found


def _each(work: Callable[[T], object], items: Sequence[T]) -> None:
    for one in items:
        work(one)


def _live(hub: LiveHub, record: Record) -> None:
    hub.feed(decode(record.payload).observations, record.seq)


def _mapped(mappers: Mapping[str, Mapper], group: Sequence[Message]) -> Builder:
    builder = Builder(mappers)
    for message in group:
        builder.add(message)
    return builder


def messages() -> Iterator[Message]:
    at = time.time_ns() // 1000 - (SENSORS + COUNT) * 1000
    for number in range(SENSORS + COUNT):
        sensor = number % SENSORS
        value = f'{{"ts":{at // 1000 + number},"pressure":{400 + number // SENSORS % 2 / 10:.1f}}}'.encode()
        device, channel = _city.concentrator(sensor % 100), _city.channel(sensor)
        yield Message("mqtt", device, channel, value, at + number * 1000 + 500)


async def append_and_read(watch: Watch, settings: RunSettings, frames: Sequence[bytes]) -> None:
    server = NatsServer(ServerSettings(settings.folder / "log", settings.log))
    await server.start()
    client = await connect(settings.log, "bench")
    log = NatsLog(client)
    await log.open()
    assert server.pid is not None
    warm = len(frames) * SENSORS // (SENSORS + COUNT)
    for number, frame in enumerate(frames[:warm]):
        await log.append("obs", frame, f"warm-{number}")
    used, wall, cpu = _running.cpu_s([server.pid]), time.perf_counter(), time.process_time()
    for number, frame in enumerate(frames[warm:]):
        await log.append("obs", frame, f"bench-{number}")
    watch.add("append: our side, waiting for disk", time.process_time() - cpu, time.perf_counter() - wall)
    watch.add("append: nats-server", _running.cpu_s([server.pid]) - used, 0.0)
    wall, cpu = time.perf_counter(), time.process_time()
    async for records in log.read(warm, frozenset({"obs"})):
        if records[-1].seq >= len(frames):
            break
    watch.add("read from the log, one consumer", time.process_time() - cpu, time.perf_counter() - wall)
    await close(client)
    await server.stop()
    with (settings.folder / "bare").open("wb") as bare:
        wall = time.perf_counter()
        for frame in frames[warm:]:
            bare.write(frame)
            bare.flush()
            os.fsync(bare.fileno())
        watch.add("(bare write and fsync of as much)", 0.0, time.perf_counter() - wall)


def apply(watch: Watch, settings: RunSettings, city: City, frames: Sequence[bytes]) -> None:
    """Every projection, each with its own store, then what the api role does with each record."""
    entities = parts.entity_store(settings)
    made = [Frame(commands=tuple(chunk)) for _, chunk in commands(city, entities, time.time_ns() // 1000)]
    known = [Record(seq, "entity", encode(one), 0) for seq, one in enumerate(made, 1)]
    at = time.time_ns() // 1000
    records = [Record(seq, "obs", one, at) for seq, one in enumerate(frames, len(known) + 1)]
    first, records = records[: SENSORS // len_of(frames[0])], records[SENSORS // len_of(frames[0]) :]
    watch.time("decode, one consumer", _each, decode, [one.payload for one in records])
    live(watch, settings, at, first, records)
    for projection in projections(settings, city, ContextProjection(entities)):
        if "entity" in projection.subjects:
            projection.apply(known, datetime.now(UTC))
        if "obs" not in projection.subjects:
            projection.close()
            continue
        for some in batched(first, TOGETHER):
            watch.time(f"pipeline: {projection.name}{FIRST}", projection.apply, some, datetime.now(UTC))
        for some in batched(records, TOGETHER):
            watch.time(f"pipeline: {projection.name}", projection.apply, some, datetime.now(UTC))
        watch.time(f"pipeline: {projection.name}", projection.tick, datetime.now(UTC))
        if projection.name != "context":
            projection.close()
    entities.close()


def len_of(frame: bytes) -> int:
    """Observations in a frame."""
    return int(decode(frame).observations.num_rows)


def live(watch: Watch, settings: RunSettings, at: int, first: Sequence[Record], records: Sequence[Record]) -> None:
    """What the api role does with each record: fresh history in memory, live values for screens."""
    tail, hub = HistoryTail(parts.history_files(settings)), LiveHub(lambda entity: "water", lambda: at)
    for record in first:
        _live(hub, record)
    for some in batched(records, TOGETHER):
        watch.time("api: history tail", tail.absorb, some)
        for record in some:
            watch.time("api: live values", _live, hub, record)
    tail.close()


def projections(settings: RunSettings, city: City, context: ContextProjection) -> Iterator[Projection]:
    yield context
    described = parts.describe(parts.entity_store(settings, read_only=True), city)
    alarms, incidents = parts.alarm_store(settings), parts.incident_store(settings)
    yield WatchProjection(alarms, parts.load_rules(city), described)
    yield HistoryWriter(parts.history_store(settings), flush_rows=COUNT)
    yield AccountProjection(parts.account_store(settings.folder, read_only=False))
    alarms = parts.alarm_store(settings, read_only=True)
    yield IncidentProjection(incidents, alarms, parts.load_playbooks(city))
    yield CommandProjection(parts.command_store(settings), setpoints(city), lambda entity, attribute: None)


if __name__ == "__main__":
    main()
