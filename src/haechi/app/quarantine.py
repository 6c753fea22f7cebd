"""Whether quarantine may take more: what the gateway's intake asks before it keeps a message nobody understands."""

import structlog

from haechi.core.errors import Unavailable
from haechi.ports import RecordStore
from haechi.services.ingest.account import HELD_BYTES, held_bytes

LOOKS = 10  # of one a second: the account is read at every tenth

_events = structlog.get_logger("gateway")


class QuarantineRoom:
    """Asked for each commit; looks into the account now and then. What came since the last look is not counted yet."""

    def __init__(self, store: RecordStore, most: int = HELD_BYTES) -> None:
        self._store, self._most = store, most
        self._looks = 0
        self._full = False

    def __call__(self) -> bool:
        return not self._full

    def look(self) -> None:
        """Called once a second. What cannot be read now is as it was."""
        self._looks += 1
        if self._looks % LOOKS != 1:
            return
        try:
            full = held_bytes(self._store) >= self._most
        except Unavailable:
            return
        if full and not self._full:
            _events.error(
                "quarantine_full", bytes=self._most, hint="`haechi quarantine list`; mend the mapping, replay"
            )
        self._full = full
