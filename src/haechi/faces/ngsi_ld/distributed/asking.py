"""Asks registered sources on behalf of one request: headers, loops, time-outs, warnings (clauses 4.3.6.4 to 4.3.6.6,
6.3.17, 6.3.18). Used by everything else here."""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from starlette.requests import Request

from haechi.core.errors import InvalidData, Unavailable
from haechi.core.times import SECOND, to_us
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.requests import JSON, LD
from haechi.services.ngsi_ld.names import CORE_CONTEXT, Context
from haechi.services.registrations.exchange import FROM_REQUEST, OURS, STEERING, Incoming, Outgoing
from haechi.services.registrations.matching import Part, Wanted, parts
from haechi.services.registrations.model import Registration

TIMEOUT_S = 5.0
LOOP = 508
_WARNING = re.compile(r'\d{3} \S+ "[^"]*"')


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to one source; `path` is escaped, `named` says with which @context names are written."""

    registration: Registration
    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: Any = None

    @property
    def consumes(self) -> bool:
        """Whether it only reads (clause 5.7)."""
        return self.method == "GET" or self.path.endswith("/query")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it: `status` 0 when nobody answered; `body` is decoded JSON, None when there is none."""

    registration: Registration
    status: int
    body: Any = None
    reason: str = ""
    sound: bool = True
    content_range: str | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


@dataclass(slots=True)
class Asker:
    """One per request. `given` is the `@context` value that the client's body was written with, None: the Link header's
    or the core's."""

    face: Face
    request: Request
    context: Context = CORE_CONTEXT
    given: Any = None
    in_body: bool = False
    warnings: list[str] = field(default_factory=list)
    spared: str = ""  # a registration whose source is not asked: it has just told

    # --- whom to ask ---

    @property
    def encountered(self) -> list[str]:
        """Pseudonyms of the brokers this request came through."""
        return encountered(self.request)

    @property
    def looped(self) -> bool:
        """Whether this request has been here before."""
        return self.face.services.sources.alias in self.encountered

    def living(self) -> list[Registration]:
        """Sources that may be asked: not expired, with what is true now, not among those the request came through."""
        now, known = to_us(self.face.services.clock.now()), set(self.encountered)
        return [
            one
            for one in self.face.services.sources.registry.living(now)
            if one.id != self.spared and (one.alias is None or one.alias not in known)
        ]

    def matching(
        self, operation: str | tuple[str, ...], wanted: Wanted, test: Callable[[Registration], bool] = lambda _: True
    ) -> list[tuple[Registration, Part]]:
        """For consumption: whom to ask for what. A request that has been here before asks nobody, with a warning."""
        operations = {operation} if isinstance(operation, str) else set(operation)
        found = [
            (one, part)
            for one in self.living()
            if not operations.isdisjoint(one.operations) and test(one)
            for part in parts(one, wanted)
        ]
        if found and self.looped:
            for id in dict.fromkeys(one.id for one, _ in found):
                self._warn(199, id, "a loop of registrations leads back to this broker; the source is not asked")
            return []
        return found

    # --- asking ---

    async def ask_all(self, asks: Iterable[Ask]) -> list[Answer]:
        """Side by side; a source that fails becomes a warning (6.3.17)."""
        return list(await asyncio.gather(*(self.ask(one) for one in asks)))

    async def ask(self, ask: Ask) -> Answer:
        sources, clock = self.face.services.sources, self.face.services.clock
        one = ask.registration
        if sources.cooling.get(one.id, 0) > to_us(clock.now()):
            return self._failed(ask, Answer(one, 0, reason="it failed a moment ago and is left alone for a while"))
        try:
            outgoing = await self._outgoing(ask)
            kept = sources.kept.find(one.id, outgoing, to_us(clock.now())) if ask.consumes else None
            if kept is not None:
                return self._read(one, kept)
            changes = sources.kept.changes(one.id)
            incoming = await sources.exchange(outgoing)
        except Unavailable as error:
            answer = Answer(one, 0, reason=str(error))
        except InvalidData as error:
            answer = Answer(one, 200, reason=str(error), sound=False)
        else:
            answer = self._read(one, incoming)
            self._keep(ask, outgoing, incoming, changes, answer)
        if not ask.consumes:
            sources.kept.forget(one.id)  # it may have changed, whether or not it was heard to say so
        now = to_us(clock.now())
        failed = not answer.sound or answer.status == 0 or (answer.status >= 400 and answer.status not in {404, 409})
        sources.registry.count(one.id, now, failed=failed)
        if failed and one.management.cooldown_s is not None:
            sources.cooling[one.id] = now + int(one.management.cooldown_s * SECOND)
        return self._failed(ask, answer) if failed else answer

    def _keep(self, ask: Ask, outgoing: Outgoing, incoming: Incoming, changes: int, answer: Answer) -> None:
        """What may be answered again for a while (clause 5.2.34)."""
        one, services = ask.registration, self.face.services
        if ask.consumes and one.management.cache is not None and answer.ok and answer.sound:
            until = one.management.cache.after(to_us(services.clock.now()))
            services.sources.kept.keep(one.id, outgoing, incoming, until, changes)

    def _read(self, one: Registration, incoming: Incoming) -> Answer:
        for warning in _WARNING.findall(incoming.headers.get("ngsild-warning", "")):
            self.warnings.append(warning)
        body: Any = None
        if incoming.body.strip():
            try:
                body = orjson.loads(incoming.body)
            except orjson.JSONDecodeError:
                return Answer(one, incoming.status, reason="its answer is not JSON", sound=incoming.status >= 400)
        reason = "" if incoming.status < 400 else f"it answered {incoming.status}{_said(body)}"
        return Answer(one, incoming.status, body, reason, content_range=incoming.headers.get("content-range"))

    def _failed(self, ask: Ask, answer: Answer) -> Answer:
        if ask.consumes:
            self.warn(answer)
        return answer

    def warn(self, answer: Answer) -> None:
        """Table 6.3.17-1."""
        code = 199 if answer.status in {0, LOOP} else 299 if answer.sound else 111
        self._warn(code, answer.registration.id, answer.reason)

    def warn_here(self, text: str) -> None:
        """What this broker itself leaves out."""
        self._warn(299, self.face.services.sources.alias, text)

    def _warn(self, code: int, agent: str, text: str) -> None:
        sound = re.sub(r'["\\\x00-\x1f\x7f]', "'", text).encode("ascii", "replace").decode()
        self.warnings.append(f'{code} {quote(agent, safe=":/.-_")} "{sound[:200]}"')

    # --- how it is written ---

    async def _outgoing(self, ask: Ask) -> Outgoing:
        one = ask.registration
        steering = {key.lower(): value for key, value in one.pairs if key.lower() in STEERING}
        theirs = steering.get("jsonldcontext")
        context = None if theirs is None else await self.face.services.contexts.resolve(theirs)
        headers = [("Accept", steering.get("accept", JSON)), ("Via", self._via())]
        headers += self._pairs(one)
        if one.tenant is not None:
            headers.append(("NGSILD-Tenant", one.tenant))
        query = list(ask.query)
        if one.management.local_only and ("local", "true") not in query:
            query.append(("local", "true"))
        if context is not None:
            query = [(name, _in_terms(name, value, self.context, context)) for name, value in query]
        body = None
        if ask.body is None:
            headers += self._link(context)
        else:
            content, more = self._body(ask.body, context, steering)
            headers += more
            body = orjson.dumps(content)
        url = one.base + ask.path + ("?" + urlencode(query, safe=":,/", quote_via=quote) if query else "")
        return Outgoing(ask.method, url, headers, body, one.management.timeout_s or TIMEOUT_S)

    def _via(self) -> str:
        before = ", ".join(self.request.headers.getlist("via"))
        own = f"1.1 {self.face.services.sources.alias}"
        return f"{before}, {own}" if before else own

    def _pairs(self, one: Registration) -> list[tuple[str, str]]:
        found = []
        for key, value in one.pairs:
            if key.lower() in OURS or key.lower() in STEERING:
                continue
            sent = self.request.headers.get(key) if value == FROM_REQUEST else value
            if sent is not None:
                found.append((key, sent))
        return found

    def _link(self, theirs: Context | None) -> list[tuple[str, str]]:
        if theirs is not None:
            return [("Link", theirs.link)]
        return [("Link", self.context.link)] if self.context.urls else []

    def _body(
        self, body: Any, theirs: Context | None, steering: Mapping[str, str]
    ) -> tuple[Any, list[tuple[str, str]]]:
        """The body in the names and the media type that the source wants (4.3.6.6)."""
        if theirs is not None:
            return renamed(body, self.context, theirs), [("Content-Type", JSON), *self._link(theirs)]
        wanted = steering.get("contenttype", LD if self.in_body and len(self.context.urls) != 1 else JSON)
        if wanted != LD or _bare(body):
            return body, [("Content-Type", JSON), *([] if _bare(body) else self._link(None))]
        context = self.given if self.given is not None else self.context.body
        return _with_context(body, context), [("Content-Type", LD)]


def encountered(request: Request) -> list[str]:
    """Pseudonyms of the brokers a request came through (RFC 9110, 7.6.3)."""
    header = ", ".join(request.headers.getlist("via"))
    return [words[1] for one in header.split(",") if len(words := one.split()) > 1]


def _bare(body: Any) -> bool:
    """Whether a body holds no names: a list of ids."""
    return isinstance(body, list) and all(isinstance(one, str) for one in body)


def _with_context(body: Any, context: Any) -> Any:
    if isinstance(body, list):
        return [_with_context(one, context) for one in body]
    return {**body, "@context": body.get("@context", context)} if isinstance(body, dict) else body


_NAMED = frozenset({"type", "attrs", "pick", "omit", "geoproperty"})
_KEPT = frozenset(
    """
    id type value object languageMap vocab json valueList objectList observedAt unitCode datasetId createdAt modifiedAt
    scope @context lang objectType instanceId expiresAt entities notification
    """.split()  # noqa: SIM905 - a list of words is read as one
)


def _in_terms(name: str, value: str, ours: Context, theirs: Context) -> str:
    if name not in _NAMED:
        return value
    return ",".join(theirs.compact(ours.expand(one)) for one in value.split(","))


def renamed(body: Any, ours: Context, theirs: Context) -> Any:
    """An entity or a fragment of one with its names in the terms of another context (4.3.6.6)."""
    if isinstance(body, list):
        return [renamed(one, ours, theirs) for one in body]
    if not isinstance(body, dict):
        return body
    found: dict[str, Any] = {}
    for name, value in body.items():
        if name == "@context":
            continue
        if name == "type" and "value" not in body and "object" not in body:
            kinds = value if isinstance(value, list) else [value]
            changed = [theirs.compact(ours.expand(one)) if isinstance(one, str) else one for one in kinds]
            found[name] = changed if isinstance(value, list) else changed[0]
        elif name in _KEPT:
            found[name] = value
        else:
            found[theirs.compact(ours.expand(name))] = _attribute_renamed(value, ours, theirs)
    return found


def _attribute_renamed(value: Any, ours: Context, theirs: Context) -> Any:
    if isinstance(value, list):
        return [_attribute_renamed(one, ours, theirs) for one in value]
    if not isinstance(value, dict) or not _KEPT.intersection(value):
        return value
    return {
        name if name in _KEPT else theirs.compact(ours.expand(name)): one
        if name in _KEPT
        else _attribute_renamed(one, ours, theirs)
        for name, one in value.items()
    }


def _said(body: Any) -> str:
    """What the source said, as far as it is ProblemDetails; foreign text does not travel further than that."""
    title = body.get("title") if isinstance(body, dict) else None
    return f": {title}" if isinstance(title, str) else ""


def details_of(answer: Answer) -> dict[str, Any]:
    """ProblemDetails for a source that did not do what it was asked (6.3.17)."""
    status = answer.status
    if isinstance(answer.body, dict) and 400 <= status < 500 and isinstance(answer.body.get("type"), str):
        detail = str(answer.body.get("detail", answer.reason))
        return {
            "type": answer.body["type"],
            "title": str(answer.body.get("title", "The context source refused")),
            "detail": f"{answer.registration.endpoint}: {detail}",
            "status": status,
        }
    kinds = {
        0: ("Gateway Timeout", 504),
        404: ("Not Found", 404),
        409: ("Conflict", 409),
        LOOP: ("Loop Detected", LOOP),
        504: ("Gateway Timeout", 504),
    }
    title, code = kinds.get(status, ("Bad Gateway", status if 400 <= status < 500 else 502))
    base = "https://uri.etsi.org/ngsi-ld/errors/"
    names = {404: base + "ResourceNotFound", 409: base + "Conflict"}
    detail = f"{answer.registration.endpoint}: {answer.reason or 'its answer is of no use'}"
    return {"type": names.get(code, "about:blank"), "title": title, "detail": detail, "status": code}


def escaped(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe=":")
