"""/jsonldContexts (clause 5.13): the @contexts stored here."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import InvalidData, NotFound, NotSupported
from haechi.core.times import format_iso, to_us
from haechi.faces.ngsi_ld.face import Face, json_answer, no_content
from haechi.faces.ngsi_ld.requests import body_of, parameters
from haechi.services.ngsi_ld.contexts import KINDS, Entry


async def add(face: Face, request: Request) -> Response:
    """POST (5.13.2): 201 with its Location."""
    parameters(request, "")
    entry = face.services.contexts.add(await body_of(request))
    return Response(status_code=201, headers={"Location": entry.location})


async def listed(face: Face, request: Request) -> Response:
    """GET (5.13.3): URLs, or what is known of each."""
    given = parameters(request, "details kind")
    kind = given.get("kind")
    if kind is not None and kind not in KINDS:
        raise InvalidData(f"no kind {kind!r} of @context; there are {', '.join(KINDS)}", "bad_request")
    details = given.flag("details")
    found = face.services.contexts.listed(kind)
    return json_answer([_details(request, one) if details else url_of(request, one) for one in found], 200)


async def serve(face: Face, request: Request, name: str) -> Response:
    """GET (5.13.4): the document, or what is known of it."""
    given = parameters(request, "details")
    entry = face.services.contexts.get(name)
    shown = _details(request, entry)  # how often it was used before this
    if entry.kind != "Hosted" or not given.flag("details"):  # to look at what is ours is no use of it (ETSI 053_04)
        entry.used(to_us(face.services.clock.now()))
    if given.flag("details"):
        return json_answer(shown, 200)
    if entry.kind == "Cached":
        raise NotSupported(f"{entry.url} is a copy: get it from there, or ask with details=true")
    return json_answer(entry.body, 200)


async def delete(face: Face, request: Request, name: str) -> Response:
    """DELETE (5.13.5): 204; with reload=true a copy is downloaded anew instead."""
    given, contexts = parameters(request, "reload"), face.services.contexts
    reload = given.flag("reload")
    try:
        entry = contexts.get(name)
    except NotFound as error:
        if not reload:
            raise
        raise InvalidData(f"{error}; there is nothing to reload", "bad_request") from error
    if reload:
        await contexts.reload(entry)
    else:
        contexts.delete(entry)
    return no_content()


def url_of(request: Request, entry: Entry) -> str:
    """Where anybody gets it."""
    return entry.url or f"{request.base_url.scheme}://{request.base_url.netloc}{entry.location}"


def _details(request: Request, entry: Entry) -> dict[str, Any]:
    used = {} if entry.used_at is None else {"lastUsage": format_iso(entry.used_at)}
    return {
        "URL": url_of(request, entry),
        "localId": entry.id,
        "kind": entry.kind,
        "createdAt": format_iso(entry.created_at),
        **used,
        "numberOfHits": entry.hits,
    }
