"""Decides what a change to one entity does, clause by clause of 5.6, for single and batch operations alike. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from haechi.core import attribute as attributes
from haechi.core import entity as stored
from haechi.core.entity import Entity, Instance
from haechi.core.errors import Conflict, InvalidData, NotFound
from haechi.core.times import parse_iso
from haechi.faces.ngsi_ld.requests import Parameters
from haechi.faces.ngsi_ld.writes import Change
from haechi.services.ngsi_ld.names import Context

Body = Mapping[str, Any]
T = TypeVar("T", Entity, bytes)


class Outcome(NamedTuple):
    """A change to send (None: nothing to do) and the UpdateResult of clause 5.2.18, in internal names."""

    change: Change | None
    updated: list[str]
    not_updated: dict[str, str]  # name -> reason


class Common(NamedTuple):
    """What a merge says once for all attributes (clause 5.6.17.3)."""

    observed_at: int | None = None
    lang: str | None = None
    simplified: bool = False


COMMON = Common()


def common_of(given: Parameters) -> Common:
    """Parameters of a merge: observedAt, lang, and the format of the fragment."""
    text, lang = given.get("observedAt"), given.get("lang")
    try:
        observed_at = None if text is None else parse_iso(text)
    except (ValueError, OverflowError) as error:
        raise InvalidData(f"observedAt={text!r} is no instant; write 2026-11-22T09:00:00Z", "bad_request") from error
    return Common(observed_at, lang, not given.options.isdisjoint({"simplified", "keyValues", "concise"}))


_BARE_KINDS = frozenset({"Relationship", "VocabProperty", "ListProperty", "ListRelationship", "JsonProperty"})


def entity_body(body: object, context: Context, id: str | None = None) -> Entity:
    """The stored entity of a whole document; `id` stands in for a missing one and must agree with one."""
    document = fragment_of(body, id)
    return context.plain.entity(document)


def fragment_of(body: object, id: str | None) -> dict[str, Any]:
    """The document as an object with that id."""
    if not isinstance(body, dict):
        raise InvalidData("an entity is a JSON object; send one", "invalid_request")
    if id is None:
        return body
    given = body.get("id", body.get("@id", id))
    if given != id:
        raise InvalidData(f"the body is about {given}, the path about {id}; make them agree", "bad_request")
    return {**body, "id": id}


def create(entity: Entity, old: object | None) -> Change:
    """5.6.1."""
    if old is not None:
        raise Conflict(f"{entity['id']} exists already; PATCH it, or DELETE it first")
    return Change("upsert", entity["id"], entity)


def sound_and_existing(body: Body, context: Context, old: Entity | None, reading: str) -> Entity:
    """The entity that a member of a batch is about; what is wrong with the member is said before that it is not
    there (clause 5.5.4)."""
    if old is None:
        attributes.attributes_from(body, context.expand, reading)
    return existing(body["id"], old)


def existing(id: str, old: T | None) -> T:
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
        entity = context.plain.entity(document)
    return Change("replace", old["id"], entity)


def merge(body: object, context: Context, old: Entity, common: Common = COMMON) -> Change:
    """5.6.17."""
    document = _in_kind(fragment_of(body, old["id"]), context, old, common)
    fragments = context.plain.attributes(document, attributes.FRAGMENTS)
    for name, instances in fragments.items():
        known = old["attrs"].get(name, ())
        for one in instances or ():
            before = stored.find(known, one.get("datasetId"))
            _check_fragment(name, one, before, context)
            if common.observed_at is not None and "observedAt" in (before or ()):
                one.setdefault("observedAt", common.observed_at)
    return Change("merge", old["id"], {**_head(document, context, old["id"]), "attrs": fragments}, old=old)


def _in_kind(document: dict[str, Any], context: Context, old: Entity, common: Common) -> dict[str, Any]:
    """The document with bare values written as the kind that the attribute is (clause 5.6.17.4): a text in the common
    language, the target of a relationship, a term."""
    found = dict(document)
    for term, value in document.items():
        before = stored.find(old["attrs"].get(context.expand(term), ()), None)
        if before is None or value is None or value == stored.NULL or isinstance(value, dict):
            continue
        kind = before["type"]
        if kind == "LanguageProperty" and isinstance(value, str) and common.lang:
            found[term] = {"type": kind, "languageMap": {common.lang: value}}
        elif common.simplified and kind in _BARE_KINDS:
            found[term] = {"type": kind, stored.KINDS[kind]: value}
    return found


def _head(document: Body, context: Context, id: str) -> dict[str, Any]:
    head: dict[str, Any] = {"id": id}
    if (types := document.get("type", document.get("@type"))) is not None:
        head["type"] = context.plain.types(types)
    if "scope" in document:
        scope = document["scope"]
        head["scope"] = None if scope == stored.NULL else attributes.scope_from(scope)
    if "expiresAt" in document:
        given = document["expiresAt"]
        head["expiresAt"] = None if given == stored.NULL else attributes.end_from(given)
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
    given = context.plain.attributes(document)
    head = _head(document, context, old["id"])
    if "scope" in head and not overwrite:
        head["scope"] = list(dict.fromkeys([*(old.get("scope") or ()), *(head["scope"] or ())]))
    reason = "exists already, and noOverwrite keeps it"
    return _put(given, old, head, lambda known, _: overwrite or known is None, reason)


def update(body: object, context: Context, old: Entity) -> Outcome:
    """5.6.2: attributes that are there change, others are added; what cannot be removed or scoped is reported."""
    document = fragment_of(body, old["id"])
    given = context.plain.attributes(document, attributes.UPDATE)
    head = _head(document, context, old["id"])
    reason = "is not there; append it with POST …/attrs"
    homeless = "scope" in head and not old.get("scope")
    if homeless:
        del head["scope"]
    outcome = _put(given, old, head, lambda known, one: known is not None or not _removed(one), reason)
    return outcome._replace(not_updated={**outcome.not_updated, "scope": f"scope {reason}"}) if homeless else outcome


def _removed(instance: Instance) -> bool:
    return instance[stored.KINDS[instance["type"]]] is None


def _put(
    given: Mapping[str, list[Instance] | None],
    old: Entity,
    head: dict[str, Any],
    allowed: Callable[[Instance | None, Instance], bool],
    reason: str,
) -> Outcome:
    """Whole instances put in or, where their content is the NGSI-LD Null, taken out, as one merge or upsert."""
    taken: dict[str, list[Instance] | None] = {}
    refused: dict[str, str] = {}
    for name, instances in given.items():
        known = old["attrs"].get(name, ())
        if instances is None:
            fits: list[Instance] | None = None if known else []
        else:
            fits = [one for one in instances if allowed(stored.find(known, one.get("datasetId")), one)]
        if fits is None or fits:
            taken[name] = fits
        if fits is not None and len(fits) < len(instances or (None,)):
            refused[name] = f"{name} {reason}"
    nothing = not taken and not set(head) & {"type", "scope", "expiresAt"}
    change = None if nothing else _as_change(old, {**head, "attrs": taken})
    return Outcome(change, [*taken, *(["scope"] if "scope" in head else [])], refused)


def _as_change(old: Entity, body: dict[str, Any]) -> Change:
    """An upsert; where something goes, a merge whose instances replace what is there as a whole."""
    instances = [one for many in body["attrs"].values() for one in many or ()]
    for one in instances:
        if nested := {name: many for name, many in one.get("attrs", {}).items() if many is not None}:
            one["attrs"] = nested
        else:
            one.pop("attrs", None)
    gone = any(body.get(name, ()) is None for name in ("scope", "expiresAt"))
    goes = gone or None in body["attrs"].values() or any(map(_removed, instances))
    return Change("merge", old["id"], {**body, "whole": True}, old=old) if goes else Change("upsert", old["id"], body)


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
    read = attributes.attributes_from(
        {term: body}, context.expand, attributes.FRAGMENTS if fragments else attributes.WHOLE
    )
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
    if term == "scope":
        if not old.get("scope"):
            raise NotFound(f"{old['id']} has no scope; nothing is left to delete")
        return Change("merge", old["id"], {"id": old["id"], "scope": None, "attrs": {}}, old=old)
    name = context.expand(attributes.name_from(term))
    if not (where.get("all") and old["attrs"].get(name)):
        attribute_named(old, name, where.get("datasetId"), context)
    return Change("delete_attribute", old["id"], dict(where), name)
