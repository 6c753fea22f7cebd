"""What a notification tells of a change (clauses 5.3.1, 5.8.6, 4.5.18): entities, deletions, values as they were.
Used by the notifier."""

from collections.abc import Mapping, Sequence
from typing import Any

from haechi.core.entity import KINDS, NULL, Entity, Instance
from haechi.core.times import format_iso
from haechi.services.ngsi_ld.linked import Load, fetch, flat
from haechi.services.ngsi_ld.representation import Linked, View, attribute, shown
from haechi.services.subscriptions.matching import Changed, find, of_datasets
from haechi.services.subscriptions.model import Subscription

_PREVIOUS = {member: f"previous{member[0].upper()}{member[1:]}" for member in set(KINDS.values())}


async def documents(
    subscription: Subscription, changes: Sequence[Changed], at: int, load: Load
) -> list[dict[str, Any]]:
    """The entities as this subscription shows them, with those they lead to (clause 4.5.23) inside or after them."""
    join, view = subscription.join, subscription.view
    if not join.form:
        return [told(subscription, one, at) for one in changes]
    there = [one.after for one in changes if one.after is not None]
    found = await fetch(there, view, join, load)
    if join.form == "inline":
        return [told(subscription, one, at, found) for one in changes]
    ids = {one["id"] for one in there}
    beside = [document for one, document in flat(there, view, join, found) if one["id"] not in ids]
    return [*(told(subscription, one, at) for one in changes), *beside]


async def joined(subscription: Subscription, entities: Sequence[Entity], load: Load) -> list[dict[str, Any]]:
    """The same of entities that did not change, for periodic notifications."""
    changes = [Changed(one["id"], one, one, {}) for one in entities]
    return await documents(subscription, changes, 0, load)


def told(
    subscription: Subscription, change: Changed, at: int, linked: Mapping[str, Entity] | None = None
) -> dict[str, Any]:
    """The entity as this subscription shows it, at the instant of the notification; `linked` entities inside it."""
    view = subscription.view
    if change.after is None:
        return _gone(subscription, change, at)
    entity = {**change.after, "attrs": _attributes(subscription, change.after)}
    inside = None if linked is None else Linked(linked, subscription.join.level, frozenset({change.entity}))
    document = shown(entity, view.with_linked(inside))
    deleted: dict[str, list[str | None]] = {}
    for (name, dataset), kind in change.instances.items():
        if kind == "attributeDeleted" and view.shows(name) and _wanted(subscription, dataset):
            if "attributeDeleted" in subscription.triggers:
                deleted.setdefault(name, []).append(dataset)
        elif kind == "attributeUpdated" and subscription.show_changes and view.shows(name):
            _show_before(document.get(view.context.compact(name)), find(change.before, (name, dataset)), view)
    for name, datasets in deleted.items():
        _show_deleted(document, subscription, change, (name, datasets), at)
    return document


def _show_deleted(
    document: dict[str, Any],
    subscription: Subscription,
    change: Changed,
    gone: tuple[str, Sequence[str | None]],
    at: int,
) -> None:
    """Puts the instances that are gone beside those that are left (clause 4.5.5); of an attribute that is gone as a
    whole, one stands for all."""
    name, datasets = gone
    term = subscription.view.context.compact(name)
    assert change.after is not None, "an entity that is gone is told as a whole"
    there = of_datasets(change.after["attrs"].get(name, ()), subscription.datasets)
    left = [one.get("datasetId", "@none") for one in there]
    if not left and len(datasets) > 1:
        whole = _deleted(subscription, change, (name, None if None in datasets else datasets[0]), at)
        if isinstance(whole, dict):
            whole.pop("datasetId", None)
        document[term] = whole
        return
    found = {dataset or "@none": _deleted(subscription, change, (name, dataset), at) for dataset in datasets}
    if subscription.view.form != "simplified":
        for one in found.values():
            _add(document, term, one)
    elif len(left) + len(found) == 1:
        document[term] = next(iter(found.values()))
    else:
        kept = document[term]["dataset"] if len(left) > 1 else dict.fromkeys(left, document[term])
        document[term] = {"dataset": kept | found}


def _attributes(subscription: Subscription, entity: Entity) -> dict[str, list[Instance]]:
    found = {name: of_datasets(many, subscription.datasets) for name, many in entity["attrs"].items()}
    return {name: many for name, many in found.items() if many}


def _wanted(subscription: Subscription, dataset: str | None) -> bool:
    return not subscription.datasets or (dataset or "@none") in subscription.datasets


def _gone(subscription: Subscription, change: Changed, at: int) -> dict[str, Any]:
    """A deleted entity: its id, type and when; with attributes where their deletion was asked for."""
    view = subscription.view
    entity = change.now
    document = shown({**entity, "attrs": {}}, view)
    document["deletedAt"] = format_iso(at)
    if "attributeDeleted" in subscription.triggers or subscription.show_changes:
        for name, dataset in change.instances:
            fits = not subscription.watched or name in subscription.watched or subscription.show_changes
            if fits and view.shows(name) and _wanted(subscription, dataset):
                _add(document, view.context.compact(name), _deleted(subscription, change, (name, dataset), at))
    return document


def _deleted(subscription: Subscription, change: Changed, key: tuple[str, str | None], at: int) -> Any:
    """An instance that is gone: NGSI-LD Null for its value (clause 4.5.0)."""
    before = find(change.before, key)
    assert before is not None, f"{key} was deleted and never was"
    member = KINDS[before["type"]]
    nothing: Any = {"@none": NULL} if before["type"] == "LanguageProperty" else NULL
    if subscription.view.form == "simplified":
        return {"languageMap": nothing} if before["type"] == "LanguageProperty" else nothing
    found: dict[str, Any] = {"type": before["type"], member: nothing}
    if "datasetId" in before:
        found["datasetId"] = before["datasetId"]
    if subscription.show_changes:
        found[_PREVIOUS[member]] = _content(before, subscription.view)
    if subscription.view.sys_attrs:
        found |= {name: format_iso(before[name]) for name in ("createdAt", "modifiedAt") if name in before}
        found["deletedAt"] = format_iso(at)
    return found


def _content(instance: Instance, view: View) -> Any:
    """The value as the view writes it, in the normalized form."""
    plain = attribute([{name: instance[name] for name in instance if name != "attrs"}], View(view.context))
    return plain[KINDS[instance["type"]]]


def _show_before(document: Any, before: Instance | None, view: View) -> None:
    """Adds `previousValue` and its kind to the instance of the same datasetId."""
    if before is None:
        return
    for one in document if isinstance(document, list) else [document]:
        if isinstance(one, dict) and one.get("datasetId") == before.get("datasetId"):
            one[_PREVIOUS[KINDS[before["type"]]]] = _content(before, view)


def _add(document: dict[str, Any], name: str, instance: Any) -> None:
    """Puts one instance more into a document; several instances are a list (clause 4.5.5)."""
    there = document.get(name)
    if there is None:
        document[name] = instance
    else:
        document[name] = [*(there if isinstance(there, list) else [there]), instance]
