"""Counts per level and state, the alarm rate and the flood of ISA-18.2 / EEMUA 191. Kept by the projection, read by
the console."""

from collections.abc import Iterable, Mapping
from typing import Any

from haechi.core.alarm import ANNUNCIATED, LEVELS, State
from haechi.core.times import SECOND
from haechi.ports import RecordStore

FLOOD_STARTS, FLOOD_ENDS = 10, 5  # new alarms in ten minutes: a flood starts above the first and ends below the second
WINDOW_US = 600 * SECOND
SLICE_US = 10 * SECOND
NONE = {
    **dict.fromkeys(
        ("serious", "alert", "caution", "attention", "unacknowledged", "shelved", "suppressed", "rate_10min"), 0
    )
}


def counts(store: RecordStore) -> dict[str, Any]:
    """*Counts* of docs/reference/console-api.md, as of the projection's last commit."""
    kept = store.get("meta", "counts")
    return dict(kept["counts"]) if kept else {**NONE, "flood": False}


class Counter:
    """Counts anew when alarms changed; the rate is kept in slices of ten seconds."""

    def __init__(self, store: RecordStore) -> None:
        kept = store.get("meta", "counts") or {"slices": {}}
        self._slices: dict[int, int] = {int(at): count for at, count in kept["slices"].items()}
        self.now = counts(store)

    def update(self, alarms: Iterable[Mapping[str, Any]] | None, annunciated: Iterable[int], now: int) -> bool:
        """Takes in the open alarms (None: they did not change) and new annunciations; True when the counts changed."""
        for at in annunciated:
            self._slices[at // SLICE_US] = self._slices.get(at // SLICE_US, 0) + 1
        oldest = (now - WINDOW_US) // SLICE_US
        self._slices = {at: count for at, count in self._slices.items() if at > oldest}
        fresh = dict(self.now) if alarms is None else _counted(alarms)
        rate = sum(self._slices.values())
        fresh["rate_10min"] = rate
        fresh["flood"] = rate >= FLOOD_ENDS if self.now["flood"] else rate > FLOOD_STARTS
        changed = fresh != self.now
        self.now = fresh
        return changed

    def document(self) -> dict[str, Any]:
        """What to keep."""
        return {"counts": self.now, "slices": {str(at): count for at, count in self._slices.items()}}


def _counted(alarms: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    fresh: dict[str, Any] = {**NONE, "flood": False}
    for alarm in alarms:
        state = State(alarm["state"])
        if state in ANNUNCIATED:
            fresh[alarm["level"]] += 1
            fresh["unacknowledged"] += not alarm["acknowledged"]
        elif state in {State.SHELVED, State.SUPPRESSED}:
            fresh[state.value] += 1
    assert set(LEVELS) <= set(fresh)
    return fresh
