"""The book of alarms: what watchers and operators do to them, kept as documents with every transition. Used by the
projection.

One document is one episode: it begins when a rule raises on an entity that has no open alarm of that rule, and ends
in state `normal`. Its id follows from rule, entity, record and instant, so that the same log gives the same alarms.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from haechi.core.alarm import ANNUNCIATED, LEVELS, Event, Level, State, following
from haechi.core.errors import Conflict, NotFound
from haechi.core.times import format_iso
from haechi.ports import Change, RecordStore
from haechi.services.watch.described import Described
from haechi.services.watch.rules import LevelRule, Rule
from haechi.services.watch.texts import formula, limit_of, rate_of, texts, value_limit_of
from haechi.services.watch.watcher import Watcher

SYSTEM = "watch"  # who, where nobody did it


@dataclass(frozen=True, slots=True)
class Act:
    """Who did what when, and why: the head of a transition."""

    at: int
    who: str
    kind: str
    why: str = ""


class Alarms:
    """Open alarms in memory, ended ones in the store; `drain` hands over what to commit."""

    def __init__(self, store: RecordStore, described: Callable[[str], Described]) -> None:
        self._store, self._described = store, described
        self.open: dict[tuple[str, str], dict[str, Any]] = {}
        self.shelves: list[tuple[int, str]] = []
        self.annunciated: list[int] = []  # instants at which an alarm began to ask for a person, since `drain`
        self._staged: dict[tuple[str, str], dict[str, Any]] = {}
        for alarm in store.find("alarms", {"open": True}, limit=1_000_000):
            self.open[alarm["rule"], alarm["entity"]] = alarm
            if alarm["shelved_until"] is not None:
                heapq.heappush(self.shelves, (alarm["shelved_until"], alarm["id"]))

    # --- what conditions do ---

    def heard(self, watcher: Watcher, at: int) -> None:
        """A watcher changed its level or is (no longer) suppressed."""
        rule, level = watcher.rule, watcher.level
        alarm = self.open.get((rule.id, watcher.entity))
        if alarm is None:
            if level is None:
                return
            alarm = self._new(watcher, at)
        if level is not None and not alarm["condition_active"]:
            self._raise(alarm, watcher, at)
        elif level is not None and level != LEVELS[alarm["level"]]:
            self._shift(alarm, watcher, at)
        elif level is None and alarm["condition_active"]:
            self._clear(alarm, watcher, at)
        if watcher.suppressed and alarm["condition_active"] and alarm["state"] in ANNUNCIATED:
            self._move(
                alarm, Event.SUPPRESS, Act(at, SYSTEM, "suppressed", formula(rule.suppress) if rule.suppress else "")
            )
        elif not watcher.suppressed and alarm["state"] == State.SUPPRESSED:
            self._move(alarm, Event.UNSUPPRESS, Act(at, SYSTEM, "unsuppressed"))
        if alarm["suppressing"] != watcher.suppressed:  # kept also where it moved nothing: a restart must find it so
            alarm["suppressing"] = watcher.suppressed
            self._staged["alarms", alarm["id"]] = alarm

    def _new(self, watcher: Watcher, at: int) -> dict[str, Any]:
        rule, entity = watcher.rule, self._described(watcher.entity)
        alarm = {
            "id": self._id(watcher, at), "rule": rule.id, "domain": rule.domain, "entity": watcher.entity,
            "level": "attention", "peak_level": "attention", "state": State.NORMAL.value, "open": True, "moves": 0,
            "condition_active": False, "acknowledged": False, "suppressing": False, "count": 0,
            "entity_name": dict(entity.name),
            "place": None if entity.place is None else dict(entity.place),
            "location": None if entity.location is None else list(entity.location),
            "text": {}, "attribute": rule.attribute, "value": None, "unit": None, "limit": None,
            "raised_at": at, "raised_seq": watcher.seq(), "changed_at": at, "cleared_at": None, "acknowledged_by": None,
            "acknowledged_at": None, "shelved_until": None, "shelve_reason": None, "playbook": rule.playbook,
            "group": _group(rule, watcher.entity, entity),
        }  # fmt: skip
        self.open[rule.id, watcher.entity] = alarm
        return alarm

    def _id(self, watcher: Watcher, at: int) -> str:
        digest = blake2b(f"{watcher.rule.id}\0{watcher.entity}\0{at}".encode(), digest_size=6).hexdigest()
        first = f"{watcher.seq()}-{digest}"
        number, id = 1, first
        while ("alarms", id) in self._staged or self._store.get("alarms", id) is not None:
            number += 1  # raised twice at one instant, e.g. by a device that repeats its time stamps
            id = f"{first}-{number}"
        return id

    def _raise(self, alarm: dict[str, Any], watcher: Watcher, at: int) -> None:
        level = self._speak(alarm, watcher)
        alarm.update(condition_active=True, cleared_at=None, count=alarm["count"] + 1)
        self._peak(alarm, level.level)
        self._move(alarm, Event.RAISE, Act(at, SYSTEM, "raised", formula(level.when)), _evidence(watcher, level))

    def _shift(self, alarm: dict[str, Any], watcher: Watcher, at: int) -> None:
        old = LEVELS[alarm["level"]]
        level = self._speak(alarm, watcher)
        self._peak(alarm, level.level)
        up = level.level > old
        act = Act(at, SYSTEM, "escalated" if up else "downgraded", formula(level.when))
        self._move(alarm, Event.ESCALATE if up else None, act, _evidence(watcher, level))

    def _clear(self, alarm: dict[str, Any], watcher: Watcher, at: int) -> None:
        level = next((one for one in watcher.rule.levels if one.level.word == alarm["level"]), watcher.rule.levels[-1])
        alarm.update(condition_active=False, cleared_at=at, value=watcher.series[watcher.rule.attribute].value)
        why = formula(level.clear) if level.clear is not None else f"not {formula(level.when)}"
        self._move(alarm, Event.CLEAR, Act(at, SYSTEM, "cleared", why), _evidence(watcher, level))

    def withdraw(self, rule: str, entity: str, at: int, why: str) -> None:
        """What raised it is gone (rule withdrawn, entity deleted): the condition ends, whatever it was."""
        alarm = self.open.get((rule, entity))
        if alarm is None:
            return
        if alarm["condition_active"]:
            alarm.update(condition_active=False, cleared_at=at)
            self._move(alarm, Event.CLEAR, Act(at, SYSTEM, "withdrawn", why))

    def _speak(self, alarm: dict[str, Any], watcher: Watcher) -> LevelRule:
        level = next(one for one in watcher.rule.levels if one.level is watcher.level)
        series = watcher.series[watcher.rule.attribute]
        text = texts(watcher, level, self._described(watcher.entity))
        limit = value_limit_of(watcher, level)
        alarm.update(text=text, value=series.value, unit=series.unit, limit=limit, level=level.level.word)
        return level

    def _peak(self, alarm: dict[str, Any], level: Level) -> None:
        alarm["peak_level"] = max(level, LEVELS[alarm["peak_level"]]).word

    # --- what people and timers do ---

    def find(self, id: Any) -> dict[str, Any]:
        """The alarm in its present state; `NotFound` names the id, ended alarms are copies."""
        staged = self._staged.get(("alarms", id)) if isinstance(id, str) else None
        found = staged or (self._store.get("alarms", id) if isinstance(id, str) else None)
        if found is None:
            raise NotFound(f"no alarm {id!r}; read the list of alarms again")
        return self.open.get((found["rule"], found["entity"]), found) if found["open"] else found

    def acknowledge(self, alarm: dict[str, Any], act: Act) -> None:
        """Somebody has seen it; never touches the condition. `Conflict` says who was first."""
        if alarm["state"] not in {State.UNACKNOWLEDGED, State.RETURNED_UNACKNOWLEDGED}:
            raise Conflict(_cannot(alarm, "acknowledged"))
        alarm.update(acknowledged_by=act.who, acknowledged_at=act.at)
        self._move(alarm, Event.ACKNOWLEDGE, act)

    def shelve(self, alarm: dict[str, Any], until: int, reason: str, act: Act) -> None:
        """Out of the way until an instant, with a reason (ISA-18.2 11.7.3)."""
        if following(State(alarm["state"]), Event.SHELVE, alarm["condition_active"]) is None:
            raise Conflict(_cannot(alarm, "shelved"))
        alarm.update(shelved_until=until, shelve_reason=reason)
        heapq.heappush(self.shelves, (until, alarm["id"]))
        self._move(alarm, Event.SHELVE, act)

    def unshelve(self, alarm: dict[str, Any], act: Act, event: Event = Event.UNSHELVE) -> None:
        """Back: acknowledged when a person did it, unacknowledged when the time was over."""
        if alarm["state"] != State.SHELVED:
            raise Conflict(_cannot(alarm, "unshelved"))
        alarm.update(shelved_until=None, shelve_reason=None)
        if event is Event.UNSHELVE and alarm["condition_active"]:
            alarm.update(acknowledged_by=act.who, acknowledged_at=act.at)
        self._move(alarm, event, act)
        self._hide(alarm, act.at)

    def remove(self, alarm: dict[str, Any], act: Act) -> None:
        """Out of service, for maintenance."""
        if following(State(alarm["state"]), Event.REMOVE, alarm["condition_active"]) is None:
            raise Conflict(_cannot(alarm, "taken out of service"))
        alarm.update(shelved_until=None, shelve_reason=None)
        self._move(alarm, Event.REMOVE, act)

    def restore(self, alarm: dict[str, Any], act: Act) -> None:
        """Back to service."""
        if alarm["state"] != State.OUT_OF_SERVICE:
            raise Conflict(_cannot(alarm, "returned to service"))
        self._move(alarm, Event.RETURN, act)
        self._hide(alarm, act.at)

    def _hide(self, alarm: dict[str, Any], at: int) -> None:
        if alarm["suppressing"] and alarm["state"] in ANNUNCIATED:
            self._move(alarm, Event.SUPPRESS, Act(at, SYSTEM, "suppressed"))

    def expire(self, now: int) -> None:
        """Ends the shelves whose time is over, each at its own instant."""
        while self.shelves and self.shelves[0][0] <= now:
            until, id = heapq.heappop(self.shelves)
            alarm = self.find(id)
            if alarm["state"] == State.SHELVED and alarm["shelved_until"] == until:
                self.unshelve(alarm, Act(until, SYSTEM, "shelf_ended"), Event.SHELF_ENDS)

    # --- moves ---

    def _move(
        self, alarm: dict[str, Any], event: Event | None, act: Act, evidence: Mapping[str, Any] | None = None
    ) -> None:
        """Takes the step `following` allows (None: only the level moved) and stages alarm and transition."""
        old = State(alarm["state"])
        new = old if event is None else following(old, event, alarm["condition_active"])
        assert new is not None, f"{event} in {old}: callers ask first"
        alarm["moves"] += 1
        alarm.update(state=new.value, changed_at=act.at, open=new is not State.NORMAL)
        if new is State.ACKNOWLEDGED or event is Event.ACKNOWLEDGE:
            alarm["acknowledged"] = True
        if new is State.UNACKNOWLEDGED:
            alarm.update(acknowledged=False, acknowledged_by=None, acknowledged_at=None)
            if old is not State.UNACKNOWLEDGED:
                self.annunciated.append(act.at)
        elif event is Event.SUPPRESS and self.annunciated[-1:] == [act.at]:
            self.annunciated.pop()  # raised and suppressed at once: nobody was asked
        if not alarm["open"]:
            self.open.pop((alarm["rule"], alarm["entity"]), None)
        move = {"alarm": alarm["id"], "at": act.at, "from": old.value, "to": new.value, "level": alarm["level"]}
        move |= {"who": act.who, "kind": act.kind, "why": act.why, "value": alarm["value"], "evidence": evidence}
        self._staged["alarms", alarm["id"]] = alarm
        self._staged["transitions", f"{alarm['id']}.{alarm['moves']:06d}"] = move

    def drain(self) -> tuple[list[Change], list[dict[str, Any]]]:
        """What to commit since the last time, and the alarms that changed."""
        staged, self._staged = self._staged, {}
        changes = [Change(collection, id, body) for (collection, id), body in staged.items()]
        return changes, [dict(body) for (collection, _), body in staged.items() if collection == "alarms"]


def _group(rule: Rule, entity: str, known: Described) -> str:
    if rule.group == "scope":
        return known.scope[0] if known.scope else rule.id
    if rule.group == "entity":
        return entity
    return rule.id if rule.group == "rule" else known.related.get(rule.group, rule.id)


def _evidence(watcher: Watcher, level: LevelRule) -> dict[str, Any]:
    values = {
        name: {"value": one.value, "unit": one.unit, "observed_at": one.at, "quality": one.quality, "seq": one.seq}
        for name, one in watcher.series.items()
        if one.at >= 0
    }
    spans = {"for_us": level.for_us, "clear_for_us": level.clear_for_us}
    return {"values": values, "limit": limit_of(watcher, level), "rate": rate_of(watcher, level), **spans}


def _cannot(alarm: Mapping[str, Any], done: str) -> str:
    by = f" by {alarm['acknowledged_by']} at {format_iso(alarm['acknowledged_at'])}" if alarm["acknowledged_by"] else ""
    return f"alarm {alarm['id']} is {alarm['state']}{by} and cannot be {done}; read it again"
