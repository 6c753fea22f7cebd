"""DuckDB as a pure function: SQL text, parameters and Arrow tables in, an Arrow table out. No network, no extensions.

One engine per process; each question gets its own cursor, so that worker threads do not wait for each other.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from haechi.core.errors import Unavailable
from haechi.plugins.stores.iceberg.plan import DataFile


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and the values of its question marks, in order. Values never become text."""

    text: str
    values: tuple[Any, ...] = ()


class Engine:
    """DuckDB with its memory and threads bounded; what does not fit spills to `spill`."""

    def __init__(self, spill: Path, *, memory: str = "1GB", threads: int = 2) -> None:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": memory,
            "threads": threads,
            "temp_directory": str(spill),
            "preserve_insertion_order": False,
        }
        _spare_lookups()
        self._db = duckdb.connect(":memory:", config=settings)
        self._db.execute("SET GLOBAL TimeZone = 'UTC'")
        self._db.execute("SET GLOBAL parquet_metadata_cache = true")  # files never change
        self._db.execute("SET GLOBAL lock_configuration = true")

    def ask(self, sql: Sql, tables: Mapping[str, pa.Table] | None = None) -> pa.Table:
        """The answer; `Unavailable` when a file it names is gone (expired) or the disk or memory fails."""
        with closing(self._db.cursor()) as cursor:
            try:
                for name, table in (tables or {}).items():
                    cursor.register(name, table)
                return cursor.execute(sql.text, list(sql.values)).to_arrow_table()
            except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
                raise Unavailable(
                    f"history cannot be read now: {error}; ask again, or ask for less at a time"
                ) from error

    def close(self) -> None:
        """Frees memory; questions under way fail."""
        self._db.close()


def _spare_lookups() -> None:
    """DuckDB asks for pandas with each value it is given; where there is none, 0.15 ms of search on the disk each
    time.
    """
    if importlib.util.find_spec("pandas") is None:
        sys.modules["pandas"] = None  # type: ignore[assignment] # "known to be absent": the same ImportError, at once


def spill_folder(folder: Path) -> Path:
    """Where this process spills; DuckDB makes it when needed and removes it when closed."""
    return folder / f"spill-{os.getpid()}"


def clear_spill(folder: Path) -> None:
    """Removes what processes that were killed had spilled."""
    for path in folder.glob("spill-*"):
        try:
            os.kill(int(path.name.removeprefix("spill-")), 0)
        except ProcessLookupError:
            shutil.rmtree(path)


def scan(files: Sequence[DataFile], columns: str, where: Sql) -> Sql:
    """Rows of these files that satisfy `where`."""
    text = f"SELECT {columns} FROM read_parquet(?, hive_partitioning = false) WHERE {where.text}"
    return Sql(text, ([one.path for one in files], *where.values))


def instant(value: int) -> Sql:
    """An instant in microseconds, as the type of the columns (so that row groups are skipped by it)."""
    return Sql("make_timestamptz(?::BIGINT)", (value,))


def join(separator: str, parts: Sequence[Sql]) -> Sql:
    """Parts in a row, each in the order of its values."""
    return Sql(separator.join(part.text for part in parts), tuple(value for part in parts for value in part.values))


def among(column: str, words: Sequence[str]) -> Sql:
    """The column is one of these; true when none is named."""
    if not words:
        return Sql("true")
    marks = ", ".join("?" * len(words))
    return Sql(f"{column} IN ({marks})" if len(words) > 1 else f"{column} = ?", tuple(words))


def between(column: str, start: int, end: int) -> Sql:
    """start <= column < end."""
    return join(" AND ", [prefixed(f"{column} >= ", instant(start)), prefixed(f"{column} < ", instant(end))])


def prefixed(text: str, part: Sql, after: str = "") -> Sql:
    """A part with text around it."""
    return Sql(text + part.text + after, part.values)
