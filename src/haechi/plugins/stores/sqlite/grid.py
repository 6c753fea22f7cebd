"""The grid behind box queries on SQLite: one cell number per extent, and the ranges of cells a box has to look into.

Points lie in level 0 (cells of about 500 m). An extent lies, by its middle, in the finest coarser level whose cells are
at least as large as it: it may stick out by half a cell, so those levels are searched half a cell further on each side.
"""

from haechi.core.geo import Extent
from haechi.ports import Box

_SIZES = (0.005, 0.005, 0.04, 0.32, 2.56, 20.48, 400.0)  # degrees per cell and level
_ROW = 1 << 18  # more columns than the finest level has
_LEVEL = 1 << 36
MOST = 2000  # ranges; beyond that a look at every entity of the type is cheaper


def cell(extent: Extent) -> int:
    """The cell of an extent: level, row and column in one integer."""
    west, south, east, north = extent
    if west == east and south == north:
        return _number(0, west, south)
    return _number(_level(max(east - west, north - south)), (west + east) / 2, (south + north) / 2)


def _level(size: float) -> int:
    if size == 0:
        return 0
    return next(level for level, width in enumerate(_SIZES) if level and size <= width)


def _number(level: int, lon: float, lat: float) -> int:
    size = _SIZES[level]
    return level * _LEVEL + int((lat + 90) / size) * _ROW + int((lon + 180) / size)


def ranges(box: Box) -> list[tuple[int, int]]:
    """First and last cell of each run of cells that may hold something in the box; empty when there are too many."""
    found: list[tuple[int, int]] = []
    for level, size in enumerate(_SIZES):
        margin = size / 2 + 1e-9 if level else 0.0
        west, east = max(box.west - margin, -180.0), min(box.east + margin, 180.0)
        south, north = max(box.south - margin, -90.0), min(box.north + margin, 90.0)
        rows = range(int((south + 90) / size), int((north + 90) / size) + 1)
        if len(found) + len(rows) > MOST:
            return []
        base, first, last = level * _LEVEL, int((west + 180) / size), int((east + 180) / size)
        found += [(base + row * _ROW + first, base + row * _ROW + last) for row in rows]
    return found
