"""Rows of a wide CSV data set (plain or gzip): who, when and which cells, text as in the file. Used by replay."""

import csv
import gzip
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the file: cells that are not empty, by field name, text verbatim."""

    line: int
    device: str
    at_us: int
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is to be understood. `fields`: column -> name on the wire; empty: columns as they are."""

    time: str
    device: str
    offset_h: float = 0.0  # of instants that name no offset
    fields: Mapping[str, str] = field(default_factory=dict)
    cn: str = "2011"  # HJ 212 command


# Beijing multi-site air quality (UCI 501): hourly means. Codes of HJ 212-2017 where there are; wd is text.
BEIJING_AIR = Layout(
    "time",
    "station",
    8.0,
    {
        "PM2.5": "a34004-Avg",
        "PM10": "a34002-Avg",
        "SO2": "a21026-Avg",
        "NO2": "a21004-Avg",
        "CO": "a21005-Avg",
        "O3": "a05024-Avg",
        "TEMP": "a01001-Avg",
        "PRES": "a01006-Avg",
        "DEWP": "dewp-Avg",
        "RAIN": "rain-Cou",
        "wd": "a01008-Info",
        "WSPM": "a01007-Avg",
    },
    "2061",
)
PROFILES = {"beijing_air": BEIJING_AIR}


def is_number(text: str) -> bool:
    """Whether a cell is a plain number."""
    return _NUMBER.fullmatch(text) is not None


class Rows:
    """Reads a file once, front to back. `share` says how much of it has been read, 0–1."""

    def __init__(self, path: Path, layout: Layout, names: bool) -> None:
        """`names`: fields are called as on the wire (HJ 212), else as their columns."""
        self._path, self._layout, self._names = path, layout, names
        self._size = path.stat().st_size
        self._read = 0
        self._instants: dict[str, int] = {}

    @property
    def share(self) -> float:
        """How much of the file has been read."""
        return self._read / self._size if self._size else 1.0

    def __iter__(self) -> Iterator[Row]:
        """Every row; ValueError names the line that cannot be read."""
        with self._path.open("rb") as raw:
            packed = self._path.suffix == ".gz"
            with io.TextIOWrapper(gzip.GzipFile(fileobj=raw) if packed else raw, "utf-8-sig", newline="") as text:
                lines = csv.reader(text)
                header = next(lines, [])
                columns = self._columns(header)
                time, device = self._find(header, self._layout.time), self._find(header, self._layout.device)
                for line, cells in enumerate(lines, start=2):
                    if len(cells) != len(header):
                        raise ValueError(f"{self._path}:{line}: {len(cells)} cells, the header has {len(header)}")
                    taken = tuple((name, cells[at]) for at, name in columns if cells[at])
                    yield Row(line, cells[device], self._instant(cells[time], line), taken)
                    if line % 256 == 0:
                        self._read = raw.tell()
        self._read = self._size

    def _find(self, header: list[str], column: str) -> int:
        if column not in header:
            raise ValueError(f"{self._path}: no column {column!r}; there are {', '.join(header)}")
        return header.index(column)

    def _columns(self, header: list[str]) -> list[tuple[int, str]]:
        if self._layout.fields:
            wire = self._layout.fields
            return [(self._find(header, column), wire[column] if self._names else column) for column in wire]
        apart = (self._layout.time, self._layout.device)
        return [(at, name) for at, name in enumerate(header) if name not in apart]

    def _instant(self, text: str, line: int) -> int:
        known = self._instants.get(text)
        if known is not None:
            return known
        try:
            instant = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{self._path}:{line}: {error}; times are written 2013-03-01 00:00") from error
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC) - timedelta(hours=self._layout.offset_h)
        at_us = (instant - _EPOCH) // timedelta(microseconds=1)
        self._instants[text] = at_us
        return at_us
