"""MQTT topics: filters, subscribers, and names on the bus. The MQTT door and whoever commands devices use it.

Topic `a/b/c` is bus subject `mqtt.a.b.c`; what NATS forbids in a token is written %XX, an empty level is `%`.
"""

import re
from collections.abc import Collection, Hashable, Iterable
from typing import Generic, TypeVar

from haechi.core.errors import InvalidSettings

Who = TypeVar("Who", bound=Hashable)
REMEMBERED = 50_000  # topics whose subscribers are remembered


def to_subject(topic: str, prefix: str = "mqtt") -> str:
    """The bus subject of a topic."""
    return ".".join([prefix, *(re.sub(r"[\0- .*>%\x7f]", _escaped, level) or "%" for level in topic.split("/"))])


def to_topic(subject: str) -> str:
    """The topic of a bus subject, whatever its prefix."""
    levels = subject.split(".")[1:]
    return "/".join("" if level == "%" else re.sub(r"%([0-9A-F]{2})", _plain, level) for level in levels)


def _escaped(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _plain(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))


def is_topic(name: str) -> bool:
    """Whether something can be published on that name: not empty, no wildcards (4.7.1, 4.7.3)."""
    return bool(name) and "+" not in name and "#" not in name


def is_filter(wanted: str) -> bool:
    """Whether it is a topic filter: `#` alone in the last level, `+` alone in its level (4.7.1)."""
    levels = wanted.split("/")
    return bool(wanted) and "#" not in levels[:-1] and all(one in "+#" or is_topic(one) for one in levels)


def covers(allowed: list[str], wanted: list[str]) -> bool:
    """Whether the filter `allowed` matches whatever the filter or topic `wanted` matches, both in levels (4.7)."""
    for at, level in enumerate(allowed):
        if level == "#":
            return True
        if at >= len(wanted) or wanted[at] == "#" or level not in ("+", wanted[at]):
            return False
    return len(allowed) == len(wanted)


def matching(wanted: str, topics: Collection[str]) -> list[str]:
    """Those of the topics that a filter matches."""
    if is_topic(wanted):
        return [wanted] if wanted in topics else []
    levels = wanted.split("/")
    ours = [one for one in topics if one[0] != "$" or levels[0] not in ("+", "#")]  # 4.7.2
    return [one for one in ours if covers(levels, one.split("/"))]


def permitted(wanted: str, allowed: Iterable[str], device: str) -> bool:
    """Whether one of the allowed filters, `{device}` standing for the device's name, covers the wanted one."""
    return any(covers(one.replace("{device}", device).split("/"), wanted.split("/")) for one in allowed)


class Template:
    """Where devices publish: `city/{device}/{channel}`, or `{channel...}` as the last level for several levels."""

    def __init__(self, text: str) -> None:
        self._levels = text.split("/")
        if self._levels.count("{device}") != 1:
            raise InvalidSettings(
                f"topic: {text!r} needs one level {{device}}, or devices could write in each other's name"
            )
        if not is_topic(text) or "{channel...}" in self._levels[:-1] or text.count("{channel") > 1:
            raise InvalidSettings(f"topic: {text!r} takes no wildcards and one {{channel}}; {{channel...}} comes last")
        self._several = self._levels[-1] == "{channel...}"
        self._around = self._ends() if self._levels[-1] in {"{channel}", "{channel...}"} else None

    def _ends(self) -> tuple[str, str]:
        """What stands before the device and from there to the channel, which is the last level."""
        place = self._levels.index("{device}")
        before, between = self._levels[:place], self._levels[place + 1 : -1]
        return "".join(f"{one}/" for one in before), "".join(["/", *(f"{one}/" for one in between)])

    def channel(self, device: str, topic: str) -> str | None:
        """The channel of a topic of this device; None when the topic is not its own. Channels with `$` are ours."""
        if self._around is None or "/" in device:
            return self._by_level(device, topic)
        # Hot path where one connection speaks for more sensors than it remembers topics.
        before, between = self._around
        head = f"{before}{device}{between}"
        found = topic[len(head) :]
        if not topic.startswith(head) or (not self._several and "/" in found) or found.startswith("$"):
            return None
        return found

    def _by_level(self, device: str, topic: str) -> str | None:
        found, levels = "", topic.split("/")
        if self._levels[-1] == "{channel...}":
            last = len(self._levels) - 1
            levels[last:] = ["/".join(levels[last:])] if levels[last:] else []
        if len(levels) != len(self._levels):
            return None
        for wanted, level in zip(self._levels, levels, strict=True):
            if wanted.startswith("{channel"):
                found = level
            elif level != (device if wanted == "{device}" else wanted):
                return None
        return None if found.startswith("$") else found


class Subscriptions(Generic[Who]):
    """Who subscribed to which filter with which options; the two lowest bits of the options are the QoS."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, dict[Who, int]]] = {}  # levels before the first wildcard -> filter
        self._known: dict[str, tuple[tuple[Who, int], ...]] = {}

    def add(self, who: Who, wanted: str, options: int) -> None:
        """Adds or replaces one."""
        self._groups.setdefault(_literal(wanted), {}).setdefault(wanted, {})[who] = options
        self._known.clear()

    def remove(self, who: Who, wanted: str) -> None:
        """Removes one that is there."""
        group = self._groups[_literal(wanted)]
        del group[wanted][who]
        if not group[wanted]:
            del group[wanted]
        if not group:
            del self._groups[_literal(wanted)]
        self._known.clear()

    def matches(self, topic: str) -> tuple[tuple[Who, int], ...]:
        """Who gets a topic, each once with the options of its best QoS. Hot path: remembered per topic."""
        if not self._groups:
            return ()
        found = self._known.get(topic)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[topic] = self._find(topic)
        return found

    def _find(self, topic: str) -> tuple[tuple[Who, int], ...]:
        levels, found = topic.split("/"), dict[Who, int]()
        for size in range(topic.startswith("$"), len(levels) + 1):  # wildcards do not match $-topics (4.7.2)
            for wanted, subscribers in self._groups.get("/".join(levels[:size]), {}).items():
                if covers(wanted.split("/"), levels):
                    for who, options in subscribers.items():
                        found[who] = max(found.get(who, 0), options, key=lambda one: one & 3)
        return tuple(found.items())


def _literal(wanted: str) -> str:
    return re.split(r"(?:^|/)[+#]", wanted, maxsplit=1)[0]
