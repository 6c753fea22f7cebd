"""Which files of a table are worth merging, and the merge: one atomic commit that leaves every answer as it was.

Files of a partition follow each other in the log's order (their seqs do not overlap), and only neighbours are
merged, so one filter on time and seq names exactly the files that are replaced.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from pyiceberg.transforms import MonthTransform

from haechi.core.times import DAY, to_us
from haechi.plugins.stores.iceberg.engine import Engine, Sql, scan
from haechi.plugins.stores.iceberg.layout import TableLayout
from haechi.plugins.stores.iceberg.plan import DataFile, FileSet
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.iceberg.table import WrittenTable, seq_range

_FILES_MAX = 200  # in one step: pyiceberg looks at every row once per partition it writes


@dataclass(frozen=True, slots=True)
class Merge:
    """Files to become one per partition; they are all there is within the rectangle of partitions and seqs they
    span.
    """

    files: tuple[DataFile, ...]

    @property
    def partitions(self) -> tuple[int, int]:
        """First and last partition."""
        return min(one.partition for one in self.files), max(one.partition for one in self.files)

    @property
    def seqs(self) -> tuple[int, int]:
        """Lowest and highest seq."""
        return min(one.seq_low for one in self.files), max(one.seq_high for one in self.files)

    def is_alone(self, files: FileSet) -> bool:
        """Whether no other file reaches into the rectangle (one that does would be rewritten in part)."""
        (first, last), (low, high) = self.partitions, self.seqs
        inside = [
            one for one in files if first <= one.partition <= last and one.seq_low <= high and low <= one.seq_high
        ]
        return len(inside) == len(self.files)


def partition_span(layout: TableLayout, first: int, last: int) -> tuple[int, int]:
    """Start of the first and end of the last partition, in microseconds."""
    if isinstance(layout.transform, MonthTransform):
        return _month_start(first), _month_start(last + 1)
    return first * DAY, (last + 1) * DAY


def _month_start(month: int) -> int:
    return to_us(datetime(1970 + month // 12, month % 12 + 1, 1, tzinfo=UTC))


def choose(files: FileSet, settings: HistorySettings, is_quiet: Callable[[int], bool]) -> Merge | None:
    """The next merge worth its work, None when there is none. `is_quiet` tells partitions that nothing arrives in
    any more.
    """
    ordered = sorted(files, key=lambda one: (one.partition, one.seq_low))
    whole: list[DataFile] = []
    for partition, members in groupby(ordered, key=lambda one: one.partition):
        group = list(members)
        run = _run(group, settings, is_quiet=is_quiet(partition))
        fits = sum(one.rows for one in [*whole, *group]) <= settings.merge_rows and len(whole) < _FILES_MAX
        if run and len(run) == len(group) and fits:
            whole += group
        elif whole:
            break
        elif run and Merge(tuple(run)).is_alone(files):
            return Merge(tuple(run))
    return Merge(tuple(whole)) if whole else None


def _run(group: Sequence[DataFile], settings: HistorySettings, *, is_quiet: bool) -> list[DataFile]:
    """Neighbours of similar size, smallest first, together no more than one step writes; any two where all is quiet."""
    least = 2 if is_quiet else settings.merge_files
    sizes = [0 if is_quiet else _tier(one.rows, settings) for one in group]
    for tier in sorted(set(sizes)):
        run: list[DataFile] = []
        for one, size in zip(group, sizes, strict=True):
            fits = size <= tier and one.rows <= settings.merge_rows // 2
            if fits and sum(each.rows for each in run) + one.rows <= settings.merge_rows:
                run.append(one)
            elif len(run) >= least:
                break
            else:
                run = [one] if fits else []
        if len(run) >= least:
            return run
    return []


def _tier(rows: int, settings: HistorySettings) -> int:
    """Each tier is `merge_files` times the last, so a row is rewritten a logarithmic number of times."""
    tier, bound = 0, 1_000
    while rows > bound:
        tier, bound = tier + 1, bound * settings.merge_files
    return tier


def merge(table: WrittenTable, engine: Engine, chosen: Merge, combine: Callable[[Sql], Sql]) -> None:
    """Does it; `combine` turns the files' rows into what takes their place, sorted."""
    columns = ", ".join(table.layout.columns.names)
    rows = engine.ask(combine(scan(chosen.files, columns, Sql("true"))))
    start, end = partition_span(table.layout, *chosen.partitions)
    table.replace(rows, f"{table.time_range(start, end)} AND {seq_range(*chosen.seqs)}", {})


def sorted_rows(layout: TableLayout) -> Callable[[Sql], Sql]:
    """Rows as they are, in the table's order."""
    order = ", ".join(layout.order)
    return lambda rows: Sql(f"SELECT * FROM ({rows.text}) ORDER BY {order}", rows.values)
