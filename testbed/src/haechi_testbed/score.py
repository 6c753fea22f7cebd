"""Compares the alarms a platform raised with the faults that were real: detected, how late, false. Pure; for `cli`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi_testbed.clock import SECOND, parse_instant
from haechi_testbed.faults import KINDS, Fault, Ran

EARLY_S = 2  # the clocks of gateways are off by that much
GRACE_S = 900  # an alarm may come this late after a fault ended and still belong to it
WHENEVER = Ran()
AFTERMATH_S = 3600  # effects (a tank refilling, pressure coming back) last this long


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault. `delay_s` from its beginning to the first alarm that shows it."""

    fault: Fault
    delay_s: float | None
    rules: tuple[str, ...]
    alarms: int

    @property
    def detected(self) -> bool:
        """Whether any alarm showed it."""
        return self.delay_s is not None


@dataclass(frozen=True, slots=True)
class Score:
    """Outcomes by fault and the alarms no fault explains."""

    outcomes: tuple[Outcome, ...]
    false_alarms: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """The same as data; delays in whole minutes, rounded up, so that a run repeats."""
        return {
            "faults": [
                {
                    "id": one.fault.id,
                    "fault": f"{one.fault.kind}@{one.fault.target}",
                    "detected": one.detected,
                    "delay_min": None if one.delay_s is None else -(-int(one.delay_s) // 60),
                    "rules": list(one.rules),
                }
                for one in self.outcomes
            ],
            "detected": sum(one.detected for one in self.outcomes),
            "false_alarms": sorted(f"{one['rule']} {one['entity']}" for one in self.false_alarms),
        }

    def text(self) -> str:
        """A table for people."""
        lines = [f"{'fault':<28} {'detected':<9} {'delay':>8} {'alarms':>7}  rules"]
        for one in self.outcomes:
            delay = "-" if one.delay_s is None else f"{one.delay_s:.0f} s"
            name = f"{one.fault.id} {one.fault.kind}@{one.fault.target}"
            found = "yes" if one.detected else "NO"
            lines.append(f"{name:<28} {found:<9} {delay:>8} {one.alarms:>7}  {', '.join(one.rules)}")
        found_all = sum(one.detected for one in self.outcomes)
        lines.append(f"{found_all} of {len(self.outcomes)} detected, {len(self.false_alarms)} false alarms")
        lines += [f"  false: {one['raised_at']} {one['rule']} {one['entity']}" for one in self.false_alarms[:20]]
        return "\n".join(lines)


def score(faults: Sequence[Fault], alarms: Sequence[Mapping[str, Any]], ran: Ran = WHENEVER) -> Score:
    """`alarms` as the console API shows them (`rule`, `entity`, `raised_at`).

    Those before the run (no device was there yet) and those after it do not count.
    """
    alarms = [one for one in alarms if _counts(parse_instant(str(one["raised_at"])), ran)]
    explained: set[int] = set()
    outcomes = []
    for fault in faults:
        signs = [index for index, alarm in enumerate(alarms) if _shows(alarm, fault)]
        explained.update(signs, (index for index, alarm in enumerate(alarms) if _follows(alarm, fault)))
        delays = [
            max(0.0, (parse_instant(str(alarms[index]["raised_at"])) - fault.started_at) / SECOND) for index in signs
        ]
        rules = tuple(sorted({str(alarms[index]["rule"]) for index in signs}))
        outcomes.append(Outcome(fault, min(delays, default=None), rules, len(signs)))
    false = [alarm for index, alarm in enumerate(alarms) if index not in explained]
    false.sort(key=lambda alarm: (alarm["raised_at"], alarm["rule"], alarm["entity"]))
    return Score(tuple(outcomes), tuple(false))


def _counts(raised_us: int, ran: Ran) -> bool:
    early = ran.from_us is not None and raised_us < ran.from_us - EARLY_S * SECOND
    return not early and (ran.to_us is None or raised_us <= ran.to_us)


def _shows(alarm: Mapping[str, Any], fault: Fault) -> bool:
    """Whether the alarm speaks of this very fault."""
    here = not fault.entities or alarm["entity"] in fault.entities
    return here and _within(alarm, fault, GRACE_S) and _named(alarm, KINDS[fault.kind].signs)


def _follows(alarm: Mapping[str, Any], fault: Fault) -> bool:
    """Whether the alarm may come of it, anywhere in the city."""
    kind = KINDS[fault.kind]
    return _within(alarm, fault, AFTERMATH_S) and _named(alarm, (*kind.effects, *_spread(fault)))


def _spread(fault: Fault) -> tuple[str, ...]:
    """A burst is felt beyond its district; what an instrument does wrong is seen on it alone."""
    return KINDS[fault.kind].signs if KINDS[fault.kind].layer != "device" else ()


def _within(alarm: Mapping[str, Any], fault: Fault, grace_s: int) -> bool:
    raised = parse_instant(str(alarm["raised_at"]))
    ended = fault.ended_at
    return fault.started_at - EARLY_S * SECOND <= raised and (ended is None or raised <= ended + grace_s * SECOND)


def _named(alarm: Mapping[str, Any], rules: Sequence[str]) -> bool:
    name = str(alarm["rule"])
    return any(name.startswith(rule) or (rule.startswith("_") and name.endswith(rule)) for rule in rules)
