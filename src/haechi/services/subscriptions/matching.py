"""Whether a change of an entity fires a subscription, and if not, why not (clause 5.8.6). Used by the notifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.core import entity as stored
from haechi.core.entity import Entity, Instance
from haechi.services.subscriptions.model import Subscription

Key = tuple[str, str | None]  # attribute and datasetId


@dataclass(frozen=True, slots=True)
class Changed:
    """One change of one entity: as it was, as it is, and which instances of which attributes differ."""

    entity: str
    before: Entity | None
    after: Entity | None
    instances: Mapping[Key, str]  # "attributeCreated" | "attributeUpdated" | "attributeDeleted"

    @property
    def now(self) -> Entity:
        """As it is, or as it was last."""
        found = self.after if self.after is not None else self.before
        assert found is not None, f"a change of {self.entity} without any state"
        return found


def changed(entity: str, before: Entity | None, after: Entity | None) -> Changed:
    """What differs between two states."""
    old, new = _instances(before), _instances(after)
    found: dict[Key, str] = {}
    for key, instance in new.items():
        if key not in old:
            found[key] = "attributeCreated"
        elif instance != old[key]:
            found[key] = "attributeUpdated"
    for key in old:
        if key not in new:
            found[key] = "attributeDeleted"
    return Changed(entity, before, after, found)


def _instances(entity: Entity | None) -> dict[Key, Instance]:
    if entity is None:
        return {}
    return {(name, one.get("datasetId")): one for name, many in entity["attrs"].items() for one in many}


def why_not(subscription: Subscription, change: Changed) -> str:
    """Empty when it fires; else what kept it from firing, in words for people."""
    entity = change.now
    if not subscription.asks(change.entity, entity["type"]):
        return "the entity is none it asks for: its id or type does not fit"
    if not fired(subscription, change):
        return _not_watched(subscription, change)
    if subscription.test is not None and not subscription.test(entity):
        return "q, geoQ or scopeQ does not hold for the entity as it is now"
    return ""


def fired(subscription: Subscription, change: Changed) -> bool:
    """Whether one of its triggers saw something it watches."""
    triggers, watched = subscription.triggers, subscription.watched
    if change.before is None and "entityCreated" in triggers and _touches(watched, change.after):
        return True
    if change.after is None and "entityDeleted" in triggers and _touches(watched, change.before):
        return True
    return any(kind in triggers and (not watched or name in watched) for (name, _), kind in change.instances.items())


def _touches(watched: frozenset[str], entity: Entity | None) -> bool:
    return not watched or (entity is not None and not watched.isdisjoint(entity["attrs"]))


def _not_watched(subscription: Subscription, change: Changed) -> str:
    kinds = sorted({f"{kind} {name}" for (name, _), kind in change.instances.items()}) or ["no attribute"]
    asked = ", ".join(sorted(subscription.triggers))
    watched = f" of {', '.join(sorted(subscription.watched))}" if subscription.watched else ""
    return f"the change was {', '.join(kinds[:5])}; it fires on {asked}{watched}"


def of_datasets(instances: Sequence[Instance], datasets: frozenset[str]) -> list[Instance]:
    """The instances a subscription wants to be told of (clause 4.5.5)."""
    return [one for one in instances if not datasets or one.get("datasetId", "@none") in datasets]


def find(entity: Mapping[str, Any] | None, key: Key) -> Instance | None:
    """That instance of an entity, if it has it."""
    return None if entity is None else stored.find(entity["attrs"].get(key[0], ()), key[1])
