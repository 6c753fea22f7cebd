"""Runs rules over batches of observations, on the event, and completes running times through a heap. Used by the
projection.

An observation that no rule reads costs a set look-up in columns; one that a rule reads costs a dictionary look-up and
the comparison with the calm band of its series (see `calm`); one outside of it the feed of its series, the closures of
its watchers and a new band. Outcomes go to `sink(watcher, at, before)` in order.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from haechi.core.alarm import Level
from haechi.core.times import SECOND
from haechi.services.watch.bind import NEVER, Arrivals, Program
from haechi.services.watch.calm import Bands, ease
from haechi.services.watch.described import Described, from_urn
from haechi.services.watch.rows import NOT_OURS, Run
from haechi.services.watch.rules import Rule
from haechi.services.watch.series import RESTLESS, Series
from haechi.services.watch.watcher import Watcher

RECENT = 4_096  # entities whose description is kept
LOOKS = 25_000  # for silence in one tick, some 0.2 s: a million sensors come due together 300 s after a start
A_STEP = 20  # looks that it costs to find one silent
SETTLE_US = SECOND  # our clock completes a running time this much later: what is on its way decides first
Sink = Callable[[Watcher, int, Level | None], None]
Describe = Callable[[str], Described | None]


class Evaluator:
    """All series that rules read, and all watchers, in memory."""

    def __init__(self, rules: Sequence[Rule], describe: Describe, sink: Sink, settle_us: int = SETTLE_US) -> None:
        """`describe` is asked once per entity; `sink` hears of each change of a watcher."""
        self._settle_us = settle_us
        self.rules = sorted(rules, key=lambda one: not one.maintenance)  # doubts first: they gag the others
        self.series: list[Series] = []
        self.watchers: dict[str, dict[str, Watcher]] = {one.id: {} for one in rules}  # by rule and entity
        self.arrivals = Arrivals()
        self._programs = {one.id: Program(one, self.arrivals) for one in self.rules}
        self._bands = {one: Bands(one) for one in self._programs.values()}
        spans = [span for one in self._programs.values() for _, span in one.silences]
        self._shortest = min(spans, default=NEVER)  # what arrived later than that ago cannot be silent
        self.runs: list[Run] = []  # fed since `drain`
        self.touched: set[Watcher] = set()  # changed since `drain`
        self.dropped: set[tuple[str, str]] = set()  # forgotten since `drain`
        self.emptied: set[Series] = set()  # know nothing any more since `drain`
        self.learnt: set[Series] = set()  # their unit, since `drain`
        self._describe, self._sink = describe, sink
        self._keys: dict[str, dict[str, Series | None]] = {}  # by attribute and entity; None: no rule reads it
        self._bound: set[str] = set()
        self._recent: dict[str, Described] = {}  # of those bound last: a million descriptions are gigabytes
        self._fitting: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Rule]] = {}
        self._names = pa.array(sorted({name for one in rules for name in one.attributes()}), pa.string())
        self._dues: list[tuple[int, int, Watcher]] = []
        self._silences: list[tuple[int, int, Watcher]] = []
        self._pushed = 0

    # --- observations ---

    def gather(self, batches: Sequence[tuple[int, pa.RecordBatch]]) -> Run:
        """The rows of some records (seq, rows: at least one), to be fed one record after the other."""
        run = Run(batches, self._names, self.arrivals.now - self._shortest)
        run.known = self._series_known(run.entities, run.attributes)
        self.runs.append(run)
        return run

    def _series_known(self, entities: Sequence[str], attributes: Sequence[str]) -> list[Series | None]:
        """Looked up for all rows at once: most runs are of few attributes."""
        if len(set(attributes)) <= 1:
            return list(map(self._keys.get(attributes[0], {}).get, entities)) if attributes else []
        of = {one: self._keys.get(one, {}).get for one in set(attributes)}
        return [of[attribute](entity) for entity, attribute in zip(entities, attributes, strict=True)]

    def feed(self, run: Run, number: int) -> None:
        """Evaluates the observations of record `number` of a run, in order. What lies in the calm band of its series
        is taken in here: the hot path."""
        seq, indexes = run.seqs[number], run.indexes
        for found, at, received, value, quality in run.rows(number):
            series = found or self._find(*run.named(len(indexes)))
            if series is None:
                indexes.append(NOT_OURS)
                continue
            if series.unit is None and (unit := run.unit(len(indexes))) is not None:
                series.unit = unit
                self.learnt.add(series)
            if series.low <= value <= series.high and series.at <= at < series.until and quality == series.quality:
                series.received = max(series.received, received)
                if value != series.moved_from and abs(value - series.moved_from) > series.epsilon:
                    series.moved_from, series.moved_at = value, at
                series.at, series.value, series.seq = at, value, seq
                if series.window_us:
                    series.slide(at, value)
            else:
                content = run.content(len(indexes), value)
                if content.__class__ is not float:
                    run.others[len(indexes)] = content
                if run.is_apart(at, received) or not series.same(at, content, quality):
                    self._one(series, at, received, content, quality, seq)
                else:
                    series.feed(at, received, content, quality, seq)
            indexes.append(series.index)

    def _one(self, series: Series, at: int, received: int, value: Any, quality: int, seq: int) -> None:
        for watcher in series.watchers:
            if watcher.due is not None and watcher.due < at:
                self._advance(watcher, at - 1)
        before = series.value, series.quality, series.at, series.seq
        if not series.feed(at, received, value, quality, seq):
            for watcher in series.watchers:
                if watcher.program.silences and watcher.level is not None:
                    self._step(watcher, series.at)
            return
        series.until = RESTLESS
        if series.bounds and (value != before[0] or quality != before[1] or before[2] < 0):
            for watcher in series.bounds:
                watcher.stir()
        for watcher in series.watchers:
            self._step(watcher, at)
        if series.ripe(before[3]):
            series.eased = seq if ease(series, self._bands) else RESTLESS

    def _step(self, watcher: Watcher, at: int) -> None:
        before, hidden, due = watcher.level, watcher.suppressed, watcher.due
        changed = watcher.step(at)
        if changed:
            self.touched.add(watcher)
            if watcher.level != before or watcher.suppressed != hidden:
                self._sink(watcher, watcher.at, before)
                self._note_doubt(watcher, at)
        if changed or watcher.due != due:
            watcher.stir()
        if watcher.due is not None and watcher.due != due:
            self._push(self._dues, watcher.due, watcher)

    def _note_doubt(self, watcher: Watcher, at: int) -> None:
        """What a doubt held back is decided when it ends, not when the sensor happens to speak again."""
        if not watcher.rule.maintenance or not _doubt(watcher, watcher.level is not None):
            return
        series = watcher.series[watcher.rule.attribute]
        for one in [] if series.doubts else [one for one in series.watchers if not one.rule.maintenance]:
            self._advance(one, at - 1)
            self._step(one, at)

    def _advance(self, watcher: Watcher, until: int) -> None:
        """Fires what falls due up to an instant, each at its own."""
        while watcher.due is not None and watcher.due <= until:
            self._step(watcher, watcher.due)

    def _push(self, heap: list[tuple[int, int, Watcher]], due: int, watcher: Watcher) -> None:
        self._pushed += 1
        heapq.heappush(heap, (due, self._pushed, watcher))

    # --- time ---

    def elapse(self, now: int) -> None:
        """Completes running times that are over by `now`, the log's clock or ours, in microseconds."""
        while self._dues and self._dues[0][0] <= now - self._settle_us:
            due, _, watcher = heapq.heappop(self._dues)
            if watcher.due == due and self._live(watcher):
                self._advance(watcher, due)

    def tick(self, now: int) -> None:
        """Completes what falls due because nothing arrived, silence included. `now` is our clock, microseconds; where
        it was set, or nobody looked at it for a while, `listen_from` comes first."""
        self.arrivals.now = max(now, self.arrivals.now)
        self.elapse(now)
        room = LOOKS
        while room > 0 and self._silences and self._silences[0][0] <= now:
            _, _, watcher = heapq.heappop(self._silences)
            room -= self._listen_in(watcher, now) if self._live(watcher) else 1

    def _listen_in(self, watcher: Watcher, now: int) -> int:
        """Looks whether its series are silent, and again when they may be; what that costs, in looks."""
        _bring_back(watcher, now)
        dues = [self.arrivals.silent_since(one) + span for one, span in watcher.silences]
        over = [one for one in dues if one <= now]
        if over:
            self._step(watcher, max(over))
        later = [one for one in dues if one > now]
        # silent already: looking again after the shortest span finds the next silence in time
        again = min([*later, now + min(span for _, span in watcher.silences)])
        self._push(self._silences, again, watcher)
        return A_STEP if over else 1

    def listen_from(self, now: int) -> None:
        """We listen since now, or again: silence meanwhile was ours, not the devices'."""
        if now < self.arrivals.now or not self.arrivals.now:
            self._put_back(now)
        self.arrivals.resume(now)

    def _put_back(self, now: int) -> None:
        """Our clock is, or before this start was, ahead of what it says now: everybody is looked at anew."""
        self._silences = [(now, number, watcher) for number, (_, _, watcher) in enumerate(self._silences)]
        self._pushed = max(self._pushed, len(self._silences))
        for _, _, watcher in self._silences:
            _bring_back(watcher, now)

    def _live(self, watcher: Watcher) -> bool:
        return self.watcher(watcher.rule.id, watcher.entity) is watcher

    def watcher(self, rule: str, entity: str) -> Watcher | None:
        """A rule on an entity it covers, once that is bound."""
        return self.watchers.get(rule, {}).get(entity)

    # --- entities ---

    def _find(self, entity: str, attribute: str) -> Series | None:
        """The series when a rule reads it; the answer is kept."""
        if entity not in self._bound:
            self.bind(entity)
        return self._keys.setdefault(attribute, {}).setdefault(entity, None)

    def bind(self, entity: str) -> None:
        """Makes the watchers of an entity for the rules that cover it."""
        self._bound.add(entity)
        self._recent.pop(entity, None)
        known = self.described(entity)
        covering = self._covering(entity, known)
        for rule in covering:
            if entity not in self.watchers[rule.id]:
                self._watch(rule, entity)
        self._seed([self.watchers[rule.id][entity] for rule in covering], known)

    def _covering(self, entity: str, known: Described) -> list[Rule]:
        """The rules that cover an entity, in our order; what types and scopes alone decide is worked out once."""
        key = known.types, known.scope
        fitting = self._fitting.get(key)
        if fitting is None:
            if len(self._fitting) >= RECENT:
                self._fitting.clear()
            fitting = [one for one in self.rules if replace(one.scope, ids=frozenset()).covers("", *key)]
            self._fitting[key] = fitting
        return [one for one in fitting if not one.scope.ids or entity in one.scope.ids]

    def _watch(self, rule: Rule, entity: str) -> None:
        program = self._programs[rule.id]
        watcher = Watcher(program, entity, tuple([self.series_of(entity, name) for name in program.names]))
        watcher.catch_up()
        self.watchers[rule.id][entity] = watcher
        for series in watcher.slots:
            series.watchers.append(watcher)
            if rule.maintenance:  # otherwise it comes last anyway
                series.watchers.sort(key=lambda one: not one.rule.maintenance)
        for slot in self._bands[program].limits:
            watcher.slots[slot].bounds += (watcher,)
        watcher.stir()
        if watcher.program.silences:
            self._push(self._silences, self.arrivals.now, watcher)

    def _seed(self, watchers: Sequence[Watcher], known: Described) -> None:
        """Limits and modes that no device reports come from the live model, until something is observed."""
        for watcher in watchers:
            for name, series in zip(watcher.program.names, watcher.slots, strict=True):
                content = known.values.get(name)
                if name != watcher.rule.attribute and series.at <= 0 and isinstance(content, int | float | str | bool):
                    series.feed(0, 0, content if isinstance(content, str | bool) else float(content), 0, 0)
                    for one in series.watchers:
                        one.stir()

    def series_of(self, entity: str, attribute: str) -> Series:
        """The series, made when it is not there."""
        known = self._keys.setdefault(attribute, {})
        series = known.get(entity)
        if series is None:
            series = known[entity] = Series(len(self.series), entity, attribute)
            self.series.append(series)
        return series

    def described(self, entity: str) -> Described:
        """What is known of an entity that is watched."""
        known = self._recent.get(entity)
        if known is None:
            known = self._recent[entity] = self._describe(entity) or from_urn(entity)
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
        return known

    def rebind(self, entity: str) -> list[Watcher]:
        """The entity changed: binds it anew and returns the watchers whose rules no longer cover it, now gone."""
        self._recent.pop(entity, None)
        if entity not in self._bound:
            return []
        for series in self._keys.values():
            if series.get(entity, ...) is None:
                del series[entity]
        self.bind(entity)
        known = self.described(entity)
        gone = [one for one in self._of(entity) if not one.rule.scope.covers(entity, known.types, known.scope)]
        for watcher in gone:
            self.drop(watcher)
        return gone

    def _of(self, entity: str) -> Iterator[Watcher]:
        found = [self.watchers[rule.id].get(entity) for rule in self.rules]
        return (one for one in found if one is not None)

    def drop(self, watcher: Watcher) -> None:
        """Forgets a watcher and its doubts."""
        watcher.catch_up()
        watcher.stir()
        _doubt(watcher, False)
        del self.watchers[watcher.rule.id][watcher.entity]
        for series in watcher.slots:
            series.watchers.remove(watcher)
            series.bounds = tuple(one for one in series.bounds if one is not watcher)
        self.touched.discard(watcher)
        if watcher.saved:
            self.dropped.add((watcher.rule.id, watcher.entity))

    def forget(self, entity: str, attribute: str | None = None) -> list[Watcher]:
        """An attribute, or all of an entity, was deleted: empties the series, binds anew, returns the watchers gone."""
        watchers = [one for one in self._of(entity) if attribute in {None, one.rule.attribute}]
        names = [attribute] if attribute is not None else sorted({name for one in watchers for name in one.series})
        emptied = [one for name in names if (one := self._keys.get(name, {}).get(entity)) is not None]
        for series in emptied:
            for watcher in series.watchers:
                watcher.catch_up()
                watcher.stir()
            series.forget()
        self.emptied.update(emptied)
        self._recent.pop(entity, None)
        for watcher in watchers:
            self.drop(watcher)
        if entity in self._bound:
            self.bind(entity)
        return watchers

    def resume(self) -> None:
        """After the state was loaded: doubts and running times as they were."""
        for watcher in [one for some in self.watchers.values() for one in some.values()]:
            if not watcher.saved:
                watcher.settle()
            self._note_doubt(watcher, watcher.at)
            if watcher.due is not None:
                self._push(self._dues, watcher.due, watcher)


def _bring_back(watcher: Watcher, now: int) -> None:
    """What came later than now came under a clock that was ahead: it came now."""
    for series, _ in watcher.silences:
        series.received = min(series.received, now)


def _doubt(watcher: Watcher, doubted: bool) -> bool:
    """Whether that changes what its sensor is held to be."""
    series = watcher.series[watcher.rule.attribute]
    before = series.doubts
    series.doubt(watcher.rule.id, doubted)
    if series.doubts == before:
        return False
    for one in series.watchers:  # whoever reads it must look again, whichever of its attributes comes next
        one.stir()
    return True
