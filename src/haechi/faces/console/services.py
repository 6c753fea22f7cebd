"""What the console face needs from the rest of the platform, as one value. `app.py` fills it, the endpoints read it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from haechi.faces.console.live import LiveHub
from haechi.ports import Clock, EntityStore, HistoryReader
from haechi.services.cities.model import City
from haechi.services.users.accounts import Accounts

Document = Mapping[str, Any]


class AlarmReader(Protocol):
    """What watch knows, in the shapes of docs/reference/console-api.md; instants may still be microseconds."""

    def alarms(self, state: str, limit: int) -> Sequence[Document]:
        """Alarms that are `active`, `shelved`, `suppressed`, `out_of_service` or `history`, newest change first."""

    def alarms_of(self, entity: str) -> Sequence[Document]:
        """Alarms of one entity that have not ended."""

    def alarm(self, id: str) -> Document | None:
        """One alarm, also one that has ended."""

    def transitions(self, id: str) -> Sequence[Document]:
        """Its transitions, oldest first."""

    def counts(self) -> Document:
        """*Counts*."""


class IncidentReader(Protocol):
    """What incidents knows."""

    def incidents(self, state: str, limit: int) -> Sequence[Document]:
        """Incidents that are `open`, `closed` or `all`, newest first."""

    def incident(self, id: str) -> Document | None:
        """One incident."""


class CommandReader(Protocol):
    """What services.commands knows; instants are RFC 3339 already."""

    def commands(self, entity: str | None, limit: int) -> Sequence[Document]:
        """Commands to one entity (None: any), newest first."""

    def command(self, id: str) -> Document:
        """One command; `NotFound`."""

    def setpoints(self, entity: str | None) -> Sequence[Document]:
        """What of an entity may be written; None: of the whole city."""


class AccountReader(Protocol):
    """What ingest knows and can bring back."""

    async def account(self) -> Document:
        """The account as `GET /api/account` shows it."""

    def quarantine(self, link: str | None, limit: int) -> Sequence[Document]:
        """Messages held in quarantine, oldest first."""

    async def replay(self, ids: Sequence[str] | None, link: str | None) -> Document:
        """Maps held messages again: `{replayed, still_quarantined}`. Neither ids nor link: all of them."""


@dataclass(frozen=True, slots=True)
class ConsoleServices:
    """Everything the console face asks. Readers are called in worker threads, several at a time."""

    city: City
    clock: Clock
    accounts: Accounts
    hub: LiveHub
    entities: EntityStore
    alarms: AlarmReader
    incidents: IncidentReader
    commands: CommandReader
    history: HistoryReader
    account: AccountReader
    playbook: Callable[[str], Document | None]  # *Playbook* by id
    rule: Callable[[str], Document | None]  # what to show of a rule: id, name, text, provenance
    command: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]  # appends an `ops` command, answers its result
    health: Callable[[], Awaitable[Document]]  # `{"status": ok|degraded|down, "checks": {…}}`
    vitals: Callable[[], Awaitable[Document]]  # the platform's own figures
    new_id: Callable[[], str]  # a UUID for each command
    not_reading_s: float = 30.0  # a live client that reads nothing for that long is dropped
    ask_session_s: float = 30.0  # how often an open live connection asks whether its session still holds
