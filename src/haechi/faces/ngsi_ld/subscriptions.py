"""/subscriptions (clauses 5.8.1 to 5.8.5), and why they fired or did not."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from haechi.core.entity import NULL
from haechi.core.errors import Conflict, InvalidData
from haechi.core.times import format_iso, to_us
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld.distributed.asking import encountered
from haechi.faces.ngsi_ld.face import Face, json_answer, no_content
from haechi.faces.ngsi_ld.hosted import url_of
from haechi.faces.ngsi_ld.queries import page_links, page_of
from haechi.faces.ngsi_ld.requests import answer_type, parameters, read_named
from haechi.services.ngsi_ld import versions
from haechi.services.ngsi_ld.contexts import PATH as CONTEXTS
from haechi.services.ngsi_ld.names import CORE_URL, Context, is_core
from haechi.services.ngsi_ld.typeq import renamed
from haechi.services.subscriptions.book import Kept
from haechi.services.subscriptions.model import DEFAULT_TRIGGERS, MEMBERS, instant_of

PATH = "/ngsi-ld/v1/subscriptions"
_TOLD = ("status", "timesSent", "timesFailed", "lastNotification", "lastSuccess", "lastFailure")
_MANDATORY = ("id", "type", "notification")


async def create(face: Face, request: Request) -> Response:
    """POST (5.8.1): 201 with its Location."""
    parameters(request, "")
    body, given = await _read(face, request)
    id = body.setdefault("id", f"urn:ngsi-ld:Subscription:{uuid.uuid4()}")
    if not isinstance(id, str) or not is_uri(id):
        raise InvalidData(f"the subscription's id {id!r} is no URI; send one, or none", "bad_request")
    notifier = face.services.notifier
    if any(one.id == id for one in notifier.all()):
        raise Conflict(f"there is a subscription {id} already; PATCH it, or choose another id")
    now = to_us(face.services.clock.now())
    _check(body, now)
    _name_context(face, request, body, given)
    await notifier.put(Kept(id, body, given, None, now, now, reach=_reach(face, request, body)))
    await face.services.watched_anew()
    face.services.sources.copies.look()
    return Response(status_code=201, headers={"Location": f"{PATH}/{id}"})


async def query(face: Face, request: Request) -> Response:
    """GET (5.8.4)."""
    given, context = parameters(request, "limit offset count"), await face.context(request)
    limit, offset = page_of(given)
    found = face.services.notifier.all()
    page = found[offset : offset + limit]
    shown = [await _shown(face, one, context, sys_attrs="sysAttrs" in given.options) for one in page]
    headers = _edition(request)
    for link in page_links(PATH, given.given, (limit, offset), offset + limit < len(found), answer_type(request)):
        headers.append(("Link", link.replace("; rel", ";rel")))
    if given.flag("count") or "count" in given.options:
        headers.append(("NGSILD-Results-Count", str(len(found))))
    return face.answer(request, shown, context, headers)


async def retrieve(face: Face, request: Request, id: str) -> Response:
    """GET /{id} (5.8.3)."""
    given, context = parameters(request, ""), await face.context(request)
    answer_type(request)  # what cannot be answered is refused before anything is looked for
    kept = face.services.notifier.get(_checked_id(id))
    return face.answer(
        request, await _shown(face, kept, context, "sysAttrs" in given.options), context, _edition(request)
    )


def _edition(request: Request) -> list[tuple[str, str]]:
    """That the client's edition was heard: a subscription is the same in all of them (clause 4.3.6.8)."""
    version = versions.preferred(request.headers.get("prefer"))
    return [] if version is None else [("Preference-Applied", "ngsi-ld={}.{}".format(*version))]


async def update(face: Face, request: Request, id: str) -> Response:
    """PATCH /{id} (5.8.2): members given replace those there, null removes."""
    parameters(request, "")
    _checked_id(id)
    fragment, given = await _read(face, request)
    old = face.services.notifier.get(id)
    if fragment.get("id", id) != id:
        raise InvalidData("the id of a subscription stays; leave it out", "bad_request")
    for name in _MANDATORY:
        if name in fragment and fragment[name] in (None, NULL):
            raise InvalidData(f"{name} is needed; it cannot be removed", "bad_request")
    now = to_us(face.services.clock.now())
    mixed = old.body if given == old.context else await _translated(face, old, given)
    if given != old.context and _is_here(mixed.get("jsonldContext")):
        mixed = {name: value for name, value in mixed.items() if name != "jsonldContext"}
    body = _merged(mixed, fragment)
    _check(body, now)
    _name_context(face, request, body, given)
    reach = None if body.get("localOnly") is True else old.reach or _reach(face, request, body)
    kept = Kept(id, body, given, None, old.created_at, now, old.state, reach)
    await face.services.notifier.put(kept)
    await face.services.watched_anew()
    face.services.sources.copies.look()
    return no_content()


async def delete(face: Face, request: Request, id: str) -> Response:
    """DELETE /{id} (5.8.5)."""
    parameters(request, "")
    await face.services.notifier.remove(_checked_id(id))
    await face.services.watched_anew()
    face.services.sources.copies.look()
    return no_content()


async def explain(face: Face, request: Request, id: str) -> Response:
    """GET /{id}/explain: why the last changes did or did not notify, and what could not be delivered."""
    parameters(request, "")
    return json_answer(face.services.notifier.explained(_checked_id(id)), 200)


def _reach(face: Face, request: Request, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where other sources reach this broker, and which it need not tell (clause 5.8.1.4)."""
    via = encountered(request)
    if face.services.sources.alias in via:
        raise InvalidData("this subscription is a copy of one of ours; leave it where it is", "loop")
    if body.get("localOnly") is True:
        return None
    return {"base": f"{request.base_url.scheme}://{request.base_url.netloc}", "via": via}


def _checked_id(id: str) -> str:
    if not is_uri(id):
        raise InvalidData(f"{id!r} is no URI; ids of subscriptions are", "bad_request")
    return id


async def _read(face: Face, request: Request) -> tuple[dict[str, Any], Any]:
    """The document without `@context`, and the `@context` value its names were written with."""
    raw, given = await read_named(request)
    if not isinstance(raw, dict):
        raise InvalidData("a subscription is a JSON object; see clause 5.2.12", "bad_request")
    if not raw:
        raise InvalidData("the subscription is empty; say what to watch and whom to tell", "bad_request")
    # What is told only (status, counters) and what is no member is passed over (table 5.2.12-2).
    return {name: value for name, value in raw.items() if name in MEMBERS}, CORE_URL if given is None else given


def _name_context(face: Face, request: Request, body: dict[str, Any], given: Any) -> None:
    """An @context that has no URL of its own is stored, so that notifications can name it (clause 5.8.1.4)."""
    urls = [one for one in given if not (isinstance(one, str) and is_core(one))] if isinstance(given, list) else [given]
    if "jsonldContext" not in body and not (len(urls) <= 1 and all(isinstance(one, str) for one in urls)):
        body["jsonldContext"] = url_of(request, face.services.contexts.implicit(given))


def _is_here(url: Any) -> bool:
    return isinstance(url, str) and urlsplit(url).path.startswith(CONTEXTS)


def _check(body: Mapping[str, Any], now: int) -> None:
    if body.get("type") != "Subscription":
        raise InvalidData("type must be Subscription", "bad_request")
    for name in ("isActive", "localOnly", "splitEntities"):
        if not isinstance(body.get(name, True), bool):
            raise InvalidData(f"{name} must be true or false", "bad_request")
    expires = instant_of(body, "expiresAt")
    if expires is not None and expires <= now:
        raise InvalidData(f"expiresAt {body['expiresAt']} is over; name a time to come, or leave it out", "bad_request")


def _merged(old: Mapping[str, Any], fragment: Mapping[str, Any]) -> dict[str, Any]:
    """The members given replace those there (clause 5.5.8)."""
    merged = dict(old)
    for name, value in fragment.items():
        if value is None or value == NULL:
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged


async def _translated(face: Face, kept: Kept, given: Any) -> dict[str, Any]:
    """Its names in the terms of another context."""
    ours, theirs = await face.services.contexts.resolve(kept.context), await face.services.contexts.resolve(given)
    return _renamed(kept.body, lambda name: theirs.compact(ours.expand(name)))


def _renamed(body: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    found = dict(body)
    if isinstance(body.get("entities"), list):
        found["entities"] = [
            {**one, "type": renamed(one["type"], rename)} if "type" in one else one for one in body["entities"]
        ]
    if isinstance(body.get("watchedAttributes"), list):
        found["watchedAttributes"] = [rename(one) for one in body["watchedAttributes"]]
    notification = dict(body["notification"])
    for name in ("attributes", "pick", "omit"):
        if isinstance(notification.get(name), list):
            notification[name] = [one if one in ("id", "type", "scope") else rename(one) for one in notification[name]]
    return {**found, "notification": notification}


async def _shown(face: Face, kept: Kept, context: Context, sys_attrs: bool = False) -> dict[str, Any]:
    ours = await face.services.contexts.resolve(kept.context)
    found = _renamed(kept.body, lambda name: context.compact(ours.expand(name)))
    found["notification"] = {
        **{name: value for name, value in found["notification"].items() if name not in _TOLD},
        **(kept.state.shown() if kept.state.notified_at is not None or kept.state.failing else {}),
    }
    found.setdefault("notificationTrigger", list(DEFAULT_TRIGGERS))
    expires = instant_of(kept.body, "expiresAt")
    expired = expires is not None and expires <= to_us(face.services.clock.now())
    found["status"] = "expired" if expired else "active" if kept.body.get("isActive", True) else "paused"
    if sys_attrs:
        found |= {"createdAt": format_iso(kept.created_at), "modifiedAt": format_iso(kept.modified_at)}
    return found
