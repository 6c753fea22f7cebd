"""Why did a rule raise, or why not: what it sees of an entity now. Used by the console and by people who tune rules."""

from typing import Any

from haechi.core.errors import NotFound
from haechi.core.quality import Quality
from haechi.core.times import format_iso
from haechi.services.watch.alarms import Alarms
from haechi.services.watch.evaluator import Evaluator
from haechi.services.watch.series import Series
from haechi.services.watch.texts import formula
from haechi.services.watch.watcher import Latch, Watcher


def explain(evaluator: Evaluator, alarms: Alarms, rule: str, entity: str) -> dict[str, Any]:
    """Newest values with their doubts, each level's condition with its answer and running time, hours, suppression,
    alarm.

    `NotFound` when the rule does not cover the entity or nothing of it has arrived yet.
    """
    watcher = evaluator.watcher(rule, entity)
    if watcher is None:
        raise NotFound(
            f"rule {rule!r} does not watch {entity!r}: no such rule, another type or scope, or nothing arrived yet"
        )
    watcher.catch_up()
    alarm = alarms.open.get((rule, entity))
    return {
        "rule": rule,
        "entity": entity,
        "level": None if watcher.level is None else watcher.level.word,
        "applies_now": watcher.rule.hours.holds(watcher.at),
        "suppressed": watcher.suppressed,
        "values": {name: _value(one, watcher) for name, one in watcher.series.items()},
        "levels": [_latch(one, watcher) for one in watcher.latches],
        "alarm": None if alarm is None else {"id": alarm["id"], "state": alarm["state"], "count": alarm["count"]},
    }


def _value(series: Series, watcher: Watcher) -> dict[str, Any]:
    heeded = [] if watcher.rule.any_quality or watcher.rule.maintenance else sorted(series.doubts)
    return {
        "value": series.value,
        "unit": series.unit,
        "observed_at": None if series.at < 0 else format_iso(series.at),
        "received_at": None if series.received < 0 else format_iso(series.received),
        "unchanged_since": None if series.moved_at < 0 else format_iso(series.moved_at),
        "quality": Quality(series.quality).words,
        "doubted_by": heeded,
    }


def _latch(latch: Latch, watcher: Watcher) -> dict[str, Any]:
    return {
        "level": latch.level.word,
        "when": formula(latch.rule.when),
        "holds": latch.step.when(watcher.slots),
        "clear": None if latch.rule.clear is None else formula(latch.rule.clear),
        "raised": latch.on,
        "running_since": None if latch.since is None else format_iso(latch.since),
        "due_at": None if latch.due is None else format_iso(latch.due),
    }
