"""What of a subscription concerns a context source: the copy of it that the source is given (clause 5.8.1.4). Pure;
used by `copies`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from haechi.services.ngsi_ld import q
from haechi.services.ngsi_ld.names import CORE_URL, Context
from haechi.services.registrations.exchange import FROM_REQUEST, OURS, STEERING
from haechi.services.registrations.matching import Part, Wanted, parts
from haechi.services.registrations.model import Registration
from haechi.services.registrations.watch import wanted_by
from haechi.services.subscriptions.book import Kept
from haechi.services.subscriptions.model import instant_of

PATH = "/ngsi-ld/ex/remote-notify"  # where sources tell us; whoever knows a copy's id is believed
_FILTERS = ("q", "geoQ", "scopeQ")
_CARRIED = ("notificationTrigger", "timeInterval", "throttling", "isActive", "expiresAt", "lang", "datasetId")
_SHOWN = ("format", "attributes", "pick", "omit", "sysAttrs", "showChanges", "join", "joinLevel")
Headers = list[list[str]]  # name and value


@dataclass(frozen=True, slots=True)
class Goal:
    """What a source should have: the subscription without its id, and the headers it goes with."""

    registration: Registration
    body: dict[str, Any]
    headers: Headers


def goal(kept: Kept, context: Context, registration: Registration, alias: str, now: int) -> Goal | None:
    """None when the source has no part in the subscription, takes none, or is where it came from."""
    reach = kept.reach
    if reach is None or "createSubscription" not in registration.operations:
        return None
    if alias in reach["via"] or registration.alias in reach["via"] or not _lives(kept, now):
        return None
    found = _parts(kept, context, registration)
    if not found:
        return None
    via = ", ".join(f"1.1 {one}" for one in (*reach["via"], alias))
    headers = [["Accept", "application/json"], ["Via", via], *_own(registration)]
    return Goal(registration, _body(kept, context, registration, found), headers)


def is_split(kept: Kept) -> bool:
    """Whether entities are put together here before the filters are applied (clause 5.8.6)."""
    return kept.body.get("splitEntities") is True


def _lives(kept: Kept, now: int) -> bool:
    expires = instant_of(kept.body, "expiresAt")
    return expires is None or expires > now


def _parts(kept: Kept, context: Context, registration: Registration) -> list[Part]:
    body = kept.body
    watched = frozenset(map(context.expand, body.get("watchedAttributes") or ()))
    asked = [wanted_by(one, context, watched) for one in body.get("entities") or ()] or [Wanted(attributes=watched)]
    if (csf := body.get("csf")) is not None and not q.compile_q(csf, context.expand, frozenset())(registration.entity):
        return []
    return list(dict.fromkeys(part for one in asked for part in parts(registration, one)))


def _own(registration: Registration) -> Headers:
    """Headers that the registration wants sent, but those of a request: there is none (clause 4.3.6.5)."""
    left_out = OURS | STEERING
    found = [[key, value] for key, value in registration.pairs if key.lower() not in left_out and value != FROM_REQUEST]
    return found if registration.tenant is None else [*found, ["NGSILD-Tenant", registration.tenant]]


def _body(kept: Kept, context: Context, registration: Registration, found: list[Part]) -> dict[str, Any]:
    given, split = kept.body, is_split(kept)
    carried = _CARRIED if split else (*_CARRIED, *_FILTERS)
    body: dict[str, Any] = {"type": "Subscription", **{name: given[name] for name in carried if name in given}}
    body["entities"] = [selector for part in found for selector in _selectors(part, context)]
    if all(part.attributes for part in found):
        body["watchedAttributes"] = _names((name for part in found for name in part.attributes), context)
    body["notification"] = _notification(kept, context, registration)
    body |= {"splitEntities": True} if split else {}
    body |= {"localOnly": True} if registration.management.local_only else {}
    if "jsonldContext" in given:
        body["jsonldContext"] = given["jsonldContext"]
    return body if kept.context == CORE_URL else {"@context": kept.context, **body}


def _selectors(part: Part, context: Context) -> list[dict[str, str]]:
    kinds = ",".join(map(context.compact, part.types)) or "*"
    if part.ids:
        return [{"type": kinds, "id": id} for id in part.ids]
    return [{"type": kinds} | ({} if part.pattern is None else {"idPattern": part.pattern})]


def _names(names: Iterable[str], context: Context) -> list[str]:
    return sorted({context.compact(name) for name in names})


def _notification(kept: Kept, context: Context, registration: Registration) -> dict[str, Any]:
    """What the source shows is what our receiver is shown; of split entities it tells all, with its instants."""
    assert kept.reach is not None, f"{kept.id} is told nowhere else"
    given: Mapping[str, Any] = kept.body["notification"]
    told: dict[str, Any] = {name: given[name] for name in _SHOWN if name in given}
    registered = {name for one in registration.information for name in one.attributes}
    if is_split(kept):
        told = {"sysAttrs": True}
    elif all(one.attributes for one in registration.information) and not {"attributes", "pick", "omit"} & told.keys():
        told["attributes"] = _names(registered, context)
    return {**told, "endpoint": {"uri": kept.reach["base"] + PATH, "accept": "application/json"}}
