"""The operators of a fault run: one writes notes into an incident, one asks the PLC for values."""

import threading
import urllib.error
from collections.abc import Sequence
from http.client import HTTPException

from fault_checks import Asked
from fault_city import PLC, entity_of
from fault_senders import Stage

REFUSED = (400, 403, 404, 409)  # an answer that says that nothing was done


class NoteTaker(threading.Thread):
    """A note without an answer is in doubt and not written again."""

    def __init__(self, stage: Stage, at_ms: Sequence[int], incident: str) -> None:
        super().__init__(name="note-taker", daemon=True)
        self._stage, self._at_ms, self._incident = stage, at_ms, incident
        self.sent: set[str] = set()
        self.journal: list[str] = []
        self.acknowledged: set[str] = set()

    def run(self) -> None:
        for number, at_ms in enumerate(self._at_ms):
            self._stage.wait(at_ms)
            text = f"note {number}"
            self.sent.add(text)
            try:
                self._stage.platform.request("POST", f"/api/incidents/{self._incident}/note", {"text": text})
            except (OSError, HTTPException) as error:  # the api was killed, or answered that it cannot say
                self.journal.append(f"{text} at {self._stage.time.now() * 1000:.0f} ms: {_why(error)}")
                continue
            self.acknowledged.add(text)


class Dispatcher(threading.Thread):
    """Asks for a value nobody asked for before; refused while an earlier one is under way, and that is all right."""

    def __init__(self, stage: Stage, at_ms: Sequence[int]) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self._stage, self._at_ms = stage, at_ms
        self.asked: list[Asked] = []
        self.journal: list[str] = []

    def run(self) -> None:
        for number, at_ms in enumerate(self._at_ms):
            self._stage.wait(at_ms)
            value = 310 + 10 * number
            body = {"entity": entity_of(PLC), "attribute": "pressure", "value": value, "reason": "fault run"}
            try:
                id = str(self._stage.platform.request("POST", "/api/commands", body)["id"])
            except urllib.error.HTTPError as error:
                if error.code not in REFUSED:
                    self.asked.append(Asked(value, ""))
                self.journal.append(f"{value} at {self._stage.time.now() * 1000:.0f} ms: {_why(error)}")
            except (OSError, HTTPException) as error:
                self.asked.append(Asked(value, ""))
                self.journal.append(f"{value} at {self._stage.time.now() * 1000:.0f} ms: {_why(error)}")
            else:
                self.asked.append(Asked(value, id))


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        with error:
            return f"{error.code} {error.read().decode(errors='replace')[:200]}"
    return repr(error)
