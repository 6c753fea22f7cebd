"""The command `replay FILE --as hj212|mqtt`: options, pace, progress and the balance at the end. Used by `cli`."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from haechi_testbed.clock import VirtualClock
from haechi_testbed.replay.rows import PROFILES, Layout, Row, Rows
from haechi_testbed.replay.senders import Hj212Senders, MqttSenders, Senders, Target

PORTS = {"hj212": 8212, "mqtt": 1883}
INTERRUPTED = 130


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `replay`; its `do(options)` returns the exit code."""
    parser = commands.add_parser("replay", help="send a CSV data set (.csv, .csv.gz) through real sockets")
    parser.add_argument("file", type=Path)
    parser.add_argument("--as", dest="protocol", choices=sorted(PORTS), required=True)
    parser.add_argument("--speed", type=float, default=0.0, help="times as fast as it happened; 0: as acknowledged")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, help="default: 8212 for hj212, 1883 for mqtt")
    parser.add_argument("--credentials", type=Path, required=True, help="JSON {device: {link: secret}}")
    parser.add_argument("--link", help="whose secrets to take; default: the only one each device has")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="columns and codes of a known data set")
    parser.add_argument("--time-column")
    parser.add_argument("--device-column")
    parser.add_argument("--offset-h", type=float, help="of times that name no offset, e.g. 8")
    parser.add_argument("--map", help="column=name on the wire, e.g. PM2.5=a34004-Avg,wd=a01008-Info")
    parser.add_argument("--cn", help="HJ 212 command: 2011, 2051, 2061, 2031")
    parser.add_argument("--topic", default="city/{device}/replay", help="of MQTT messages")
    parser.add_argument("--window", type=int, default=4000, help="rows of one device under way")
    parser.add_argument("--limit", type=int, help="stop after so many rows")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds without an answer before it gives up")
    parser.set_defaults(do=lambda options: asyncio.run(run(options)))


async def run(options: argparse.Namespace, say: Callable[[str], None] | None = None) -> int:
    """0: every row was acknowledged; 1: some were not; 130: Ctrl-C. ValueError names a wrong option or line."""
    layout = _layout(options)
    target = Target(options.host, options.port or PORTS[options.protocol], secrets(options.credentials, options.link))
    rows = Rows(options.file, layout, names=options.protocol == "hj212")
    senders: Senders = (
        Hj212Senders(target, layout, options.window)
        if options.protocol == "hj212"
        else MqttSenders(target, options.topic, options.window)
    )
    replay = Replay(rows, senders, Pace(options.speed, options.limit, options.patience), say or _say)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, replay.stop)
    try:
        return await replay.run()
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _layout(options: argparse.Namespace) -> Layout:
    base = PROFILES[options.profile] if options.profile else Layout("time", "device")
    given = {
        "time": options.time_column,
        "device": options.device_column,
        "offset_h": options.offset_h,
        "fields": _mapping(options.map) if options.map else None,
        "cn": options.cn,
    }
    return replace(base, **{name: value for name, value in given.items() if value is not None})


def _mapping(text: str) -> dict[str, str]:
    pairs = [one.partition("=") for one in text.split(",")]
    if not all(column and equals and name for column, equals, name in pairs):
        raise ValueError(f"--map {text!r}: write column=name,column=name")
    return {column: name for column, _, name in pairs}


def secrets(file: Path, link: str | None) -> dict[str, str]:
    """Secret of each device; ValueError when a device has several links and none is chosen."""
    found: Mapping[str, Mapping[str, str]] = json.loads(file.read_text("utf-8"))
    chosen = {}
    for device, links in found.items():
        if link is None and len(links) > 1:
            raise ValueError(f"{file}: {device} has secrets for {', '.join(links)}; choose with --link")
        if link is None or link in links:
            chosen[device] = links[link] if link else next(iter(links.values()))
    return chosen


@dataclass(frozen=True, slots=True)
class Pace:
    """How a replay goes."""

    speed: float = 0.0
    limit: int | None = None
    patience_s: float = 60.0


class Replay:
    """One run over one file. `rows` and `values` count what was handed to the senders."""

    def __init__(self, source: Rows, senders: Senders, pace: Pace, say: Callable[[str], None]) -> None:
        """`say` gets a line a second and the balance."""
        self._source, self._senders, self._pace, self._say = source, senders, pace, say
        self._stopping = asyncio.Event()
        self._hopeless = False
        self.rows = self.values = 0

    def stop(self) -> None:
        """Sends nothing more; what is under way is waited for."""
        self._stopping.set()

    async def run(self) -> int:
        """Sends all rows, waits for the answers and says what became of them; the exit code."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        watch = asyncio.create_task(self._watch(begun))
        sending = asyncio.create_task(self._send_all())
        halted = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((sending, halted), return_when=asyncio.FIRST_COMPLETED)
            interrupted = not sending.done() and not self._hopeless
            sending.cancel()
            await asyncio.wait((sending,))
            if not sending.cancelled() and (error := sending.exception()) is not None:
                raise error
            await self._drain()
        finally:
            halted.cancel()
            watch.cancel()
            left = [await one.close(0.0) for one in self._senders.carriers.values()]
        return self._balance(sum(left), loop.time() - begun, interrupted)

    async def _send_all(self) -> None:
        clock: VirtualClock | None = None
        for row in self._ordered():
            if self._pace.speed:
                clock = clock or VirtualClock(row.at_us, self._pace.speed, asyncio.get_running_loop().time)
                await clock.sleep_until(row.at_us)
            elif self.rows % 200 == 0:
                await asyncio.sleep(0)
            await self._senders.send(row)
            self.rows += 1
            self.values += len(row.cells)
            if self.rows == self._pace.limit:
                return

    def _ordered(self) -> Iterable[Row]:
        """In the order of the file; by time where time matters."""
        return sorted(self._source, key=lambda row: row.at_us) if self._pace.speed else self._source

    async def _drain(self) -> None:
        """Until everything is answered, or nothing was for as long as patience lasts."""
        loop = asyncio.get_running_loop()
        answered, since = self.acknowledged + self.refused, loop.time()
        while self.waiting and not self._hopeless and loop.time() - since < self._pace.patience_s:
            await asyncio.sleep(0.02)
            if self.acknowledged + self.refused != answered:
                answered, since = self.acknowledged + self.refused, loop.time()

    @property
    def acknowledged(self) -> int:
        """Rows the platform said are stored."""
        return sum(one.acknowledged for one in self._senders.carriers.values())

    @property
    def refused(self) -> int:
        """Rows (HJ 212) or connections (MQTT) turned away."""
        return sum(one.refused for one in self._senders.carriers.values())

    @property
    def waiting(self) -> int:
        """Rows without an answer."""
        return sum(one.waiting for one in self._senders.carriers.values())

    async def _watch(self, begun: float) -> None:
        loop = asyncio.get_running_loop()
        quiet_since, seen = begun, 0
        while True:
            await asyncio.sleep(1.0)
            acknowledged, elapsed = self.acknowledged, loop.time() - begun
            rate = f"{acknowledged / elapsed:,.0f} rows/s"
            self._say(f"{self._source.share:4.0%}  {self.rows:,} rows sent, {acknowledged:,} acknowledged, {rate}")
            if acknowledged != seen:
                quiet_since, seen = loop.time(), acknowledged
            given_up = self.waiting and loop.time() - quiet_since > self._pace.patience_s
            if given_up or (self.refused and not acknowledged):  # nothing will come of it
                self._hopeless = True
                self.stop()

    def _balance(self, left: int, elapsed: float, interrupted: bool) -> int:
        acknowledged, refused = self.acknowledged, self.refused
        self._say(
            f"{'interrupted: ' if interrupted else ''}{self.rows:,} rows with {self.values:,} values sent, "
            f"{acknowledged:,} rows acknowledged, {refused:,} refused, {left:,} unanswered "
            f"in {elapsed:.1f} s ({acknowledged / max(elapsed, 1e-9):,.0f} rows/s)"
        )
        for device, one in self._senders.carriers.items():
            if one.refusal:
                self._say(f"{device} was refused ({one.refusal}): issue its credentials with `haechi device issue`")
        if left or refused:
            return 1
        return INTERRUPTED if interrupted else 0
