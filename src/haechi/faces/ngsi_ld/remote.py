"""POST /ngsi-ld/ex/remote-notify: what other context sources tell of the copies of our subscriptions (clause 5.8.6).

No session is asked for: a notification counts by the id of the copy it names, which only its source was told.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from haechi.core.entity import Entity
from haechi.core.errors import HaechiError, InvalidData
from haechi.core.times import to_us
from haechi.faces.ngsi_ld.distributed.asking import renamed
from haechi.faces.ngsi_ld.distributed.wider import WiderFace, stored_from
from haechi.faces.ngsi_ld.errors import error_response
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.requests import read_named
from haechi.faces.ngsi_ld.tenancy import Faces
from haechi.services.ngsi_ld.names import CORE_URL, Context
from haechi.services.registrations.copies import Copy
from haechi.services.registrations.copying import PATH, is_split
from haechi.services.registrations.merging import merged
from haechi.services.subscriptions.content import told
from haechi.services.subscriptions.matching import Changed
from haechi.services.subscriptions.model import Subscription

MOST = 10_000  # entities in one notification


def route(faces: Faces) -> Route:
    """The resource; it answers 200 when what was told is stored."""

    async def receive(request: Request) -> Response:
        try:
            await _receive(faces, request)
        except HaechiError as error:
            return error_response(error)
        return Response(status_code=200)

    return Route(PATH, receive, methods=["POST"])


def is_public(method: str, path: str) -> bool:
    """What the guard lets pass."""
    return (method, path) == ("POST", PATH)


async def _receive(faces: Faces, request: Request) -> None:
    body, given = await read_named(request)
    if not isinstance(body, dict) or not isinstance(body.get("subscriptionId"), str):
        raise InvalidData("a notification is a JSON object with its subscriptionId (clause 5.3.1)", "bad_request")
    data = body.get("data")
    documents: list[Any] = data if isinstance(data, list) else [data]
    if len(documents) > MOST or not all(isinstance(one, dict) and "id" in one for one in documents):
        raise InvalidData(f"data is a list of at most {MOST} entities, each with its id", "bad_request")
    face, copy = faces.with_copy(body["subscriptionId"])
    context = await face.services.contexts.resolve(CORE_URL if given is None else given)
    found = await _passed_on(face, request, (copy, documents), context)
    if found:
        id = body.get("id") or uuid.uuid4().hex  # a source that tries again repeats the id, not when it notified
        await face.services.notifier.relay(copy.subscription, f"{copy.id} {id}", found)


async def _passed_on(
    face: Face, request: Request, told_by: tuple[Copy, Sequence[dict[str, Any]]], context: Context
) -> list[dict[str, Any]]:
    """The entities as our receiver is shown them: as the source shows them, or put together and tested here."""
    copy, documents = told_by
    subscription = face.services.notifier.compiled(copy.subscription)
    if is_split(face.services.notifier.get(copy.subscription)):
        wider = WiderFace(face, request, context, {})
        wider.asker.spared = copy.registration
        return await _whole(wider, subscription, [stored_from(one, context) for one in documents])
    ours = subscription.view.context
    return [renamed(one, context, ours) if context != ours else _bare(one) for one in documents]


def _bare(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "@context"}


async def _whole(face: WiderFace, subscription: Subscription, parts: Sequence[Entity]) -> list[dict[str, Any]]:
    elsewhere, now = await face.entities([one["id"] for one in parts]), to_us(face.services.clock.now())
    found = []
    for part in parts:
        other = elsewhere.get(part["id"])
        entity = part if other is None else merged([("inclusive", part), ("local", other)])
        if subscription.test is None or subscription.test(entity):
            found.append(told(subscription, Changed(entity["id"], None, entity, {}), now))
    return found
