"""A set of (row, column) pairs of small whole numbers, a bit each, asked by arrays. Used by the live model's store."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_COLUMNS_MOST = 1024  # a column beyond is never said to be there: whoever asks looks it up


class Pairs:
    """Grows with the numbers it is given: a million rows by 64 columns are 8 MB."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing is there."""
        self._bits = np.zeros((1024, 8), dtype=np.uint8)

    def has(self, rows: Any, columns: Any) -> Any:
        """Which of these pairs are there, as booleans."""
        height, width = self._bits.shape
        inside = (rows < height) & (columns < width * 8)
        bits = self._bits[np.where(inside, rows, 0), np.where(inside, columns >> 3, 0)]
        return inside & (bits >> (columns & 7).astype(np.uint8) & 1).astype(bool)

    def add(self, rows: Any, columns: Any) -> None:
        """Puts these pairs in."""
        if not len(rows):
            return
        self._fit(int(rows.max()), min(int(columns.max()), _COLUMNS_MOST - 1))
        kept = columns < _COLUMNS_MOST
        rows, columns = rows[kept], columns[kept]
        np.bitwise_or.at(self._bits, (rows, columns >> 3), np.left_shift(1, columns & 7).astype(np.uint8))

    def drop(self, rows: Sequence[int]) -> None:
        """Removes every pair of these rows."""
        inside = [row for row in rows if row < len(self._bits)]
        self._bits[inside] = 0

    def _fit(self, row: int, column: int) -> None:
        height, width = self._bits.shape
        while height <= row:
            height *= 2
        while width * 8 <= column:
            width *= 2
        if (height, width) != self._bits.shape:
            grown = np.zeros((height, width), dtype=np.uint8)
            grown[: self._bits.shape[0], : self._bits.shape[1]] = self._bits
            self._bits = grown
