"""Everything that was true: the projection that writes history and the reader that answers from files and tail."""

from haechi.services.history.reader import HistoryTail
from haechi.services.history.writer import HistoryWriter

__all__ = ["HistoryTail", "HistoryWriter"]
