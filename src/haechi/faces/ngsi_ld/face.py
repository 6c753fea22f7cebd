"""What all resources share: reading the live model off the loop, answers, the context. Made by `routes`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from haechi.core.entity import Entity
from haechi.core.errors import HaechiError, NotSupported
from haechi.faces.http import headers_of
from haechi.faces.ngsi_ld.errors import details
from haechi.faces.ngsi_ld.links import query_context_of
from haechi.faces.ngsi_ld.lookups import Lookups
from haechi.faces.ngsi_ld.rendered import Rendered
from haechi.faces.ngsi_ld.repeated import Repeated
from haechi.faces.ngsi_ld.requests import GEO, LD, answer_type, read
from haechi.faces.ngsi_ld.services import NgsiServices
from haechi.faces.ngsi_ld.wanted import Asked
from haechi.faces.ngsi_ld.writes import Writes
from haechi.ports import EvolutionReader
from haechi.services.ngsi_ld.entity_maps import EntityMaps
from haechi.services.ngsi_ld.names import Context, iri_of
from haechi.services.ngsi_ld.snapshots import Snapshots

T = TypeVar("T")
AT_ONCE = 20  # entities looked up by key without a thread, which would cost ten times the look-up


class Face:
    """One per process."""

    distributed = False  # whether questions reach other context sources, too
    origins: Mapping[str, Sequence[str]] = MappingProxyType({})  # registrations that an entity was heard of from

    def __init__(self, services: NgsiServices, tenant: str = "") -> None:
        self.services, self.tenant = services, tenant
        self._copies: dict[str, Face] = {}
        self.writes = Writes(services.write, services.clock)
        self.lookups = Lookups(services.store.load)
        self.maps = EntityMaps()
        self.rendered = Rendered()
        self.asked = Asked()
        self.repeated = Repeated(services, self.lookups, self.rendered)

    @cached_property
    def snapshots(self) -> Snapshots:
        """Those of this tenant."""
        return Snapshots(self.services.tenants.records(self.services.shelf.records, self.tenant))

    def copy_name(self, id: str) -> str:
        """What a snapshot is called on the shelf of all tenants."""
        return f"{self.tenant} {id}"

    def past_name(self, id: str) -> str:
        """What the past in a snapshot is called there."""
        return f"{self.copy_name(id)} past"

    def copy_of(self, id: str) -> "Face":
        """The face whose entities are those of a snapshot; what was is apart (`past_of`)."""
        if id not in self._copies:
            copy = self.services.shelf.copies.open(self.copy_name(id))
            services = replace(self.services, store=copy.store, write=copy.write, history=None)
            self._copies[id] = Face(services, self.tenant)
        return self._copies[id]

    def past_of(self, id: str) -> "Face":
        """The face whose past is that of a snapshot; its entities are those that had one."""
        name = self.past_name(id)
        if name not in self._copies:
            copy = self.services.shelf.copies.open(name)
            services = replace(self.services, store=copy.store, write=copy.write, history=copy.past)
            made = self._copies[name] = Face(services, self.tenant)
            made.maps = self.copy_of(id).maps
        return self._copies[name]

    def forget_copy(self, id: str) -> None:
        """The snapshot, its entities, their past and its faces."""
        self.snapshots.remove(id)
        for name in (id, self.past_name(id)):
            self._copies.pop(name, None)
        for name in (self.copy_name(id), self.past_name(id)):
            self.services.shelf.copies.remove(name)

    @property
    def history(self) -> EvolutionReader:
        """What was true; `NotSupported` where this process has no history."""
        if self.services.history is None:
            raise NotSupported("this process keeps no history; ask the api role")
        return self.services.history

    async def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """A blocking question to the live model, in a thread."""
        return await asyncio.to_thread(partial(question, *arguments))

    async def entities(self, ids: Sequence[str]) -> dict[str, Entity]:
        """Those that exist, decoded."""
        bodies: Mapping[str, bytes]
        if len(ids) <= AT_ONCE:
            bodies = await self.lookups.of(ids)
        else:
            bodies = await self.ask(self.services.store.load, ids)
        return {id: orjson.loads(body) for id, body in bodies.items()}

    async def entity(self, id: str) -> Entity | None:
        return (await self.entities([id])).get(id)

    async def body(self, request: Request, merge: bool = False) -> tuple[Any, Context]:
        """The JSON body and its context."""
        return await read(request, self.services.contexts, merge)

    async def context(self, request: Request) -> Context:
        """The context of a request without a body."""
        return await query_context_of(headers_of(request.scope, b"link"), self.services.contexts)

    def answer(
        self, request: Request, body: Any, context: Context, headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    ) -> Response:
        """200 with the media type the client prefers; the context goes into the body or Link (clause 6.3.6)."""
        return self.answer_as(answer_type(request), body, context, headers)

    def answer_as(
        self,
        media: str,
        body: Any,
        context: Context,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        status: int = 200,
    ) -> Response:
        """The same in that media type; GeoJSON may have its context in the body already. Bytes are JSON as they are."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        if media == LD:
            body = [_inside(one, context) for one in body] if isinstance(body, list) else _inside(body, context)
        elif not (media == GEO and "@context" in body):
            pairs.append(("Link", context.link))
        response = Response(body if isinstance(body, bytes) else orjson.dumps(body), status, media_type=media)
        for name, value in pairs:
            response.headers.append(name, value)
        return response


def _inside(document: Any, context: Context) -> Any:
    return {"@context": context.body, **document} if isinstance(document, dict) else document


def json_answer(body: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that is no entity: results of updates and batches."""
    return Response(orjson.dumps(body), status, dict(headers or {}), "application/json")


def no_content() -> Response:
    """204."""
    return Response(status_code=204)


def update_result(updated: Sequence[str], not_updated: Mapping[str, str]) -> Response:
    """204, or 207 with an UpdateResult (clause 5.2.18) when something was left as it was; it names attributes by
    their IRIs, because it has no @context."""
    if not not_updated:
        return no_content()
    left = [{"attributeName": _name(name), "reason": reason} for name, reason in not_updated.items()]
    return json_answer({"updated": [_name(name) for name in updated], "notUpdated": left}, 207)


def _name(name: str) -> str:
    return name if name == "scope" else iri_of(name)


def batch_result(success: Sequence[str], errors: Sequence[tuple[str, HaechiError]]) -> dict[str, Any]:
    """BatchOperationResult (clause 5.2.16)."""
    failed = [{"entityId": id, "error": details(error)} for id, error in errors]
    return {"success": list(success), "errors": failed}
