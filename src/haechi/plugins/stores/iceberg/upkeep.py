"""What the table needs to stay small and quick without anybody: roll-ups, retention, merging, expiry. A bounded
step at a time.

Runs in the writer's own thread between commits, so nothing here races a commit. Each step is one atomic commit or
deletes only files that no kept state names; a kill between any two instructions leaves at worst files that a later
`sweep` removes.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import orjson

from haechi.core.times import DAY, to_us
from haechi.plugins.stores.iceberg.engine import Engine, Sql, instant, prefixed, scan
from haechi.plugins.stores.iceberg.layout import LINKS, POSITION
from haechi.plugins.stores.iceberg.merge import choose, merge, partition_span, sorted_rows
from haechi.plugins.stores.iceberg.rollup import merged_partials, partials
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.iceberg.sweep import Sweeper
from haechi.plugins.stores.iceberg.table import WrittenTable

ROLLED = "haechi.rolled_rows"  # rows written when the last roll-up was made
SUMS = "haechi.rolled_sums"  # partial sums that it made
_WORTH = 4  # rows for each sum: a million sensors bring one row a minute each, and a sum of one row says nothing new
_ROWS_MOST = 8  # times `rollup_rows`, so that a step stays bounded
_QUIET_S = 3600  # a partition nothing arrived in for so long is merged whole
_SWEEP_EVERY_S = 60
_LOOK_AGAIN_S = 60
_SNAPSHOTS_ROOM = 10
_RETAIN_EVERY_S = 3600


class Upkeep:
    """Decides what is due by the clock it is given and does one thing of it."""

    def __init__(
        self,
        observations: WrittenTable,
        hourly: WrittenTable,
        instances: WrittenTable,
        engine: Engine,
        settings: HistorySettings,
    ) -> None:
        self._observations = observations
        self._hourly = hourly
        self._tables = (observations, hourly, instances)
        self._engine = engine
        self._settings = settings
        self._sweepers = {table.layout.name: Sweeper(settings.files_kept_s) for table in self._tables}
        self._done_at: dict[str, datetime] = {}
        self._changed: dict[tuple[str, int], tuple[int, datetime]] = {}
        self._nothing_to_merge: dict[str, tuple[object, datetime]] = {}

    def step(self, now: datetime) -> bool:
        """One of: roll-up, retention, a merge, expiry. Whether there was anything to do."""
        steps: tuple[Callable[[datetime], bool], ...] = (self._roll_up, self._retain, self._expire, self._merge)
        for table in self._tables:
            table.make_certain()
        return any(step(now) for step in steps)

    def _is_due(self, what: str, now: datetime, every_s: float) -> bool:
        last = self._done_at.setdefault(what, now)
        if (now - last).total_seconds() < every_s:
            return False
        self._done_at[what] = now
        return True

    # --- roll-ups

    def _written(self) -> int:
        return sum(one[0] for one in orjson.loads(self._observations.properties.get(LINKS, "{}")).values())

    def _roll_up(self, now: datetime) -> bool:
        told, rows = self._hourly.properties, self._settings.rollup_rows
        waiting = self._written() - int(told.get(ROLLED, "0"))
        worth = min(_WORTH * int(told.get(SUMS, "0")), _ROWS_MOST * rows)
        due = self._is_due("roll_up", now, self._settings.rollup_s)
        if waiting < (1 if due else max(rows, worth)):
            return False
        self.roll_up()
        return True

    def roll_up(self) -> None:
        """Brings the hourly sums up to the observations' position."""
        done, position = self._hourly.position, self._observations.position
        files = [one for one in self._observations.files if one.seq_high > done]
        columns = "entity, attribute, observed_at, value, revision, seq"
        sums = self._hourly.layout.columns.empty_table()
        if files:
            sums = self._engine.ask(partials(scan(files, columns, Sql("seq > ?", (done,)))))
        told = {POSITION: position, ROLLED: self._written(), SUMS: sums.num_rows}
        self._hourly.append(sums, {name: str(value) for name, value in told.items()})

    # --- retention

    def _retain(self, now: datetime) -> bool:
        days = self._settings.retention_days
        first = "retain" not in self._done_at
        if days == 0 or not (self._is_due("retain", now, _RETAIN_EVERY_S) or first):
            return False
        cutoff = to_us(now - timedelta(days=days)) // DAY * DAY
        return self.retain_from(cutoff)

    def retain_from(self, cutoff: int) -> bool:
        """Drops observations and hourly sums before the start of a day; the account keeps their number per link."""
        old = [one for one in self._observations.files if one.first_at < cutoff]
        if old:
            totals = orjson.loads(self._observations.properties.get(LINKS, "{}"))
            count = prefixed("SELECT link, count(*) AS rows FROM (", scan(old, "link", Sql("true")), ") GROUP BY link")
            for one in self._engine.ask(count).to_pylist():
                totals[one["link"]][2] += one["rows"]
            until = self._observations.time_range(min(one.first_at for one in old), cutoff)
            self._observations.remove(until, {LINKS: orjson.dumps(totals).decode()})
        return any((self._retain_instances(cutoff), self._retain_hourly(cutoff), bool(old)))

    def _retain_instances(self, cutoff: int) -> bool:
        instances = self._tables[2]
        old = [one.first_at for one in instances.files if one.first_at < cutoff]
        if old:
            instances.remove(instances.time_range(min(old), cutoff), {})
        return bool(old)

    def _retain_hourly(self, cutoff: int) -> bool:
        old = {one.partition for one in self._hourly.files if one.first_at < cutoff}
        if not old:
            return False
        layout = self._hourly.layout
        files = [one for one in self._hourly.files if min(old) <= one.partition <= max(old)]
        kept = scan(files, ", ".join(layout.columns.names), prefixed("hour_at >= ", instant(cutoff)))
        rows = self._engine.ask(sorted_rows(layout)(kept))
        start, end = partition_span(layout, min(old), max(old))
        self._hourly.replace(rows, self._hourly.time_range(start, end), {})
        return True

    # --- merging

    def _merge(self, now: datetime) -> bool:
        return any(self._merge_one(table, now) for table in self._tables)

    def _merge_one(self, table: WrittenTable, now: datetime) -> bool:
        name = table.layout.name
        files, at = self._nothing_to_merge.get(name, (None, now))
        if files is table.files and (now - at).total_seconds() < _LOOK_AGAIN_S:
            return False  # looked at these very files a moment ago
        self._note_changes(table, now)
        chosen = choose(table.files, self._settings, lambda partition: self._is_quiet(name, partition, now))
        if chosen is None:
            self._nothing_to_merge[name] = (table.files, now)
            return False
        is_hourly = table is self._hourly
        merge(table, self._engine, chosen, merged_partials if is_hourly else sorted_rows(table.layout))
        self._note_changes(table, now, quietly=True)
        return True

    def _note_changes(self, table: WrittenTable, now: datetime, *, quietly: bool = False) -> None:
        """Remembers since when each partition has the rows it has; a merge is no change."""
        newest: dict[int, int] = {}
        for one in table.files:
            newest[one.partition] = max(newest.get(one.partition, 0), one.seq_high)
        for partition, seq in newest.items():
            known = self._changed.get((table.layout.name, partition))
            if known is None or (known[0] != seq and not quietly):
                self._changed[table.layout.name, partition] = (seq, now)

    def _is_quiet(self, name: str, partition: int, now: datetime) -> bool:
        return (now - self._changed[name, partition][1]).total_seconds() >= _QUIET_S

    # --- expiry

    def _expire(self, now: datetime) -> bool:
        """Forgets states beyond those kept, at once when they are many (each makes the next commit slower)."""
        forgotten = [table.forget(self._settings.snapshots_kept) for table in self._tables if self._is_crowded(table)]
        return self._sweep(now) > 0 or bool(forgotten)

    def _is_crowded(self, table: WrittenTable) -> bool:
        return len(table.table.snapshots()) > self._settings.snapshots_kept + _SNAPSHOTS_ROOM

    def _sweep(self, now: datetime) -> int:
        if not self._is_due("sweep", now, _SWEEP_EVERY_S):
            return 0
        return self.sweep(now)

    def sweep(self, now: datetime) -> int:
        """Removes files no kept state has named for `files_kept_s`: merged, expired, or cut short by a kill. How
        many.
        """
        return sum(self._sweepers[table.layout.name].sweep(table.table, now) for table in self._tables)
