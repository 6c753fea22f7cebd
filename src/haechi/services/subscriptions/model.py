"""A subscription as its client wrote it, checked and compiled. Used by the face and by the notifier."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from haechi.core import header
from haechi.core.errors import InvalidData
from haechi.core.pattern import compile_pattern
from haechi.core.times import parse_iso
from haechi.core.urn import is_uri
from haechi.services.ngsi_ld import geoq, languages, q, scopeq, temporal, typeq
from haechi.services.ngsi_ld.linked import DEEPEST, Join
from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.paths import Load, no_entity
from haechi.services.ngsi_ld.representation import View

TRIGGERS = (
    "entityCreated",
    "entityUpdated",
    "entityDeleted",
    "attributeCreated",
    "attributeUpdated",
    "attributeDeleted",
)
DEFAULT_TRIGGERS = ("attributeCreated", "attributeUpdated")
FORMATS = {"normalized": "normalized", "concise": "concise", "simplified": "simplified", "keyValues": "simplified"}
ACCEPTED = ("application/json", "application/ld+json", "application/geo+json")
SCHEMES = ("http", "https", "mqtt", "mqtts")
MEMBERS = frozenset(
    """
    id type subscriptionName description entities watchedAttributes notificationTrigger timeInterval q geoQ csf scopeQ
    isActive notification expiresAt throttling temporalQ lang datasetId jsonldContext localOnly splitEntities
    """.split()  # noqa: SIM905 - a list of words is read as one
)
Test = Callable[[Mapping[str, Any]], bool]
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Selector:
    """One EntitySelector (clause 5.2.33)."""

    types: tuple[str, ...]
    of_types: Test | None
    id: str | None
    pattern: Callable[[str], bool] | None

    def fits(self, id: str, types: Sequence[str]) -> bool:
        """Whether it can select an entity of that id and those types."""
        if self.id is not None and self.id != id:
            return False
        if self.types and self.types != ("*",) and not set(self.types) & set(types):
            return False
        if self.of_types is not None and not self.of_types({"type": types}):
            return False
        return self.pattern is None or self.pattern(id)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where notifications go (clause 5.2.15). `timeout_s` and `cooldown_s` are the client's wishes."""

    uri: str
    accept: str
    receiver: tuple[tuple[str, str], ...]
    notifier: Mapping[str, str]
    timeout_s: float | None
    cooldown_s: float | None


@dataclass(frozen=True, slots=True)
class Subscription:
    """Compiled. Names are internal; spans in seconds, `expires_at` in microseconds."""

    id: str
    selectors: tuple[Selector, ...]
    watched: frozenset[str]  # empty: all
    triggers: frozenset[str]
    test: Test | None  # q, geoQ and scopeQ together
    view: View
    join: Join
    endpoint: Endpoint
    show_changes: bool
    datasets: frozenset[str]  # empty: all instances; "@none" is the default one
    interval_s: float | None
    throttling_s: float
    expires_at: int | None
    active: bool

    def asks(self, id: str, types: Sequence[str]) -> bool:
        """Whether entities of that id and those types concern it."""
        return not self.selectors or any(one.fits(id, types) for one in self.selectors)

    def lives(self, now: int) -> bool:
        """Neither paused nor expired."""
        return self.active and (self.expires_at is None or self.expires_at > now)


def compile_subscription(body: Document, context: Context, told: Context, load: Load = no_entity) -> Subscription:
    """`context` gives names their meaning, `told` is what receivers understand (jsonldContext, or the same); `load`
    finds entities that q reaches by relationships.

    `InvalidData` names the member that is wrong (clause 5.8.1.4).
    """
    notification = _object(body, "notification", required=True)
    interval, throttling = _span(body, "timeInterval"), _span(body, "throttling")
    if interval is not None and throttling is not None:
        raise wrong("throttling", "and timeInterval exclude each other; keep one")
    if interval is not None and interval <= 0:
        raise wrong("timeInterval", "must be above 0 seconds")
    watched = frozenset(map(context.expand, _words(body, "watchedAttributes")))
    if body.get("watchedAttributes") == []:
        raise wrong("watchedAttributes", "is empty; name something or leave it out")
    if not body.get("entities") and not watched:
        raise wrong("entities", "or watchedAttributes must say what to watch")
    triggers = _triggers(body)
    _check_moments(body)
    return Subscription(
        id=str(body["id"]),
        selectors=tuple(_selector(one, context) for one in _objects(body, "entities")),
        watched=watched,
        triggers=triggers,
        test=_test(body, context, load),
        view=replace(_view(notification, told, context), languages=languages.parse(_text(body, "lang"))),
        join=_join(notification),
        endpoint=_endpoint(_object(notification, "endpoint", required=True)),
        show_changes=_flag(notification, "showChanges"),
        datasets=frozenset(_words(body, "datasetId")),
        interval_s=interval,
        throttling_s=throttling or 0.0,
        expires_at=instant_of(body, "expiresAt"),
        active=body.get("isActive", True) is not False,
    )


def wrong(member: str, complaint: str) -> InvalidData:
    """A member that cannot stand so."""
    return InvalidData(f"{member} {complaint}", "bad_request")


def _triggers(body: Document) -> frozenset[str]:
    if body.get("notificationTrigger") == []:
        raise wrong("notificationTrigger", f"is empty; there are {', '.join(TRIGGERS)}")
    given = _words(body, "notificationTrigger") or DEFAULT_TRIGGERS
    for one in given:
        if one not in TRIGGERS:
            raise wrong("notificationTrigger", f"has {one!r}; there are {', '.join(TRIGGERS)}")
    triggers = set(given)
    if "entityUpdated" in triggers:
        triggers |= {"attributeCreated", "attributeUpdated", "attributeDeleted"}
    return frozenset(triggers)


def _selector(given: Document, context: Context) -> Selector:
    if not isinstance(given.get("type"), str) or not given["type"]:
        raise wrong("entities", "need a type each: a name or a selection such as A,B")
    text = given["type"]
    types, of_types = (("*",), None) if text == "*" else typeq.parse(text, context.expand)
    id, pattern = given.get("id"), given.get("idPattern")
    if id is not None and not is_uri(id):
        raise wrong("entities", f"have the id {id!r}, which is no URI")
    if pattern is not None and not isinstance(pattern, str):
        raise wrong("entities", "have an idPattern that is no text")
    return Selector(types, of_types, id, None if pattern is None or id is not None else compile_pattern(pattern))


def _test(body: Document, context: Context, load: Load) -> Test | None:
    tests: list[Test] = []
    if (text := body.get("q")) is not None:
        if not isinstance(text, str):
            raise wrong("q", "must be a text")
        tests.append(q.compile_q(unquote(text), context.expand, frozenset(), load))
    if (sources := body.get("csf")) is not None:
        if not isinstance(sources, str):
            raise wrong("csf", "must be a text")
        q.parse(unquote(sources), context.expand)  # it chooses among context sources; what is here is told
    if (scopes := body.get("scopeQ")) is not None:
        if not isinstance(scopes, str):
            raise wrong("scopeQ", "must be a text")
        tests.append(scopeq.parse(scopes))
    if body.get("geoQ") is not None:
        place = _object(body, "geoQ")
        found = geoq.parse(lambda name: _geo_text(place, name), context.expand)
        if found is None:
            raise wrong("geoQ", "needs georel, geometry and coordinates (clause 5.2.13)")
        tests.append(found[1])
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else lambda entity: all(test(entity) for test in tests)


def _check_moments(body: Document) -> None:
    """temporalQ chooses registrations by what time they have something of (clauses 5.2.12, 5.11.7). What changes is
    told when it does (clause 5.8.6 knows no time but that): of a subscription to entities it is sound or refused."""
    if body.get("temporalQ") is None:
        return
    given = temporal.flat({"temporalQ": body["temporalQ"]})
    if temporal.parse(given.get).timerel is None:
        raise wrong("temporalQ", "needs timerel and timeAt (clause 5.2.21)")


def _geo_text(place: Document, name: str) -> str | None:
    """GeoQuery members (clause 5.2.13) as the parameters of a geo-query; coordinates may be an array."""
    value = place.get(name)
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _view(notification: Document, told: Context, context: Context) -> View:
    form = notification.get("format", "normalized")
    if form not in FORMATS:
        raise wrong("notification.format", f"is {form!r}; there are {', '.join(FORMATS)}")
    if FORMATS[form] == "simplified" and _flag(notification, "showChanges"):
        raise wrong("notification.showChanges", f"cannot be shown in the format {form}; ask for normalized or concise")
    attributes, pick, omit = (_names(notification, one, context) for one in ("attributes", "pick", "omit"))
    if attributes and (pick or omit):
        raise wrong("notification.attributes", "is the older way to say pick and omit; keep one way")
    if both := pick & omit:
        raise wrong("notification.pick", f"and omit both name {sorted(both)[0]}; take it out of one")
    only = attributes | {"id", "type", "scope"} if attributes else pick
    return View(told, FORMATS[form], _flag(notification, "sysAttrs"), only, omit)


def _names(notification: Document, member: str, context: Context) -> frozenset[str]:
    if member not in notification or notification[member] is None:
        return frozenset()
    words = _words(notification, member)
    if not words:
        raise wrong(f"notification.{member}", "is empty; name something or leave it out")
    return frozenset(one if one in ("id", "type", "scope") else context.expand(one) for one in words)


def _join(notification: Document) -> Join:
    """Linked entities in notifications (clause 4.5.23)."""
    form, level = notification.get("join", "@none"), notification.get("joinLevel", 1)
    if form not in {"inline", "flat", "@none"}:
        raise wrong("notification.join", f"is {form!r}; there are inline, flat and @none")
    if isinstance(level, bool) or not isinstance(level, int) or not 1 <= level <= DEEPEST:
        raise wrong("notification.joinLevel", f"is {level!r}; write a whole number from 1 to {DEEPEST}")
    return Join("" if form == "@none" else form, level)


def _text(given: Document, member: str) -> str | None:
    value = given.get(member)
    if value is not None and not isinstance(value, str):
        raise wrong(member, "must be a text")
    return value


def _endpoint(given: Document) -> Endpoint:
    uri, accept = given.get("uri"), given.get("accept", ACCEPTED[0])
    if not isinstance(uri, str) or urlsplit(uri).scheme not in SCHEMES or not urlsplit(uri).hostname:
        raise wrong("notification.endpoint.uri", f"is {uri!r}; write a URL with {', '.join(SCHEMES)}")
    if accept not in ACCEPTED:
        raise wrong("notification.endpoint.accept", f"is {accept!r}; there are {', '.join(ACCEPTED)}")
    receiver, notifier = _pairs(given, "receiverInfo"), _pairs(given, "notifierInfo")
    if urlsplit(uri).scheme.startswith("http"):
        _check_headers(receiver)
    elif not urlsplit(uri).path.strip("/"):
        raise wrong(
            "notification.endpoint.uri", "has no topic (clause 7.2); write one behind the host, as in …/a/topic"
        )
    return Endpoint(uri, accept, receiver, dict(notifier), _span(given, "timeout"), _span(given, "cooldown"))


def _check_headers(receiver: Sequence[tuple[str, str]]) -> None:
    for key, value in receiver:
        if not header.is_name(key) or not header.is_value(value):
            raise wrong("receiverInfo", f"has {key[:40]!r}, which cannot be sent as an HTTP header")


def _pairs(given: Document, member: str) -> tuple[tuple[str, str], ...]:
    pairs = given.get(member, ())
    if not isinstance(pairs, list | tuple):
        raise wrong(member, "must be an array of key and value")
    for one in pairs:
        if not isinstance(one, dict) or not all(isinstance(one.get(name), str) for name in ("key", "value")):
            raise wrong(member, "needs a text as key and a text as value in each pair (clause 5.2.22)")
    return tuple((one["key"], one["value"]) for one in pairs)


def _object(given: Document, member: str, *, required: bool = False) -> Document:
    value = given.get(member)
    if value is None and not required:
        return {}
    if not isinstance(value, dict):
        raise wrong(member, "must be an object")
    return value


def _objects(given: Document, member: str) -> Sequence[Document]:
    value = given.get(member)
    if value is None:
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise wrong(member, "must be an array of at least one object")
    return value


def _words(given: Document, member: str) -> tuple[str, ...]:
    value = given.get(member)
    if value is None:
        return ()
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(one, str) and one for one in words):
        raise wrong(member, "must be an array of texts")
    return tuple(words)


def _span(given: Document, member: str) -> float | None:
    value = given.get(member)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**10:
        raise wrong(member, f"is {value!r}; write a number of at least 0")
    return float(value)


def _flag(given: Document, member: str) -> bool:
    value = given.get(member, False)
    if not isinstance(value, bool):
        raise wrong(member, f"is {value!r}; write true or false")
    return value


def instant_of(given: Document, member: str) -> int | None:
    """A date-time member in microseconds."""
    value = given.get(member)
    if value is None:
        return None
    try:
        return parse_iso(value)
    except (TypeError, ValueError) as error:
        raise wrong(member, f"is {value!r}; write a date-time such as 2026-11-22T09:00:00Z") from error
