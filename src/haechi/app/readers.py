"""The readers the console face asks for, made of services and the stores of a run. Joined by `haechi.app.api`."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from haechi.app import parts
from haechi.app.city import plans
from haechi.app.health import Health
from haechi.app.settings import RunSettings
from haechi.core.errors import NotFound
from haechi.ports import RecordStore
from haechi.services.cities.model import City
from haechi.services.incidents import Playbook, incident_detail, linked, list_incidents
from haechi.services.ingest.account import balances
from haechi.services.ingest.replay import chosen, held, replay_all
from haechi.services.stream.progress import Progress
from haechi.services.watch.counts import counts
from haechi.services.watch.rules import Rule
from haechi.services.watch.views import alarm_detail, alarms_of, list_alarms


class Alarms:
    """What watch knows, with the incident each alarm belongs to."""

    def __init__(self, store: RecordStore, incidents: RecordStore) -> None:
        self._store, self._linked = store, linked(incidents)

    def alarms(self, state: str, limit: int) -> Sequence[Mapping[str, Any]]:
        return list_alarms(self._store, state, limit, self._linked)

    def alarms_of(self, entity: str) -> Sequence[Mapping[str, Any]]:
        return alarms_of(self._store, entity, self._linked)

    def alarm(self, id: str) -> Mapping[str, Any] | None:
        with contextlib.suppress(NotFound):
            return {key: value for key, value in self._detail(id).items() if key != "transitions"}
        return None

    def transitions(self, id: str) -> Sequence[Mapping[str, Any]]:
        with contextlib.suppress(NotFound):
            return list(self._detail(id)["transitions"])
        return ()

    def counts(self) -> Mapping[str, Any]:
        return counts(self._store)

    def _detail(self, id: str) -> dict[str, Any]:
        return alarm_detail(self._store, id, self._linked)


class Incidents:
    """What incidents knows."""

    def __init__(self, store: RecordStore, alarms: RecordStore, playbooks: Mapping[str, Playbook]) -> None:
        self._store, self._alarms, self._playbooks = store, alarms, playbooks

    def incidents(self, state: str, limit: int) -> Sequence[Mapping[str, Any]]:
        return list_incidents(self._store, state, limit)

    def incident(self, id: str) -> Mapping[str, Any] | None:
        with contextlib.suppress(NotFound):
            return incident_detail(self._store, self._alarms, self._playbooks, id)
        return None


class Account:
    """The account and quarantine; a replay maps with the city as this process loaded it."""

    def __init__(self, settings: RunSettings, city: City, log: Any, health: Health, progress: Progress) -> None:
        self._settings, self._city, self._log = settings, city, log
        self._health, self._progress = health, progress
        self._store = parts.account_store(settings.folder)

    async def account(self) -> Mapping[str, Any]:
        lines = await asyncio.to_thread(balances, self._store)
        links = {
            one.link: {
                "received": one.received,
                "stored": one.stored,
                "rejected": dict(one.rejected),
                "quarantined": one.quarantined,
                "replayed": one.replayed,
                "in_quarantine": one.in_quarantine,
                "missing": one.missing,
            }
            for one in lines
        }
        balanced = not any(one.missing for one in lines)
        await self._health.look()
        return {"balanced": balanced, "links": links, "behind": self._health.behind}

    def quarantine(self, link: str | None, limit: int) -> Sequence[Mapping[str, Any]]:
        return held(self._store, link, limit)

    async def replay(self, ids: Sequence[str] | None, link: str | None) -> Mapping[str, Any]:
        mappers = await asyncio.to_thread(plans, self._city)
        result = await replay_all(self._log, mappers, chosen(self._store, ids, link))
        if result.seq:
            await self._progress.wait(("account", "context"), result.seq)
        return {"replayed": result.replayed, "still_quarantined": result.still_quarantined}


def rule_shown(rule: Rule | None) -> dict[str, Any] | None:
    """What the console shows of a rule."""
    if rule is None:
        return None
    provenance = rule.provenance
    return {
        "id": rule.id,
        "name": dict(rule.name),
        "text": dict(rule.text),
        "provenance": {name: str(getattr(provenance, name)) for name in provenance.__slots__},
    }
