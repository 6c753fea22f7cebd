"""Every boundary of the platform as a Protocol. Services and faces see these; plug-ins implement them; `app.py`
joins them.

Each Protocol has at most five methods. A plug-in that keeps its Protocol passes the shared suite of that port in
`tests/conformance/`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from haechi import history_ports as history
from haechi.core.frame import Frame, decode
from haechi.core.message import Message, Sample
from haechi.core.values import Values


class Clock(Protocol):
    """Time as an argument: the system's in `app.py`, a simulated one in tests."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""

    async def sleep(self, seconds: float) -> None:
        """Returns after that long on this clock."""


# --- the log
# -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """One message on the log. `seq` rises by one per message over all subjects."""

    seq: int
    subject: str  # "obs" | "entity" | "ops"
    payload: bytes
    stored_at: int  # microseconds since the epoch, the log's clock
    _decoded: list[Frame] = field(default_factory=list, compare=False, repr=False)

    def frame(self) -> Frame:
        """The frame in the payload, decoded once for all who read this record; `InvalidData` when it is none."""
        if not self._decoded:
            self._decoded.append(decode(self.payload))
        return self._decoded[0]


class Log(Protocol):
    """The durable, ordered, replayable stream. What `append` returned for is stored as `durability` promises."""

    async def append(self, subject: str, payload: bytes, dedupe_id: str) -> int:
        """Stores one message and returns its seq; the same `dedupe_id` within two minutes is stored once.

        Raises `Unavailable` when it could not be confirmed (it may be stored: retry with the same id).
        """

    def read(self, after: int, subjects: frozenset[str]) -> AsyncIterator[Sequence[Record]]:
        """Endless: records with seq > `after` in order, in batches as they come; waits when there are none."""

    async def last_seq(self) -> int:
        """Seq of the newest message, 0 when empty."""


class Bus(Protocol):
    """Fire-and-forget notices between processes (nothing durable) and questions with one answer."""

    async def publish(self, subject: str, payload: bytes) -> None:
        """Tells whoever listens now."""

    async def listen(
        self, pattern: str, heard: Callable[[str, bytes], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        """Calls `heard(subject, payload)` for each notice; returns the function that stops it. `*` and `>` as in
        NATS."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a projection wants told after its effect is durable: published on the bus."""

    subject: str
    payload: bytes


class Projection(Protocol):
    """A consumer of the log with durable effects. Called from one worker thread, never concurrently with itself.

    `apply` makes the effects of the records and the new position durable in ONE transaction, so that a kill between any
    two instructions neither loses nor repeats an effect. Records at or below `position()` are never passed again.
    """

    name: str
    subjects: frozenset[str]
    # Names of projections that must have applied a command (`entity`, `ops`) before this one sees it. Observations wait
    # for nobody: an alarm must not stand behind a live model that lags.
    after: tuple[str, ...]

    def position(self) -> int:
        """Seq of the last record whose effects are durable."""

    def apply(self, records: Sequence[Record], now: datetime) -> Sequence[Notice]:
        """Applies records in order."""

    def tick(self, now: datetime) -> Sequence[Notice]:
        """Called about once a second, for what happens because nothing arrived (silence, dwell, flush)."""

    def close(self) -> None:
        """Releases files; nothing durable is lost when it is never called."""


# --- from socket to log
# -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the messages of one `accept`, in samples. All are durable when the receipt is there."""

    stored: int = 0
    quarantined: int = 0
    refused: Mapping[int, str] = field(default_factory=dict)  # index of message -> why; tell the sender
    each: Sequence[tuple[int, int]] = ()  # (stored, quarantined) of every message, in their order


class Intake(Protocol):
    """What an adapter sees of ingest. Slow when the platform is busy: that is the back-pressure; stop reading
    meanwhile."""

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        """Maps, checks, appends to the log; returns when durable. Acknowledge the senders then, not before.

        Gather what all connections sent within a few milliseconds into one call. `Unavailable`: nothing is
        acknowledged.
        """

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        """Counts samples refused at the door with a reason the sender was told (credentials, size, topic)."""


class Registry(Protocol):
    """Who may connect: the device registry of the city."""

    def verify(self, device: str, secret: str, link: str) -> bool:
        """Whether this device with this secret may speak on this link."""

    def knows(self, device: str, link: str) -> bool:
        """Whether the device is registered and enabled for this link (for protocols without secrets)."""


@dataclass(frozen=True, slots=True)
class AdapterContext:
    """What an adapter is given besides its settings."""

    link: str
    intake: Intake
    registry: Registry
    bus: Bus
    clock: Clock
    data: str  # folder of its own for what must survive a restart (MQTT sessions, retained messages)


class Adapter(Protocol):
    """One field protocol on a socket. The plug-in exports `create(settings: Mapping, context: AdapterContext) ->
    Adapter`."""

    async def start(self) -> None:
        """Opens its sockets; `InvalidSettings` names the setting, `Unavailable` is retried by the runner. Twice is
        once."""

    async def stop(self) -> None:
        """Acknowledges what is durable, closes every socket and task. Twice is once."""

    def health(self) -> Mapping[str, float]:
        """Its own metrics, e.g. {"connections": 12}."""


class Codec(Protocol):
    """Pure: bytes to samples. The plug-in exports `create(settings: Mapping) -> Codec`."""

    def decode(self, message: Message) -> Sequence[Sample]:
        """Samples in the order of the payload; `InvalidData` with a stable reason when it cannot be understood."""


# --- stores
# -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One document to put (`body` given) or to delete (`body` None) in a collection."""

    collection: str
    id: str
    body: Mapping[str, Any] | None


class RecordStore(Protocol):
    """Small documents with a position in the log: alarms, incidents, users, accounts, quarantine. One writer, many
    readers."""

    def position(self) -> int:
        """The position given with the last commit, 0 at first."""

    def commit(self, changes: Sequence[Change], position: int | None = None) -> None:
        """All changes and the position, durably, or none. Later changes to the same id win."""

    def get(self, collection: str, id: str) -> dict[str, Any] | None:
        """The document, or None."""

    def find(
        self, collection: str, where: Mapping[str, Any] = {}, order: str = "id", limit: int = 1000, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Documents whose fields equal `where` (a tuple or list value means: one of). `order` "-at" is descending."""

    def close(self) -> None:
        """Closes the file."""


class VersionedRecords(RecordStore, Protocol):
    """Records whose readers remember what they read."""

    def version(self) -> object:
        """Equal only while nothing was committed, by whatever process. Cheap, and never waits for a commit."""


@dataclass(frozen=True, slots=True)
class Box:
    """Longitudes and latitudes in WGS-84 degrees; never crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float


@dataclass(frozen=True, slots=True)
class EntityQuery:
    """A question to the live model. All conditions hold together; `matches` is tested on each candidate's stored
    document."""

    types: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    id_pattern: str | None = None
    box: Box | None = None
    matches: Callable[[Mapping[str, Any]], bool] | None = None  # q, exact geometry: compiled by the face
    limit: int = 20
    offset: int = 0
    count: bool = False
    raw: bool = False  # documents as they are stored will do


@dataclass(frozen=True, slots=True)
class EntityPage:
    """Entities in order of creation, and how many match in all when it was asked; or, where that will do and costs
    less, their stored documents."""

    entities: list[dict[str, Any]]
    total: int | None = None
    documents: list[bytes] | None = None


class EntityStore(Protocol):
    """The live model: entities as stored documents (docs/reference/log.md). One writer, many readers."""

    def position(self) -> int:
        """Seq of the last log record applied."""

    def apply(
        self,
        puts: Mapping[str, Mapping[str, Any] | None],
        position: int,
        changes: Sequence[bytes] = (),
        values: Sequence[Values] = (),
    ) -> None:
        """Stores these documents by id (None deletes), the position, what is to be told of them (`EntityChanges`), and
        values of Properties that the documents have (`LiveValues`) in one durable transaction. A value older than the
        last one given since its document was put changes nothing."""

    def load(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The stored documents, as JSON, of those ids that exist."""

    def query(self, query: EntityQuery) -> EntityPage:
        """Entities that match."""

    def close(self) -> None:
        """Closes the file."""


class EntityVersion(Protocol):
    """Whether anything changed since; every `EntityStore` of ours is one too."""

    def version(self) -> object:
        """Equal only while nothing was committed, by whatever process, as this thread's next question will see it."""


class LiveValues(Protocol):
    """Which attributes need no document to be looked at; every `EntityStore` of ours is one too."""

    def held(self, values: Values) -> NDArray[np.bool_]:
        """For each row, whether a value of that series was given since the document was put: its attribute is a plain
        Property then, and stays one until the document is put again. The writer only."""


class LiveStore(EntityStore, LiveValues, Protocol):
    """What the context projection writes."""


class EntityChanges(Protocol):
    """Changes of entities in order of the log, kept until every subscription has seen them; an `EntityStore` of ours
    is one too. Each is numbered, rising, and JSON: `{"entity": id, "before": document or null, "after": the same}`.
    """

    def changes(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Those numbered higher, in order, at most `limit`."""

    def last_change(self) -> int:
        """The highest number given so far, 0 at first."""

    def forget_changes(self, up_to: int, keep: int) -> None:
        """Drops those up to that number, and the oldest beyond `keep`. The writer only."""


@dataclass(frozen=True, slots=True)
class EntityShape:
    """How many entities have exactly these types and attributes."""

    types: tuple[str, ...]
    attributes: Mapping[str, str]  # name -> kind ("Property", "Relationship", …)
    count: int


class EntityCensus(Protocol):
    """What kinds of entities the live model holds; every `EntityStore` of ours is one too."""

    def shapes(self) -> Sequence[EntityShape]:
        """One row per combination that occurs, in no order."""


# History, which takes a file of its own.
SeriesQuery = history.SeriesQuery
EvolutionQuery = history.EvolutionQuery
Periods = history.Periods
EvolutionReader = history.EvolutionReader
HistoryReader = history.HistoryReader
EvolutionSnapshot = history.EvolutionSnapshot
HistorySnapshot = history.HistorySnapshot
HistoryFiles = history.HistoryFiles
HistoryStore = history.HistoryStore


class Notifier(Protocol):
    """A channel out to people: SMS, mail, a webhook. The plug-in exports `create(settings: Mapping) -> Notifier`."""

    async def send(self, subject: str, text: str, to: Sequence[str]) -> None:
        """Delivers once; `Unavailable` is retried by the runner."""


class Detector(Protocol):
    """Scores a series; picklable and pure in (state, batch). The plug-in exports `create(settings: Mapping) ->
    Detector`."""

    def score(self, observed_at: Sequence[int], values: Sequence[float]) -> Sequence[float]:
        """A score in 0–1 per value, using only values up to it; the detector keeps its own state."""
