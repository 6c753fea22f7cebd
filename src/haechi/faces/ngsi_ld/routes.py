"""The NGSI-LD API's resources by path and method (clause 6.2). Mounted by the api role below /ngsi-ld/v1."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from haechi.core.errors import HaechiError, InvalidData, NotFound
from haechi.faces.http import PERSON, header_of, require
from haechi.faces.ngsi_ld import (
    batch,
    csource_subscriptions,
    discovery,
    entities,
    entity_maps,
    hosted,
    identity,
    openapi,
    posted,
    purge,
    registrations,
    snapshots,
    subscriptions,
    temporal,
    temporal_queries,
)
from haechi.faces.ngsi_ld.distributed import dispatch
from haechi.faces.ngsi_ld.errors import error_response
from haechi.faces.ngsi_ld.services import NgsiServices
from haechi.faces.ngsi_ld.tenancy import HEADER, Faces

__all__ = ["NgsiServices", "routes"]

Resource = Callable[..., Awaitable[Response]]
_SAFE = frozenset({"GET", "HEAD"})
_REPEATED = [(one, one.lower().encode()) for one in (HEADER, snapshots.HEADER)]  # clauses 6.3.14, 6.3.22
_Found = tuple[tuple[str, ...], Mapping[str, Resource], list[str]]  # pattern, methods, what stands for its asterisks
_Place = tuple[tuple[str, ...], Sequence[tuple[int, str]], Sequence[int]]  # pattern; its words, its asterisks by place
# A path as its segments; * stands for a name or id, which may itself hold an escaped slash.
_RESOURCES: Mapping[tuple[str, ...], Mapping[str, Resource]] = {
    ("entities",): {"POST": entities.create, "GET": entities.query, "DELETE": purge.purge},
    ("entities", "*"): {
        "GET": entities.retrieve,
        "PATCH": entities.merge,
        "PUT": entities.replace,
        "DELETE": entities.delete,
    },
    ("entities", "*", "attrs"): {"POST": entities.append, "PATCH": entities.update},
    ("entities", "*", "attrs", "*"): {
        "PATCH": entities.patch_attribute,
        "PUT": entities.replace_attribute,
        "DELETE": entities.delete_attribute,
    },
    ("entityMaps",): {"GET": entity_maps.create},
    ("entityMaps", "*"): {"GET": entity_maps.retrieve, "PATCH": entity_maps.update, "DELETE": entity_maps.delete},
    ("jsonldContexts",): {"POST": hosted.add, "GET": hosted.listed},
    ("jsonldContexts", "*"): {"GET": hosted.serve, "DELETE": hosted.delete},
    ("subscriptions",): {"POST": subscriptions.create, "GET": subscriptions.query},
    ("subscriptions", "*"): {
        "GET": subscriptions.retrieve,
        "PATCH": subscriptions.update,
        "DELETE": subscriptions.delete,
    },
    ("subscriptions", "*", "explain"): {"GET": subscriptions.explain},
    ("csourceRegistrations",): {"POST": registrations.create, "GET": registrations.query},
    ("csourceRegistrations", "*"): {
        "GET": registrations.retrieve,
        "PATCH": registrations.update,
        "DELETE": registrations.delete,
    },
    ("csourceSubscriptions",): {"POST": csource_subscriptions.create, "GET": csource_subscriptions.query},
    ("csourceSubscriptions", "*"): {
        "GET": csource_subscriptions.retrieve,
        "PATCH": csource_subscriptions.update,
        "DELETE": csource_subscriptions.delete,
    },
    ("info", "sourceIdentity"): {"GET": identity.identity},
    ("snapshots",): {"POST": snapshots.create, "DELETE": snapshots.purge},
    ("snapshots", "*"): {"GET": snapshots.retrieve, "PATCH": snapshots.update, "DELETE": snapshots.delete},
    ("snapshots", "*", "clone"): {"POST": snapshots.clone},
    ("types",): {"GET": discovery.types},
    ("types", "*"): {"GET": discovery.type_info},
    ("attributes",): {"GET": discovery.attributes},
    ("attributes", "*"): {"GET": discovery.attribute_info},
    ("temporal", "entities"): {"POST": temporal.create, "GET": temporal_queries.query},
    ("temporal", "entities", "*"): {"GET": temporal_queries.retrieve, "DELETE": temporal.delete},
    ("temporal", "entities", "*", "attrs"): {"POST": temporal.append},
    ("temporal", "entities", "*", "attrs", "*"): {"DELETE": temporal.delete_attribute},
    ("temporal", "entities", "*", "attrs", "*", "*"): {
        "PATCH": temporal.modify_instance,
        "DELETE": temporal.delete_instance,
    },
    ("temporal", "entityMaps"): {"GET": temporal_queries.create_map},
    ("temporal", "entityOperations", "query"): {"POST": temporal_queries.query_by_post},
    ("entityOperations", "query"): {"POST": posted.query},
    ("entityOperations", "create"): {"POST": batch.create},
    ("entityOperations", "upsert"): {"POST": batch.upsert},
    ("entityOperations", "update"): {"POST": batch.update},
    ("entityOperations", "merge"): {"POST": batch.merge},
    ("entityOperations", "delete"): {"POST": batch.delete},
}


def application(faces: Faces) -> ASGIApp:
    """All of it, below whatever `root_path` says."""
    return _Api(faces)


def routes(services: NgsiServices) -> list[BaseRoute]:
    """Routes relative to where they are mounted."""
    return [Mount("/", app=application(Faces(services)))]


def docs() -> list[BaseRoute]:
    """/docs: what there is, as OpenAPI."""
    return openapi.routes(_RESOURCES)


class _Api:
    """Chooses by the escaped path, because ids are URIs; errors of the tree become ProblemDetails."""

    def __init__(self, faces: Faces) -> None:
        self._faces = faces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            if (known := await self._faces.city.repeated.answer(scope)) is not None:
                await send({"type": "http.response.start", "status": 200, "headers": known.headers})
                await send({"type": "http.response.body", "body": known.body})
                return
            response = await self._answer(request)
        except HaechiError as error:
            response = error_response(error)
        for name, raw in _REPEATED:
            if named := header_of(scope, raw):
                response.headers[name] = named
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        pattern, resource, names = _find(request)
        method = "GET" if request.method == "HEAD" else request.method
        if method in {"PATCH", "PUT"} and method not in resource and request.url.path.endswith("/"):
            pattern, resource, names = _below(request, method) or (pattern, resource, names)
        if method not in resource:
            allowed = ", ".join(sorted(resource))
            error = InvalidData(f"{request.method} is not for this resource; it knows {allowed}", "method")
            return error_response(error, {"Allow": allowed})
        if method not in _SAFE and PERSON in request.scope:
            require(request, "operator")
        tenant = self._faces.of(request, pattern)
        face = snapshots.face_for(tenant, request, pattern)
        if face.services.sources and face is tenant:
            return await dispatch.answer(face, request, resource[method], (pattern, names))
        return await resource[method](face, request, *names)


def _path(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    raw: Any = request.scope.get("raw_path")
    path: str = raw.decode("latin-1") if raw else request.scope["path"]
    return path.removeprefix(root).strip("/")


def _by_place() -> Mapping[tuple[int, str], Sequence[_Place]]:
    """The patterns by how long they are and what they begin with, which is never an asterisk."""
    found: dict[tuple[int, str], list[_Place]] = {}
    for pattern in _RESOURCES:
        words = [(place, word) for place, word in enumerate(pattern) if place and word != "*"]
        stars = [place for place, word in enumerate(pattern) if word == "*"]
        found.setdefault((len(pattern), pattern[0]), []).append((pattern, words, stars))
    return found


_PLACES = _by_place()


def _matching(segments: list[str]) -> _Found | None:
    for pattern, words, stars in _PLACES.get((len(segments), segments[0]), ()):
        if not words or all(segments[place] == word for place, word in words):
            return pattern, _RESOURCES[pattern], [segments[place] for place in stars]
    return None


def _below(request: Request, method: str) -> _Found | None:
    """`PATCH /entities/`: the resource with an empty id, which then says that one is missing."""
    found = _matching([*map(unquote, _path(request).split("/")), ""])
    return found if found and found[0][0] == "entities" and method in found[1] else None


def _find(request: Request) -> _Found:
    """The resource of a path and what stands for its asterisks."""
    path = _path(request)
    segments = path.split("/")
    found = _matching([unquote(one) for one in segments] if "%" in path else segments)
    if found:
        return found
    raise NotFound(
        f"no resource {path} here; there are {', '.join(sorted({'/' + one[0] for one in _RESOURCES}))} and below"
    )
