"""Runs the simulated city: moves its parts tick by tick, begins and ends faults, keeps the ground truth. For `cli`."""

import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from haechi_testbed.clock import SECOND, VirtualClock, format_instant
from haechi_testbed.faults import KINDS, Board, Fault, Planned, parse_name
from haechi_testbed.part import FAST, Part


class Runner:
    """The loop. `truth`, where given, holds every fault as it is known (rewritten at each change) and, at
    the end, from when to when it ran."""

    def __init__(
        self, parts: Sequence[Part], clock: VirtualClock, truth: Path | None, say: Callable[[str], None]
    ) -> None:
        """Begins at the clock's start."""
        self._parts, self._clock, self._truth, self._say = parts, clock, truth, say
        self.board = Board()
        self.tick_s = 10 if clock.speed >= FAST else 1
        self.now_us = clock.start_us - clock.start_us % (10 * SECOND)
        self.lag_us = 0
        self._begun_us, self.ended = self.now_us, False

    async def run(self, until_us: int | None, stop: Callable[[], bool]) -> None:
        """Ticks until that instant or until told to stop; faults still going on are ended."""
        while not stop() and (until_us is None or self.now_us < until_us):
            self.now_us += self.tick_s * SECOND
            await self._clock.sleep_until(self.now_us)
            self.lag_us = max(0, self._clock.now_us() - self.now_us)
            self._faults()
            for part in self._parts:
                part.step(self.now_us, self.tick_s)
        for fault in [one for one, _ in self.board.active.values()]:
            self._end(fault)
        self.ended = True
        self._write()

    def _faults(self) -> None:
        begins, ends = self.board.due(self.now_us)
        for fault in ends:
            self._end(fault)
        for planned in begins:
            self._begin(planned)

    def plan(self, planned: Planned) -> Part:
        """Takes a fault to come and says who will apply it; ValueError names the targets that there are."""
        part = self._part(planned.kind, planned.target)
        self.board.plan(planned)
        return part

    def _part(self, kind: str, target: str) -> Part:
        there: list[str] = []
        for part in self._parts:
            names = part.targets(kind)
            if target in names:
                return part
            there += names
        if not there:
            raise ValueError(f"nothing in this city can show {kind}@{target}; are its devices in the credentials file?")
        near = ", ".join(get_close_matches(target, there, 5, 0.5) or there[:5])
        device = f", or issue credentials for {target}" if KINDS[kind].layer == "device" else ""
        raise ValueError(f"{kind} finds no {target!r}; write one of the {len(there)} there are, such as {near}{device}")

    def _begin(self, planned: Planned) -> None:
        entities = self._part(planned.kind, planned.target).apply(planned.kind, planned.target, True, planned.severity)
        fault = self.board.begin(planned, self.now_us, entities)
        self._say(f"{format_instant(self.now_us)} fault {fault.id} begins: {fault.kind}@{fault.target}")
        self._write()

    def _end(self, fault: Fault) -> None:
        self._part(fault.kind, fault.target).apply(fault.kind, fault.target, False, fault.severity)
        self.board.end(fault, self.now_us)
        self._say(f"{format_instant(self.now_us)} fault {fault.id} ends: {fault.kind}@{fault.target}")
        self._write()

    def _write(self) -> None:
        if self._truth is not None:
            lines = [json.dumps(one.to_json(), ensure_ascii=False) for one in self.board.all()]
            if self.ended:
                lines.append(
                    json.dumps({"run": {"from": format_instant(self._begun_us), "to": format_instant(self.now_us)}})
                )
            self._truth.write_text("\n".join(lines) + "\n", "utf-8")

    async def answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the control socket asks: `fault` (begin, now or later), `end` and `status`."""
        kind = asked.get("do")
        if kind == "fault":
            fault, target = parse_name(str(asked["fault"]))
            at_us = self.now_us + int(float(asked.get("after_s", 0)) * SECOND)
            span = asked.get("for_s")
            severity = float(asked.get("severity", 1.0))
            part = self.plan(Planned(at_us, fault, target, severity, None if span is None else float(span)))
            return {"ok": True, "part": part.name, "layer": KINDS[fault].layer, "begins_at": format_instant(at_us)}
        if kind == "end":
            ended = [
                fault for fault, _ in self.board.active.values() if f"{fault.kind}@{fault.target}" == asked["fault"]
            ]
            for one in ended:
                self._end(one)
            return {"ok": bool(ended), "ended": len(ended), "error": "" if ended else "no such fault is going on"}
        if kind == "status":
            active = [fault.to_json() for fault, _ in self.board.active.values()]
            return {"ok": True, "now": format_instant(self.now_us), "lag_s": self.lag_us / SECOND, "active": active}
        return {"ok": False, "error": f"do is {kind!r}; ask for fault, end or status"}
