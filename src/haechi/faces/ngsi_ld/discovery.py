"""/types and /attributes (clauses 5.7.5 to 5.7.10): what kinds of entities and attributes there are now."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from haechi.core.errors import NotFound
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.requests import parameters
from haechi.ports import EntityShape
from haechi.services.ngsi_ld.names import Context, iri_of


def _list_id(kind: str, names: list[str]) -> str:
    """A URI for a list that has no name of its own: the same list has the same."""
    return f"urn:ngsi-ld:{kind}:{blake2b(' '.join(names).encode(), digest_size=8).hexdigest()}"


async def types(face: Face, request: Request) -> Response:
    """GET /types (5.7.5), with details=true 5.7.6."""
    given, context = parameters(request, "details"), await face.context(request)
    shapes = await face.ask(face.services.store.shapes)
    by_type: dict[str, set[str]] = defaultdict(set)
    for shape in shapes:
        for name in shape.types:
            by_type[name].update(shape.attributes)
    if given.flag("details"):
        found = [_entity_type(name, sorted(by_type[name]), context) for name in sorted(by_type)]
        return face.answer(request, found, context)
    names = [context.compact(name) for name in sorted(by_type)]
    body = {"id": _list_id("EntityTypeList", names), "type": "EntityTypeList", "typeList": names}
    return face.answer(request, body, context)


def _entity_type(name: str, attributes: list[str], context: Context) -> dict[str, Any]:
    return {
        "id": iri_of(name),
        "type": "EntityType",
        "typeName": context.compact(name),
        "attributeNames": [context.compact(one) for one in attributes],
    }


async def type_info(face: Face, request: Request, term: str) -> Response:
    """GET /types/{type} (5.7.7)."""
    parameters(request, "")
    context = await face.context(request)
    name = context.expand(term)
    shapes = [one for one in await face.ask(face.services.store.shapes) if name in one.types]
    if not shapes:
        raise NotFound(f"no entity of type {term}; GET /types lists those there are")
    kinds: dict[str, set[str]] = defaultdict(set)
    for shape in shapes:
        for attribute, kind in shape.attributes.items():
            kinds[attribute].add(kind)
    body = {
        "id": iri_of(name),
        "type": "EntityTypeInfo",
        "typeName": context.compact(name),
        "entityCount": sum(one.count for one in shapes),
        "attributeDetails": [
            {
                "id": iri_of(one),
                "type": "Attribute",
                "attributeName": context.compact(one),
                "attributeTypes": sorted(kinds[one]),
            }
            for one in sorted(kinds)
        ],
    }
    return face.answer(request, body, context)


async def attributes(face: Face, request: Request) -> Response:
    """GET /attributes (5.7.8), with details=true 5.7.9."""
    given, context = parameters(request, "details"), await face.context(request)
    shapes = await face.ask(face.services.store.shapes)
    names = sorted({name for shape in shapes for name in shape.attributes})
    if given.flag("details"):
        found = [{**_attribute(one, context), "typeNames": _type_names(one, shapes, context)} for one in names]
        return face.answer(request, found, context)
    listed = [context.compact(name) for name in names]
    body = {"id": _list_id("AttributeList", listed), "type": "AttributeList", "attributeList": listed}
    return face.answer(request, body, context)


def _attribute(name: str, context: Context) -> dict[str, Any]:
    return {"id": iri_of(name), "type": "Attribute", "attributeName": context.compact(name)}


def _type_names(attribute: str, shapes: Sequence[EntityShape], context: Context) -> list[str]:
    return sorted({context.compact(name) for one in shapes if attribute in one.attributes for name in one.types})


async def attribute_info(face: Face, request: Request, term: str) -> Response:
    """GET /attributes/{attribute} (5.7.10)."""
    parameters(request, "")
    context = await face.context(request)
    name = context.expand(term)
    shapes = await face.ask(face.services.store.shapes)
    kinds: Counter[str] = Counter()
    for shape in shapes:
        if name in shape.attributes:
            kinds[shape.attributes[name]] += shape.count
    if not kinds:
        raise NotFound(f"no entity has an attribute {term}; GET /attributes lists those there are")
    body = {
        **_attribute(name, context),
        "attributeCount": sum(kinds.values()),
        "attributeTypes": sorted(kinds),
        "typeNames": _type_names(name, shapes, context),
    }
    return face.answer(request, body, context)
