"""Alarm levels and the ISA-18.2 / IEC 62682 states with the moves between them. Used by watch, incidents and the faces.

Pure values: `following(state, event, active)` is the whole state machine; who, when and why are watch's matter.
"""

from enum import IntEnum, StrEnum


class Level(IntEnum):
    """How grave, in the four steps of Korea (관심/주의/경계/심각) and China (蓝/黄/橙/红). Words outside, never
    digits."""

    ATTENTION = 1
    CAUTION = 2
    ALERT = 3
    SERIOUS = 4

    @property
    def word(self) -> str:
        """The word of the API: `attention`, `caution`, `alert`, `serious`."""
        return self.name.lower()


LEVELS: dict[str, Level] = {level.word: level for level in Level}
LEVEL_NAMES: dict[Level, dict[str, str]] = {
    Level.ATTENTION: {"ko": "관심", "zh": "蓝色", "en": "attention"},
    Level.CAUTION: {"ko": "주의", "zh": "黄色", "en": "caution"},
    Level.ALERT: {"ko": "경계", "zh": "橙色", "en": "alert"},
    Level.SERIOUS: {"ko": "심각", "zh": "红色", "en": "serious"},
}


class State(StrEnum):
    """ISA-18.2-2016 figure 3, states A-D and F-H (`normal` is A; its alarm has ended and is history)."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned_unacknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out_of_service"


ANNUNCIATED = frozenset({State.UNACKNOWLEDGED, State.ACKNOWLEDGED, State.RETURNED_UNACKNOWLEDGED})
ASIDE = frozenset({State.SHELVED, State.SUPPRESSED, State.OUT_OF_SERVICE})


class Event(StrEnum):
    """What can happen to an alarm. The first four come from conditions, the others from people and timers."""

    RAISE = "raise"
    ESCALATE = "escalate"
    CLEAR = "clear"
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    ACKNOWLEDGE = "acknowledge"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    SHELF_ENDS = "shelf_ends"
    REMOVE = "remove"
    RETURN = "return"


_A, _U, _K, _R = State.NORMAL, State.UNACKNOWLEDGED, State.ACKNOWLEDGED, State.RETURNED_UNACKNOWLEDGED
_S, _D, _O = State.SHELVED, State.SUPPRESSED, State.OUT_OF_SERVICE

# event -> state -> next state; a pair is (while the condition holds, when it does not). Absent: the step is not
# possible.
_MOVES: dict[Event, dict[State, State | tuple[State, State]]] = {
    Event.RAISE: {_A: _U, _R: _U, _S: _S, _D: _D, _O: _O},
    Event.ESCALATE: {_U: _U, _K: _U, _S: _S, _D: _D, _O: _O},
    Event.CLEAR: {_U: _R, _K: _A, _S: _S, _D: _A, _O: _O},
    Event.SUPPRESS: {_U: _D, _K: _D, _R: _D, _S: _S, _O: _O, _D: _D},
    Event.UNSUPPRESS: {_D: (_U, _A), _S: _S, _O: _O, _A: _A, _U: _U, _K: _K, _R: _R},
    Event.ACKNOWLEDGE: {_U: _K, _R: _A},
    Event.SHELVE: {_U: _S, _K: _S, _R: _S},
    Event.UNSHELVE: {_S: (_K, _A)},  # by hand: the operator has seen it (ISA-18.2 11.7.3)
    Event.SHELF_ENDS: {_S: (_U, _A)},  # by time: it asks again
    Event.REMOVE: {_U: _O, _K: _O, _R: _O, _S: _O, _D: _O},
    Event.RETURN: {_O: (_U, _A)},
}


def following(state: State, event: Event, active: bool) -> State | None:
    """The state after an event, `active` being whether the condition holds; None when the event is not possible
    here."""
    found = _MOVES[event].get(state)
    if isinstance(found, tuple):
        return found[0] if active else found[1]
    return found
