"""What lies in a series' calm band is taken in without asking its rules: nobody may be able to tell."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from watch_city import City, at, clock, describe, observed
from watch_city import rules as watch_rules

from haechi.core import frame
from haechi.core.alarm import Level
from haechi.core.observation import Observation, to_batch
from haechi.core.times import DAY, SECOND, from_us
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Record
from haechi.services.watch import COLLECTIONS, Described, WatchProjection, evaluator
from haechi.services.watch.hours import ALWAYS, Hours, Window
from haechi.services.watch.rules import (
    All,
    AnyOf,
    Compare,
    Flagged,
    LevelRule,
    Other,
    Rate,
    Rule,
    Scope,
    Silence,
    Stuck,
)  # fmt: skip
from haechi.services.watch.watcher import Watcher

EXAMPLES = int(os.environ.get("EXAMPLES", "40"))
ENTITIES = tuple(f"urn:ngsi-ld:Sensor:t:{number}" for number in range(2))
NAMES = ("a", "a", "a", "b", "c")
NOON = Hours((Window(time(12, 0, 10), time(12, 0, 30), frozenset(range(7))),), zone="Asia/Seoul")
TEXTS = dict.fromkeys(("ko", "zh", "en"), "{value} {limit} {rate}")

numbers = st.sampled_from([0.0, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 8.0])
names = st.sampled_from(NAMES)
limits = st.one_of(numbers, numbers, st.builds(Other, names, st.sampled_from([1.0, 0.5]), st.sampled_from([0.0, 1.0])))
leaves = st.one_of(
    st.builds(Compare, names, st.sampled_from(["above", "below", "at_least", "at_most"]), st.tuples(limits)),
    st.builds(Compare, names, st.sampled_from(["between", "outside"]), st.tuples(limits, limits)),
    st.builds(
        Compare,
        names,
        st.sampled_from(["equals", "differs"]),
        st.tuples(st.one_of(numbers, st.sampled_from(["on", True]))),
    ),
    st.builds(
        Rate,
        names,
        st.sampled_from([1, -1]),
        st.sampled_from([0.0, 1.0, 2.0, -1.0]),
        st.sampled_from([SECOND, 4 * SECOND]),
        st.sampled_from([4 * SECOND, 9 * SECOND]),
    ),
    st.builds(Silence, names, st.sampled_from([3 * SECOND, 12 * SECOND])),
    st.builds(Stuck, names, st.sampled_from([4 * SECOND, 9 * SECOND]), st.sampled_from([0.0, 0.5, 1.0])),
    st.builds(Flagged, names, st.sampled_from([1, 6])),
)
conditions = st.one_of(
    leaves,
    leaves,
    st.builds(All, st.tuples(leaves, leaves)),
    st.builds(AnyOf, st.tuples(leaves, leaves)),
    st.builds(lambda one, other: AnyOf((one, All(other))), leaves, st.tuples(leaves, leaves)),
)
spans = st.sampled_from([0, 0, 3 * SECOND])


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    return [draw(rule(number)) for number in range(draw(st.integers(1, 4)))]


@st.composite
def rule(draw: st.DrawFn, number: int) -> Rule:
    words = draw(st.lists(st.sampled_from(list(Level)), min_size=1, max_size=2, unique=True))
    clear = st.none() | conditions
    levels = [
        LevelRule(one, draw(conditions), draw(clear), draw(spans), draw(spans)) for one in sorted(words, reverse=True)
    ]
    return Rule(
        id=f"rule{number}",
        name=TEXTS,
        text=TEXTS,
        domain="water",
        scope=Scope(types=frozenset({"Sensor"})),
        attribute=draw(names),
        levels=tuple(levels),
        any_quality=draw(st.booleans()),
        hours=draw(st.sampled_from([ALWAYS, ALWAYS, NOON])),
        suppress=draw(st.none() | conditions),
        maintenance=draw(st.integers(0, 4)) == 0,
    )


rows = st.tuples(
    st.sampled_from(ENTITIES),
    names,
    st.one_of(numbers, numbers, numbers, st.sampled_from(["on", "off", True, False, None])),
    st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 4]),
    st.sampled_from([0, 0, 0, 0, 0, 0, 0, 2 * SECOND, 7 * SECOND, 2 * DAY]),  # how much earlier it was observed
    st.integers(1, 4),  # how many times it says so
)
pauses = st.sampled_from([0, 100_000, SECOND, SECOND, 2 * SECOND, 4 * SECOND])
leaps = st.sampled_from([-3600 * SECOND, -2 * SECOND, 6 * SECOND, 3600 * SECOND])  # of our clock
frames = st.tuples(pauses, st.lists(rows, min_size=1, max_size=6))
events = st.one_of(
    st.tuples(st.just("frames"), st.lists(frames, min_size=1, max_size=4)),
    st.tuples(st.just("frames"), st.lists(frames, min_size=1, max_size=4)),
    st.tuples(st.just("frames"), st.lists(frames, min_size=1, max_size=4)),
    st.tuples(st.just("tick"), pauses),
    st.tuples(st.just("tick"), st.one_of(pauses, leaps)),
    st.tuples(st.just("restart"), st.just(None)),
    st.tuples(st.sampled_from(["delete", "delete_attribute", "merge"]), st.tuples(st.sampled_from(ENTITIES), names)),
)


def known(entity: str) -> Described:
    found = describe(entity)
    return Described(found.types, found.name, found.scope, values={"b": 3.0})


class World:
    """The rules over one store; `plain`: each observation is evaluated."""

    def __init__(self, empty: Path, folder: Path, rules: Sequence[Rule], plain: bool) -> None:
        """`empty`: a store in which nothing is yet: making one takes the disk longer than all that follows."""
        self._file, self._rules, self._plain = folder / f"{plain}.db", rules, plain
        shutil.copy(empty, self._file)
        self.now, self.seq, self.said = at(0), 0, list[tuple[str, bytes]]()
        self.open()

    def open(self) -> None:
        """As after a kill: the old one is never closed."""
        self.store = SqliteRecords(self._file, COLLECTIONS)
        self.store._db.execute("PRAGMA synchronous=OFF")
        self.watch = WatchProjection(self.store, self._rules, known)

    def live(self, event: tuple[str, Any]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if self._plain:
                patch.setattr(evaluator, "ease", lambda series, bands: False)
            self._live(*event)

    def _live(self, kind: str, detail: Any) -> None:
        if kind == "restart":
            self.open()
        elif kind == "tick":
            self.now += detail
            self._hear(self.watch.tick(from_us(self.now)))
        else:
            records = [self._frame(*one) for one in detail] if kind == "frames" else [self._command(kind, *detail)]
            self._hear(self.watch.apply(records, from_us(self.now)))

    def _hear(self, notices: Sequence[Any]) -> None:
        self.said += [(one.subject, one.payload) for one in notices]

    def _frame(self, pause: int, rows: Sequence[tuple[Any, ...]]) -> Record:
        self.now += pause
        found: list[Observation] = []
        for entity, name, value, quality, early, times in rows:
            for _ in range(times):
                self.now += 1000
                number = value if isinstance(value, float) else None
                text = None if number is not None or value is None else orjson.dumps(value).decode()
                found.append(
                    Observation(entity, name, self.now - early, self.now + 10, number, text, "KPA", quality, "x")
                )
        return self._record("obs", frame.Frame(observations=to_batch(found)))

    def _command(self, op: str, entity: str, name: str) -> Record:
        attribute = name if op == "delete_attribute" else ""
        return self._record(
            "entity", frame.Frame(commands=(frame.EntityCommand("x", op, entity, b"{}", attribute, self.now),))
        )

    def _record(self, subject: str, found: frame.Frame) -> Record:
        self.seq += 1
        return Record(self.seq, subject, frame.encode(found), self.now)

    def known(self) -> dict[str, Any]:
        """All that anybody can see of it, and all that outlives it."""
        inner = self.watch._evaluator
        watched = sorted((rule, entity) for rule, some in inner.watchers.items() for entity in some)
        return {
            "alarms": self.store.find("alarms", limit=10_000),
            "moves": self.store.find("transitions", limit=10_000),
            "timers": self.store.find("timers", limit=10_000),
            "said": self.said,
            "series": [repr(one.dump()) for one in inner.series],
            "explained": [repr(self.watch.explain(*one)) for one in watched],
        }


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("calm") / "empty.db"
    SqliteRecords(file, COLLECTIONS).close()
    return file


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rules=rules(), happened=st.lists(events, min_size=4, max_size=14))
def test_nobody_can_tell_whether_an_observation_was_taken_in_or_evaluated(
    empty: Path, rules: list[Rule], happened: list[tuple[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        calm, plain = (World(empty, Path(folder), rules, one) for one in (False, True))
        for event in [*happened, *[("tick", 4 * SECOND)] * 6]:
            calm.live(event)
            plain.live(event)
            assert calm.known() == plain.known()


WATER = """
@low
[rule.levels.caution]
when = { below = { attribute = "normalLow", plus = -12 } }
clear = { at_least = { attribute = "normalLow", plus = -4 } }
for_s = 30
[rule.levels.serious]
when = { any = [{ below = { attribute = "normalLow", plus = -120 } }, { below = 150 }] }
@drop
[rule.levels.alert]
when = { rate_below = -45, per_s = 60, window_s = 60 }
@silent
[rule.levels.caution]
when = { silence_s = 300 }
@stuck
[rule.levels.caution]
when = { stuck_s = 900 }
@night
active = { from = "01:15", to = "04:15" }
[rule.levels.caution]
when = { above = 400 }
"""


def test_rules_are_not_asked_about_what_cannot_concern_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    step = Watcher.step
    monkeypatch.setattr(Watcher, "step", lambda self, at: asked.append(at) or step(self, at))
    city = City(
        tmp_path, watch_rules(tmp_path, WATER), describe=lambda one: replace(describe(one), values={"normalLow": 350.0})
    )
    frames = [city.frame(*(observed(10 * n + 2 * k, 380.0 + k % 3) for k in range(5))) for n in range(40)]
    city.watch.apply(frames, clock(400))
    assert len(asked) == 5  # the first observation meets the five rules
    city.feel((401, 100.0))
    assert {one["level"] for one in city.alarms()} == {"serious", "alert"}
