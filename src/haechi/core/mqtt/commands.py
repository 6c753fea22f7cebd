"""Commands on their way to MQTT devices and their answers, without I/O. The MQTT adapter keeps one `Courier` a link.

A command is handed to one connection of its device, once: it is never queued in a session, kept or sent again.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec
import orjson

from haechi.core.errors import InvalidData, InvalidSettings, Unavailable
from haechi.core.mqtt.session import Item, Session
from haechi.core.mqtt.topics import Template, is_topic, permitted
from haechi.core.times import SECOND

RESPONSE_TOPIC, CORRELATION = 0x08, 0x09
UNREADABLE, NOT_FOUND = 0x99, 0x10  # codes of a PUBACK: payload format invalid; no matching subscriber (4.13)
REFUSING = 0x80
REMEMBERED = 10_000  # outcomes kept to be told again
_HOLE = re.compile(r"\{([a-z_]+)\}")
_TOPIC_HOLES, _PAYLOAD_HOLES = frozenset({"device", "channel", "field"}), frozenset({"id", "channel", "field", "value"})
Json = bool | int | float | str
Outcome = dict[str, Any]


class CommandSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[settings.commands]` of an MQTT link; sample.toml explains each."""

    topic: str
    payload: str = '{"id": {id}, "field": {field}, "channel": {channel}, "value": {value}}'
    answer_topic: str = ""
    answer_id: str = "id"
    answer_ok: str = "ok"
    answer_good: tuple[Json, ...] = (True,)
    answer_why: str = "why"

    def check(self, subscribe: Iterable[str]) -> None:
        """`InvalidSettings` names the setting and the mend; `subscribe` is what devices of the link may hear."""
        _holes("commands.topic", self.topic, _TOPIC_HOLES)
        _holes("commands.payload", self.payload, _PAYLOAD_HOLES)
        if "{device}" not in self.topic.split("/"):
            raise InvalidSettings(
                f"commands.topic: {self.topic!r} has no level {{device}}; add it: every device has its own topic"
            )
        if "{value}" not in self.payload:
            raise InvalidSettings(f"commands.payload: {self.payload!r} has no {{value}}; add it")
        example = _HOLE.sub("x", self.topic.replace("{device}", "DEVICE"))
        if not is_topic(example) or not permitted(example, subscribe, "DEVICE"):
            wanted = re.sub(r"\{(field|channel)\}", "+", self.topic)
            raise InvalidSettings(f'subscribe: devices may not hear {self.topic!r}; add "{wanted}" to subscribe')
        if self.answer_topic:
            Template(self.answer_topic)


def _holes(name: str, text: str, known: frozenset[str]) -> None:
    unknown = set(_HOLE.findall(text)) - known
    if unknown:
        some = ", ".join(f"{{{one}}}" for one in sorted(known))
        raise InvalidSettings(f"{name}: {{{min(unknown)}}} stands for nothing; use {some}")


class Command(msgspec.Struct):
    """One notice on `command.<link>`: `value` in the device's unit, `expires_at` in microseconds."""

    id: str
    device: str
    channel: str
    field: str
    value: Json
    expires_at: int
    give_up_at: int = 0  # a little before: who asked must hear the reason while the command is still open
    why: str = ""  # it waits


class Memory(Protocol):
    """What the courier needs of the door: who hears a topic now, and a memory that survives a kill."""

    def listeners(self, topic: str) -> Iterable[tuple[Session, int]]:
        """Sessions subscribed to a topic, with the options of their subscription."""

    def note(self, id: str, device: str, at: int) -> None:
        """Keeps durably that a command goes out now; `Unavailable` when the disk does not take it."""

    def noted(self, id: str) -> tuple[str, int] | None:
        """(device, at) of a command that went out, also before a restart."""


class Courier:
    """Carries commands of one link. `tell` publishes an outcome (docs/reference/commands.md); `now` gives µs."""

    def __init__(
        self,
        settings: CommandSettings | None,
        memory: Memory,
        tell: Callable[[Outcome], None],
        now: Callable[[], int],
    ) -> None:
        self._settings, self._memory, self._tell, self._now = settings, memory, tell, now
        answers = settings.answer_topic if settings else ""
        self._answers = Template(answers) if answers else None
        self._waiting: dict[str, Command] = {}
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        self.counts = {"commands": 0, "answers": 0, "strange_answers": 0}

    # --- to devices ---

    def hear(self, payload: bytes) -> None:
        """A command from the platform. The same id may come several times: it goes out once, each is answered."""
        try:
            command = msgspec.json.decode(payload, type=Command)
        except msgspec.MsgspecError as error:
            raise InvalidData(f"not a command: {error}", "bad_command") from error
        if (known := self._outcomes.get(command.id)) is not None:
            self._tell(known)
        elif (noted := self._memory.noted(command.id)) is not None:
            why = "the gateway was started again while it was on its way; it is not sent twice"
            self._conclude(command.id, noted[1], ok=False, unsure=True, detail=why)
        elif (waiting := self._waiting.get(command.id)) is not None:
            self._tell_waiting(waiting)
        else:
            now = self._now()
            command.give_up_at = command.expires_at - min(SECOND, (command.expires_at - now) // 4)
            self._waiting[command.id] = command
            self._try(command, now)

    def look(self) -> None:
        """Called each second: hands out what waits for its device, and gives up what waited too long."""
        for command in list(self._waiting.values()):
            self._try(command, self._now())

    def _try(self, command: Command, now: int) -> None:
        why = self._sent(command, now)
        if not why:
            return
        if now >= command.give_up_at:
            late = now >= command.expires_at and not command.why
            detail = "it came too late; nothing was sent" if late else f"nothing was sent: {why}"
            self._conclude(command.id, now, ok=False, detail=detail)
        elif why != command.why:
            command.why = why
            self._tell_waiting(command)

    def _tell_waiting(self, command: Command) -> None:
        self._tell({"id": command.id, "ok": False, "waiting": True, "at": self._now(), "detail": command.why})

    def _sent(self, command: Command, now: int) -> str:
        """Hands it to one connection; why that was not possible, empty when it was."""
        if self._settings is None:
            return "the link says nothing of commands; add [settings.commands]"
        topic = _filled(self._settings.topic, command, str)
        ours = [one for one in self._memory.listeners(topic) if one[0].key[0] == command.device]
        there = [(session, options) for session, options in ours if session.outlet is not None]
        if not there:
            return f"{command.device} " + ("is not connected" if ours else f"does not listen on {topic}")
        if now >= command.give_up_at:
            return "its time is over"
        session, options = max(there, key=lambda one: one[1] & 3)
        if session.full:
            return f"{command.device} has not acknowledged what was sent before"
        return self._hand(command, (session, options & 3), topic, now)

    def _hand(self, command: Command, to: tuple[Session, int], topic: str, now: int) -> str:
        session, qos = to
        try:
            self._memory.note(command.id, command.device, now)
        except Unavailable as error:
            return str(error)
        item = Item(topic, self._payload(command), qos, False, self._properties(command), command.expires_at)
        self._conclude(command.id, now, ok=True, detail=f"published on {topic}")
        if not session.hand(item, lambda code: self._acknowledged(command.id, now, code)):
            self._conclude(command.id, now, ok=False, detail=f"{command.device} takes no message of that size")
        self.counts["commands"] += 1
        return ""

    def _acknowledged(self, id: str, at: int, code: int) -> None:
        """PUBACK came with that reason code (3.4.2.1), or the connection broke before it: -1."""
        if "answered_at" in self._outcomes.get(id, {}):
            return  # its answer came first
        if code < 0:
            why = "the connection broke before the device acknowledged; it is not sent twice"
            said: Outcome = {"ok": False, "unsure": True, "detail": why}
        elif code >= REFUSING:
            said = {"ok": False, "detail": f"the device refused the message: reason code 0x{code:02x}"}
        else:
            said = {"ok": True, "delivered": True, "detail": "delivered: the device acknowledged the message"}
        self._conclude(id, at, answered_at=self._now(), **said)

    def _payload(self, command: Command) -> bytes:
        assert self._settings is not None
        text = self._settings.payload
        if text == "{value}" and isinstance(command.value, str):
            return command.value.encode()  # alone it needs no quotes
        return _filled(text, command, lambda value: orjson.dumps(value).decode()).encode()

    def _properties(self, command: Command) -> dict[int, Any]:
        """MQTT 5 request and response (4.10), where the link expects answers."""
        if self._settings is None or not self._settings.answer_topic:
            return {}
        answers = self._settings.answer_topic.replace("{device}", command.device)
        return {RESPONSE_TOPIC: answers, CORRELATION: command.id.encode()} if is_topic(answers) else {}

    def _conclude(self, id: str, at: int, **said: Any) -> None:
        self._waiting.pop(id, None)
        outcome = {"id": id, "at": at, **said}
        self._outcomes[id] = outcome
        self._outcomes.move_to_end(id)
        while len(self._outcomes) > REMEMBERED:
            self._outcomes.popitem(last=False)
        self._tell(outcome)

    # --- from devices ---

    def is_answer(self, device: str, topic: str) -> bool:
        """Whether the device answers commands on that topic."""
        return self._answers is not None and self._answers.channel(device, topic) is not None

    def answer(self, device: str, payload: bytes, correlation: bytes | None) -> int:
        """Takes a device's answer; the reason code of its PUBACK."""
        assert self._settings is not None
        self.counts["answers"] += 1
        try:
            said = orjson.loads(payload) if payload.strip() else {}
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            self.counts["strange_answers"] += 1
            return UNREADABLE
        id = correlation.decode("utf-8", "replace") if correlation else str(_at(said, self._settings.answer_id))
        noted = self._memory.noted(id)
        if noted is None or noted[0] != device:
            self.counts["strange_answers"] += 1
            return NOT_FOUND
        if self._good(_at(said, self._settings.answer_ok)):
            told = {"ok": True, "confirmed": True, "detail": "the device answered that it is done"}
        else:
            why = _at(said, self._settings.answer_why)
            why = _at(said, self._settings.answer_ok) if why is None else why
            told = {"ok": False, "detail": f"the device answered: {why}"}
        self._conclude(id, noted[1], answered_at=self._now(), **told)
        return 0

    def _good(self, found: Any) -> bool:
        assert self._settings is not None
        return any(type(found) is type(one) and found == one for one in self._settings.answer_good)


def _filled(text: str, command: Command, shown: Callable[[Json], str]) -> str:
    known: Mapping[str, Json] = {name: getattr(command, name) for name in ("id", "device", "channel", "field", "value")}
    return _HOLE.sub(lambda found: shown(known[found[1]]) if found[1] in known else found[0], text)


def _at(document: Any, path: str) -> Any:
    """What stands at a dotted path; None when there is nothing."""
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document
