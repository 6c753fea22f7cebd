"""Records that came off the log and that nobody has asked about yet. Used by `HistoryTail`.

An API's writes come in frames of some dozen rows, and most of them are in files before anybody asks: what reading one
costs, it costs per frame.
"""

import threading
from collections.abc import Sequence

from haechi.core.errors import InvalidData
from haechi.ports import Record


class Unread:
    """In order of seq. Its lock is held for an instant only: a loop may add while a thread reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self.bytes = 0  # of payload
        self.rows = 0  # observations

    def add(self, records: Sequence[Record]) -> None:
        """At the end."""
        with self._lock:
            self._records += records
            self._count(records, 1)

    def waiting(self) -> Sequence[Record]:
        """All of them; they stay until they are taken off."""
        with self._lock:
            return tuple(self._records)

    def take_off(self, position: int) -> None:
        """Those with seq <= `position` were read, or need not be."""
        with self._lock:
            count = sum(one.seq <= position for one in self._records)
            self._count(self._records[:count], -1)
            del self._records[:count]

    def _count(self, records: Sequence[Record], sign: int) -> None:
        self.bytes += sign * sum(len(one.payload) for one in records)
        self.rows += sign * sum(map(_rows, records))


def _rows(record: Record) -> int:
    try:
        return int(record.frame().observations.num_rows)
    except InvalidData:  # whoever reads it says so
        return 0
