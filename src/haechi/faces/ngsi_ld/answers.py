"""Answers that hold entities: joined with linked ones, as JSON, JSON-LD or GeoJSON, in the client's edition (clauses
4.5, 6.3.6, 6.3.15). Used by retrieval and queries."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from haechi.core.entity import Entity
from haechi.core.errors import NotFound
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.queries import links_as
from haechi.faces.ngsi_ld.requests import GEO, JSON
from haechi.faces.ngsi_ld.wanted import Wanted
from haechi.services.ngsi_ld import linked, versions
from haechi.services.ngsi_ld.geojson import collection, feature
from haechi.services.ngsi_ld.representation import shown

Headers = Sequence[tuple[str, str]]


def whole(face: Face, wanted: Wanted, document: bytes, headers: Headers) -> Response:
    """The answer with one whole entity, given as it is stored."""
    return face.answer_as(JSON, face.rendered.of([document], wanted.view)[0], wanted.view.context, headers)


def wholes(face: Face, wanted: Wanted, documents: list[bytes], headers: Headers) -> Response:
    """The answer with a page of whole entities, given as they are stored."""
    body = b"[" + b",".join(face.rendered.of(documents, wanted.view)) + b"]"
    return face.answer_as(JSON, body, wanted.view.context, headers)


async def retrieved(face: Face, wanted: Wanted, entity: Entity, headers: Headers = ()) -> Response:
    """The answer with one entity; flat, a list of it and those it leads to when there are any."""
    rows = await _rows(face, wanted, [entity])
    if not rows[0][1]:
        raise NotFound(f"{entity['id']} has nothing of what pick and omit leave; ask for other members")
    body = _body(wanted, rows) if len(rows) > 1 else _one(wanted, *rows[0])
    return _answer(face, wanted, body, [one for one, _ in rows], headers)


async def queried(face: Face, wanted: Wanted, entities: Sequence[Entity], headers: Headers = ()) -> Response:
    """The answer with a page of entities."""
    rows = await _rows(face, wanted, entities)
    return _answer(face, wanted, _body(wanted, rows), [one for one, _ in rows], headers)


async def _rows(face: Face, wanted: Wanted, entities: Sequence[Entity]) -> list[tuple[Entity, dict[str, Any]]]:
    """Entities beside their documents."""
    view, join = wanted.view, wanted.join
    if not join.form:
        return [(one, shown(one, view)) for one in entities]
    found = await linked.fetch(entities, view, join, face.entities)
    if join.form == "flat":
        return linked.flat(entities, view, join, found)
    return list(zip(entities, linked.inline(entities, view, join, found), strict=True))


def _one(wanted: Wanted, entity: Entity, document: dict[str, Any]) -> dict[str, Any]:
    if wanted.media != GEO:
        return document
    return _with_context(wanted, feature(entity, document, wanted.geoproperty))


def _body(wanted: Wanted, rows: Sequence[tuple[Entity, dict[str, Any]]]) -> Any:
    if wanted.media != GEO:
        return [document for _, document in rows]
    features = [feature(entity, document, wanted.geoproperty) for entity, document in rows]
    return _with_context(wanted, collection(features))


def _with_context(wanted: Wanted, body: dict[str, Any]) -> dict[str, Any]:
    return body if wanted.bare else {**body, "@context": wanted.view.context.body}


def _answer(face: Face, wanted: Wanted, body: Any, entities: Sequence[Entity], headers: Headers) -> Response:
    pairs = links_as(headers, wanted.media)
    status = 200
    if wanted.version is not None:
        pairs.append(("Preference-Applied", "ngsi-ld={}.{}".format(*wanted.version)))
        unknown = wanted.view.unknown
        if unknown and any(versions.concerns(one["attrs"], unknown) for one in entities):
            status = 203  # the payload is not as it is stored (clause 4.3.6.8)
    return face.answer_as(wanted.media, body, wanted.view.context, pairs, status)
