"""What a notification tells of a change (clauses 5.3.1, 5.8.6, 4.5.18): entities, deletions, values as they were.
Used by the notifier."""

from typing import Any

from haechi.core.entity import KINDS, NULL, Entity, Instance
from haechi.core.times import format_iso
from haechi.services.ngsi_ld.representation import View, attribute, shown
from haechi.services.subscriptions.matching import Changed, find, of_datasets
from haechi.services.subscriptions.model import Subscription

_PREVIOUS = {member: f"previous{member[0].upper()}{member[1:]}" for member in set(KINDS.values())}


def told(subscription: Subscription, change: Changed, at: int) -> dict[str, Any]:
    """The entity as this subscription shows it, at the instant of the notification."""
    view = subscription.view
    if change.after is None:
        return _gone(subscription, change, at)
    entity = {**change.after, "attrs": _attributes(subscription, change.after)}
    document = shown(entity, view)
    for (name, dataset), kind in change.instances.items():
        if kind == "attributeDeleted" and view.shows(name) and _wanted(subscription, dataset):
            if "attributeDeleted" in subscription.triggers:
                _add(document, view.context.compact(name), _deleted(subscription, change, (name, dataset), at))
        elif kind == "attributeUpdated" and subscription.show_changes and view.shows(name):
            _show_before(document.get(view.context.compact(name)), find(change.before, (name, dataset)), view)
    return document


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
