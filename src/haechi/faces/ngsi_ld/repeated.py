"""Requests that ask as others did are answered without being read again: by key, and the first entities of a type. The
resources say what may be repeated, `routes` asks here first.

What an answer depends on is asked each time: the version of the live model, the @context behind a Link header, whether
other context sources are registered. So no answer is older than what the resource itself would give.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.types import Scope

from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld.links import link_context
from haechi.faces.ngsi_ld.lookups import Lookups
from haechi.faces.ngsi_ld.rendered import Rendered
from haechi.faces.ngsi_ld.services import NgsiServices
from haechi.ports import EntityQuery
from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.representation import View

PLANS = 256  # ways to ask remembered
ANSWERS = 4_096  # entities remembered as they were last answered
LARGEST, LARGEST_PAGE = 4_096, 65_536  # bytes of an entity and of a page worth remembering
LONGEST = 512  # bytes of a way to ask worth remembering
_SHAPING = frozenset({b"accept", b"link", b"prefer"})  # headers an answer depends on
_ENTITIES = b"/entities"
_JSON = (b"content-type", b"application/json")

RawHeaders = list[tuple[bytes, bytes]]
_Key = tuple[bytes, ...]


class Answer(NamedTuple):
    """200 with these headers, as ASGI wants them; true of the live model of that version."""

    version: object
    headers: RawHeaders
    body: bytes


@dataclass(slots=True)
class Plan:
    """How one way to ask is answered. `question` asks for one entity more than `limit`; None: an entity by its id.
    `links`: the Link headers of a last page, and of one that others follow."""

    number: int
    view: View
    url: str | None  # of the @context in the Link header
    links: tuple[RawHeaders, RawHeaders] = field(default_factory=lambda: ([], []))
    question: EntityQuery | None = None
    limit: int = 0
    page: Answer | None = None


class Repeated:
    """One per face; that of a tenant or a snapshot remembers nothing."""

    def __init__(self, services: NgsiServices, lookups: Lookups, rendered: Rendered) -> None:
        self._store, self._contexts, self._sources = services.store, services.contexts, services.sources
        self._lookups, self._rendered = lookups, rendered
        self._plans: OrderedDict[_Key, Plan] = OrderedDict()
        self._entities: OrderedDict[tuple[int, str], Answer] = OrderedDict()
        self._made = 0

    def learn(
        self,
        scope: Scope,
        view: View,
        question: EntityQuery | None = None,
        links: tuple[Sequence[str], Sequence[str]] = ((), ()),
    ) -> None:
        """Remembers how this request was answered: whole entities as JSON, with no other headers than these."""
        asked = _asked(scope)
        if asked is None or sum(map(len, asked[0])) > LONGEST:
            return
        headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"link"]
        self._made += 1
        raw = (_raw(links[0], view.context), _raw(links[1], view.context))
        limit = question.limit - 1 if question else 0
        self._plans[asked[0]] = Plan(self._made, view, link_context(headers), raw, question, limit)
        if len(self._plans) > PLANS:
            self._plans.popitem(last=False)

    async def answer(self, scope: Scope) -> Answer | None:
        """None where the resource itself has to look: nobody asked like this, or what it depends on changed."""
        asked = _asked(scope)
        plan = None if asked is None else self._plans.get(asked[0])
        if asked is None or plan is None or self._sources:
            return None
        url = plan.url
        if url is not None and await self._contexts.resolve(url, counted=False) is not plan.view.context:
            return None  # it was loaded anew: the resource learns with what it says now
        found = self._page(plan) if plan.question is not None else await self._entity(plan, asked[1])
        if url is not None and found is not None:
            await self._contexts.resolve(url)  # a use of it; where the resource answers, it counts
        return found

    async def _entity(self, plan: Plan, id: str) -> Answer | None:
        version = self._store.version()  # before the reading: what is committed in between is a later version's
        known = self._entities.get((plan.number, id))
        if known is not None and known.version == version:
            return known
        document = (await self._lookups.of([id])).get(id) if is_uri(id) else None
        if document is None:
            return None
        found = _answer(version, plan.links[0], self._rendered.of([document], plan.view)[0])
        if len(found.body) <= LARGEST:
            self._entities[plan.number, id] = found
            if len(self._entities) > ANSWERS:
                self._entities.popitem(last=False)
        return found

    def _page(self, plan: Plan) -> Answer | None:
        assert plan.question is not None
        version = self._store.version()
        if plan.page is not None and plan.page.version == version:
            return plan.page
        documents = self._store.query(plan.question).documents
        if documents is None:
            return None
        body = b"[" + b",".join(self._rendered.of(documents[: plan.limit], plan.view)) + b"]"
        found = _answer(version, plan.links[len(documents) > plan.limit], body)
        plan.page = found if len(body) <= LARGEST_PAGE else None
        return found


def _asked(scope: Scope) -> tuple[_Key, str] | None:
    """The way a request asks and the id it asks for; None when it is none of those that are repeated."""
    root = scope.get("root_path", "")
    path: bytes = scope.get("raw_path") or b""
    below = path[len(root) :]
    if scope["method"] != "GET" or not below.startswith(_ENTITIES):
        return None
    id = below[len(_ENTITIES) + 1 :]
    if b"%" in path or b"/" in id or below[len(_ENTITIES) : len(_ENTITIES) + 1] not in (b"", b"/"):
        return None
    key = [b"" if id else path, scope["query_string"]]
    for name, value in scope["headers"]:
        if name in _SHAPING:
            key += (name, value)
        elif name.startswith(b"ngsild-"):  # of a tenant, a snapshot, an entity map
            return None
    return tuple(key), id.decode("latin-1")


def _raw(links: Sequence[str], context: Context) -> RawHeaders:
    return [_JSON, *[(b"link", one.encode("latin-1")) for one in (*links, context.link)]]


def _answer(version: object, headers: RawHeaders, body: bytes) -> Answer:
    return Answer(version, [(b"content-length", b"%d" % len(body)), *headers], body)
