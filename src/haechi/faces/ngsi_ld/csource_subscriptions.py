"""/csourceSubscriptions (clauses 5.11.2 to 5.11.6): who wants to know when a context source comes, changes or goes."""

import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from haechi.core.entity import NULL
from haechi.core.errors import Conflict, InvalidData
from haechi.core.times import format_iso, to_us
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld.face import Face, no_content
from haechi.faces.ngsi_ld.queries import counted, page_links, page_of
from haechi.faces.ngsi_ld.requests import answer_type, parameters, read_named
from haechi.services.ngsi_ld.names import CORE_URL, Context
from haechi.services.ngsi_ld.typeq import renamed
from haechi.services.registrations.watch import Watch
from haechi.services.subscriptions.model import MEMBERS, instant_of

PATH = "/ngsi-ld/v1/csourceSubscriptions"
_TOLD = ("status", "timesSent", "timesFailed", "lastNotification", "lastSuccess", "lastFailure")
_MANDATORY = ("id", "type", "notification")


async def create(face: Face, request: Request) -> Response:
    """POST (5.11.2): 201 with its Location; the first notification tells all registrations that match."""
    parameters(request, "")
    body, given = await _read(request)
    id = body.setdefault("id", f"urn:ngsi-ld:Subscription:{uuid.uuid4()}")
    if not isinstance(id, str) or not is_uri(id):
        raise InvalidData(f"the subscription's id {id!r} is no URI; send one, or none", "bad_request")
    watch = face.services.sources.watch
    if any(one.id == id for one in watch.all()):
        raise Conflict(f"there is a subscription {id} already; PATCH it, or choose another id")
    now = to_us(face.services.clock.now())
    _check(body, now)
    await watch.put(Watch(id, body, given, now, now))
    return Response(status_code=201, headers={"Location": f"{PATH}/{id}"})


async def query(face: Face, request: Request) -> Response:
    """GET (5.11.5)."""
    given, context = parameters(request, "limit offset count"), await face.context(request)
    limit, offset = page_of(given)
    found = [*face.services.sources.watch.all(), *face.services.sources.copies.watches()]
    page = [await _shown(face, one, context, "sysAttrs" in given.options) for one in found[offset : offset + limit]]
    links = page_links(PATH, given.given, (limit, offset), offset + limit < len(found), answer_type(request))
    headers = [("Link", one.replace("; rel", ";rel")) for one in links]
    if counted(given):
        headers.append(("NGSILD-Results-Count", str(len(found))))
    return face.answer(request, page, context, headers)


async def retrieve(face: Face, request: Request, id: str) -> Response:
    """GET /{id} (5.11.4)."""
    given, context = parameters(request, ""), await face.context(request)
    internal = {one.id: one for one in face.services.sources.copies.watches()}
    found = internal.get(_id(id)) or face.services.sources.watch.get(id)
    return face.answer(request, await _shown(face, found, context, "sysAttrs" in given.options), context)


async def update(face: Face, request: Request, id: str) -> Response:
    """PATCH /{id} (5.11.3): members given replace those there, null removes; then all that matches is told."""
    parameters(request, "")
    watch = face.services.sources.watch
    fragment, given = await _read(request, fragment=_id(id))
    old = watch.get(id)
    if fragment.get("id", id) != id:
        raise InvalidData("the id of a subscription stays; leave it out", "bad_request")
    for name in _MANDATORY:
        if name in fragment and fragment[name] in (None, NULL):
            raise InvalidData(f"{name} is needed; it cannot be removed", "bad_request")
    now = to_us(face.services.clock.now())
    mixed = old.body if given == old.context else await _translated(face, old, given)
    body = {name: value for name, value in {**mixed, **fragment}.items() if value is not None and value != NULL}
    _check(body, now)
    await watch.put(Watch(id, body, given, old.created_at, now, old.internal, old.state))
    return no_content()


async def delete(face: Face, request: Request, id: str) -> Response:
    """DELETE /{id} (5.11.6)."""
    parameters(request, "")
    await face.services.sources.watch.remove(_id(id))
    return no_content()


async def _read(request: Request, fragment: str = "") -> tuple[dict[str, Any], Any]:
    raw, given = await read_named(request)
    if not isinstance(raw, dict) or not raw:
        raise InvalidData("a subscription is a JSON object; see clause 5.2.12", "bad_request")
    return {name: value for name, value in raw.items() if name in MEMBERS}, CORE_URL if given is None else given


def _check(body: Mapping[str, Any], now: int) -> None:
    if body.get("type") != "Subscription":
        raise InvalidData("type must be Subscription", "bad_request")
    if not isinstance(body.get("isActive", True), bool):
        raise InvalidData("isActive must be true or false", "bad_request")
    if body.get("watchedAttributes", True) == []:
        raise InvalidData("watchedAttributes is empty; name attributes or leave it out", "bad_request")
    expires = instant_of(body, "expiresAt")
    if expires is not None and expires <= now:
        raise InvalidData(f"expiresAt {body['expiresAt']} is over; name a time to come, or leave it out", "bad_request")


async def _translated(face: Face, watch: Watch, given: Any) -> dict[str, Any]:
    """Its names in the terms of another context."""
    ours, theirs = await face.services.contexts.resolve(watch.context), await face.services.contexts.resolve(given)
    return _renamed(watch.body, ours, theirs)


def _renamed(body: Mapping[str, Any], ours: Context, theirs: Context) -> dict[str, Any]:
    def rename(name: str) -> str:
        return theirs.compact(ours.expand(name))

    found = dict(body)
    if isinstance(body.get("entities"), list):
        found["entities"] = [
            {**one, "type": renamed(one["type"], rename)} if "type" in one else one for one in body["entities"]
        ]
    if isinstance(body.get("watchedAttributes"), list):
        found["watchedAttributes"] = [rename(one) for one in body["watchedAttributes"]]
    return found


async def _shown(face: Face, watch: Watch, context: Context, sys_attrs: bool) -> dict[str, Any]:
    found = _renamed(watch.body, await face.services.contexts.resolve(watch.context), context)
    state = watch.state
    found["notification"] = {
        **{name: value for name, value in found["notification"].items() if name not in _TOLD},
        **(state.shown() if state.notified_at is not None else {}),
    }
    expires = instant_of(watch.body, "expiresAt")
    expired = expires is not None and expires <= to_us(face.services.clock.now())
    found["status"] = "expired" if expired else "active" if watch.body.get("isActive", True) else "paused"
    if sys_attrs:
        found |= {"createdAt": format_iso(watch.created_at), "modifiedAt": format_iso(watch.modified_at)}
    return found


def _id(id: str) -> str:
    if not id:
        raise InvalidData("name a subscription: /csourceSubscriptions/{id}", "method")
    if not is_uri(id):
        raise InvalidData(f"{id!r} is no URI; ids of subscriptions are", "bad_request")
    return id
