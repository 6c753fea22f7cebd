"""Decides what a change to one entity does, clause by clause of 5.6, for single and batch operations alike. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from haechi.core import attribute as attributes
from haechi.core import entity as stored
from haechi.core.entity import Entity, Instance
from haechi.core.errors import Conflict, InvalidData, NotFound
from haechi.faces.ngsi_ld.writes import Change
from haechi.services.ngsi_ld.names import Context

Body = Mapping[str, Any]


class Outcome(NamedTuple):
    """A change to send (None: nothing to do) and the UpdateResult of clause 5.2.18, in internal names."""

    change: Change | None
    updated: list[str]
    not_updated: dict[str, str]  # name -> reason


def entity_body(body: object, context: Context, id: str | None = None) -> Entity:
    """The stored entity of a whole document; `id` stands in for a missing one and must agree with one."""
    document = fragment_of(body, id)
    return attributes.entity_from(document, context.expand)


def fragment_of(body: object, id: str | None) -> dict[str, Any]:
    """The document as an object with that id."""
    if not isinstance(body, dict):
        raise InvalidData("an entity is a JSON object; send one", "bad_request")
    if id is None:
        return body
    given = body.get("id", body.get("@id", id))
    if given != id:
        raise InvalidData(f"the body is about {given}, the path about {id}; make them agree", "bad_request")
    return {**body, "id": id}


def create(body: object, context: Context, old: Entity | None) -> Change:
    """5.6.1."""
    entity = entity_body(body, context)
    if old is not None:
        raise Conflict(f"{entity['id']} exists already; PATCH it, or DELETE it first")
    return Change("upsert", entity["id"], entity)


def existing(id: str, old: Entity | None) -> Entity:
    """The entity, or ResourceNotFound."""
    if old is None:
        raise NotFound(f"no entity {id}; create it with POST /entities")
    return old


def replace(body: object, context: Context, old: Entity) -> Change:
    """5.6.18; a document without type keeps the entity's."""
    document = fragment_of(body, old["id"])
    if "type" not in document and "@type" not in document:
        document["type"] = old["type"]
        entity = attributes.entity_from({**document, "type": "kept"}, context.expand)
        entity["type"] = old["type"]
    else:
        entity = attributes.entity_from(document, context.expand)
    return Change("replace", old["id"], entity)


def merge(body: object, context: Context, old: Entity) -> Change:
    """5.6.17."""
    document = fragment_of(body, old["id"])
    fragments = attributes.attributes_from(document, context.expand, fragments=True)
    for name, instances in fragments.items():
        for one in instances or ():
            _check_fragment(name, one, stored.find(old["attrs"].get(name, ()), one.get("datasetId")), context)
    return Change("merge", old["id"], {**_head(document, context, old["id"]), "attrs": fragments}, old=old)


def _head(document: Body, context: Context, id: str) -> dict[str, Any]:
    head: dict[str, Any] = {"id": id}
    if (types := document.get("type", document.get("@type"))) is not None:
        head["type"] = attributes.types_from(types, context.expand)
    if document.get("scope") is not None:
        head["scope"] = attributes.scope_from(document["scope"])
    return head


def _check_fragment(name: str, fragment: Instance, before: Instance | None, context: Context) -> None:
    """A piece of an instance needs the rest of it to be there."""
    kind = fragment.get("type")
    whole = kind is not None and stored.KINDS[kind] in fragment
    if not whole and (before is None or kind not in (None, before["type"])):
        raise InvalidData(
            f"attribute {context.compact(name)} has no such instance to change; send it whole, with type and value",
            "bad_request",
        )


def append(body: object, context: Context, old: Entity, overwrite: bool) -> Outcome:
    """5.6.3: attributes are added; those there already are replaced, or kept when `overwrite` is false."""
    document = fragment_of(body, old["id"])
    given = attributes.attributes_from(document, context.expand)
    reason = "exists already, and noOverwrite keeps it"
    return _put(given, old, _head(document, context, old["id"]), lambda known: overwrite or known is None, reason)


def update(body: object, context: Context, old: Entity) -> Outcome:
    """5.6.2: only attributes that are there change; the others are reported."""
    document = fragment_of(body, old["id"])
    given = attributes.attributes_from(document, context.expand)
    reason = "is not there; append it with POST …/attrs"
    return _put(given, old, _head(document, context, old["id"]), lambda known: known is not None, reason)


def _put(
    given: Mapping[str, list[Instance] | None], old: Entity, head: dict[str, Any], allowed: Any, reason: str
) -> Outcome:
    taken: dict[str, list[Instance]] = {}
    refused: dict[str, str] = {}
    for name, instances in given.items():
        known = old["attrs"].get(name, ())
        fits = [one for one in instances or () if allowed(stored.find(known, one.get("datasetId")))]
        if fits:
            taken[name] = fits
        if len(fits) < len(instances or ()):
            refused[name] = f"{name} {reason}"
    nothing = not taken and not set(head) & {"type", "scope"}
    change = None if nothing else Change("upsert", old["id"], {**head, "attrs": taken})
    return Outcome(change, list(taken), refused)


def attribute_named(old: Entity, name: str, dataset: str | None, context: Context) -> Instance:
    """That instance, or ResourceNotFound."""
    found = stored.find(old["attrs"].get(name, ()), dataset)
    if found is None:
        which = f" with datasetId {dataset}" if dataset else ""
        raise NotFound(
            f"{old['id']} has no attribute {context.compact(name)}{which}; read the entity to see what it has"
        )
    return found


def _one_attribute(body: object, term: str, context: Context, fragments: bool) -> tuple[str, Instance]:
    """Internal name and the instance a body describes; the body is the attribute or an object with it inside."""
    if isinstance(body, dict) and set(body) == {term}:
        body = body[term]
    read = attributes.attributes_from({term: body}, context.expand, fragments)
    if not read:
        raise InvalidData(f"{term} is no attribute; change it with PATCH of the entity", "bad_request")
    name, instances = next(iter(read.items()))
    if not instances or len(instances) != 1:
        raise InvalidData(f"send one instance of {term}; to remove it use DELETE", "bad_request")
    return name, instances[0]


def patch_attribute(body: object, term: str, context: Context, old: Entity) -> Change:
    """5.6.4: members given replace those of the instance, the others stay."""
    name, fragment = _one_attribute(body, term, context, fragments=True)
    before = attribute_named(old, name, fragment.get("datasetId"), context)
    if attributes.holds_null(list(fragment.values())):
        raise InvalidData(
            f"{term} holds {stored.NULL} inside; only a merge of the entity removes members so", "bad_request"
        )
    kind = fragment.pop("type", before["type"])
    if kind != before["type"]:
        raise InvalidData(
            f"{term} is a {before['type']}, not a {kind}: send its {stored.KINDS[before['type']]}, or PUT another kind",
            "bad_request",
        )
    return Change("merge", old["id"], {"id": old["id"], "attrs": {name: [fragment]}, "shallow": True}, old=old)


def replace_attribute(body: object, term: str, context: Context, old: Entity) -> Change:
    """5.6.19."""
    name, instance = _one_attribute(body, term, context, fragments=False)
    attribute_named(old, name, instance.get("datasetId"), context)
    return Change("upsert", old["id"], {"id": old["id"], "attrs": {name: [instance]}})


def delete_attribute(term: str, context: Context, old: Entity, where: Mapping[str, Any]) -> Change:
    """5.6.5."""
    name = context.expand(attributes.name_from(term))
    if not (where.get("all") and old["attrs"].get(name)):
        attribute_named(old, name, where.get("datasetId"), context)
    return Change("delete_attribute", old["id"], dict(where), name)
