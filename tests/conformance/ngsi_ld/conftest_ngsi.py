"""The NGSI-LD face over a real store: frames go through the projection as if they had come from the log."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from haechi.app.snapshots import SnapshotFiles
from haechi.core.errors import Unavailable
from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation, from_batch, to_batch
from haechi.core.times import to_us
from haechi.faces.ngsi_ld import remote
from haechi.faces.ngsi_ld.expiry import COLLECTIONS as ENDS
from haechi.faces.ngsi_ld.expiry import Expiry
from haechi.faces.ngsi_ld.routes import NgsiServices, application
from haechi.faces.ngsi_ld.tenancy import Faces
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Record, RecordStore
from haechi.services.context.outbox import Outbox
from haechi.services.context.projection import ContextProjection
from haechi.services.ngsi_ld.contexts import COLLECTIONS, Contexts
from haechi.services.ngsi_ld.snapshots import COLLECTIONS as SNAPSHOTS
from haechi.services.ngsi_ld.snapshots import Shelf
from haechi.services.registrations.copies import Copies
from haechi.services.registrations.registry import COLLECTIONS as REGISTRATIONS
from haechi.services.registrations.registry import Registry
from haechi.services.registrations.sources import AllSources, Incoming, Outgoing
from haechi.services.registrations.sources import Sources as ContextSources
from haechi.services.registrations.watch import RegistrationWatch
from haechi.services.subscriptions.book import COLLECTIONS as SUBSCRIPTIONS
from haechi.services.subscriptions.book import Book
from haechi.services.subscriptions.model import Endpoint
from haechi.services.subscriptions.notifier import Notifier, Sources
from haechi.services.tenants.known import COLLECTIONS as TENANTS
from haechi.services.tenants.known import Tenants
from haechi.services.tenants.records import TenantRecords
from haechi.services.tenants.told import TenantNotifier

CITY = "https://gimpo.example/context.jsonld"
CITY_TERMS = {"@context": {"gimpo": "https://gimpo.example/terms#", "speed": "gimpo:speed", "Bus": "gimpo:Bus"}}


class Clock:
    """Moves a second each time it is asked."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        await asyncio.sleep(0.01)  # others have their turn


class Api:
    """The client, and what its requests left on the log."""

    def __init__(self, store: SqliteEntities, folder: Path) -> None:
        self.store, self.clock = store, Clock()
        self.frames: list[Frame] = []
        self.served: dict[str, bytes] = {}
        self._records = SqliteRecords(folder / "jsonld.db", COLLECTIONS)
        self.outbox = Outbox(store)
        self._context = ContextProjection(store, self.outbox)
        self.sent: list[tuple[str, dict[str, str], Any]] = []  # uri, headers, body of each notification
        self.refused: set[str] = set()  # uris that take nothing now
        self._tenants = SqliteRecords(folder / "tenants.db", TENANTS)
        self.tenants = self.reopened_tenants()
        contexts, self.book = self.tenants.contexts(""), Book(SqliteRecords(folder / "subscriptions.db", SUBSCRIPTIONS))
        self._sources = Sources(self.book, store, store, self.tenants.contexts, self._send, self.clock, self._seen)
        self.notifier = self.reopened_notifier()
        self._ends = SqliteRecords(folder / "ends.db", ENDS)
        self.expiry = self.reopened_expiry(store)
        self.asked: list[Outgoing] = []  # of other context sources
        self.answers: dict[str, tuple[int, Any]] = {}  # method and URL before its ? -> status and body
        self._registrations = SqliteRecords(folder / "registrations.db", REGISTRATIONS)
        self.every_source = AllSources(self._made_sources, lambda: [""])
        self.every_source.begin()
        services = NgsiServices(
            store,
            self._write,
            self.clock,
            contexts,
            self.notifier,
            self._watched_anew,
            self.tenants,
            self.expiry,
            Shelf(SqliteRecords(folder / "snapshots.db", SNAPSHOTS), SnapshotFiles(folder / "snapshots", self.clock)),
            sources=self.every_source.of(""),
            every_source=self.every_source,
        )
        self.services = services
        faces = Faces(services)
        below = Mount("/ngsi-ld/v1", app=application(faces))
        app = Starlette(routes=[below, remote.route(faces)])
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://haechi/ngsi-ld/v1/")

    async def _send(self, endpoint: Endpoint, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
        if endpoint.uri in self.refused:
            raise Unavailable("nobody listens there")
        self.sent.append((endpoint.uri, dict(headers), orjson.loads(body)))

    def _made_sources(self, tenant: str) -> ContextSources:
        registry = Registry(TenantRecords(self._registrations, tenant, self.tenants.ensure))
        name, own = f"haechi-here-{tenant}" if tenant else "haechi-here", self.tenants.contexts(tenant)
        watch = RegistrationWatch(registry, own, self._send, self.clock)
        told, ids = TenantNotifier(self.notifier, tenant, self.tenants.ensure), count(1)
        copies = Copies(registry, told.all, (own, self._ask, self.clock), (name, lambda: f"{tenant}{next(ids)}"))
        return ContextSources(registry, watch, copies, self._ask, name)

    async def _ask(self, asked: Outgoing) -> Incoming:
        self.asked.append(asked)
        key = f"{asked.method} {asked.url.partition('?')[0]}"
        if key not in self.answers:
            raise Unavailable("nobody listens there")
        status, body = self.answers[key]
        content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return Incoming(status, {}, content)

    async def _seen(self, number: int) -> None:
        self.outbox.seen = number

    async def _watched_anew(self) -> None:
        self.outbox.interest = self.book.interest()

    def reopened_notifier(self) -> Notifier:
        """As after a restart."""
        return Notifier(self._sources)

    def reopened_sources(self) -> Copies:
        """As after a restart, before they begin."""
        return self._made_sources("").copies

    def reopened_expiry(self, store: SqliteEntities) -> Expiry:
        """As after a restart."""
        return Expiry(store, self._write, self._ends, self.clock)

    def reopened_tenants(self) -> Tenants:
        """As after a restart."""
        return Tenants(self._tenants, self.clock, self._records, self._contexts)

    def reopened_contexts(self) -> Contexts:
        """As another process would read them."""
        return self.reopened_tenants().contexts("")

    def _contexts(self, own: RecordStore) -> Contexts:
        ids = map(str, count(1))
        return Contexts(own, self._download, self.clock, lambda: next(ids), {CITY: CITY_TERMS})

    async def _download(self, url: str) -> bytes:
        if url not in self.served:
            raise Unavailable("nothing is served there")
        return self.served[url]

    async def _write(self, frame: Frame) -> None:
        self.frames.append(frame)
        self._apply("entity", frame)

    def _apply(self, subject: str, frame: Frame) -> None:
        record = Record(self._context.position() + 1, subject, encode(frame), to_us(self.clock.at))
        self._context.apply([record], self.clock.at)

    def device(self, *rows: Observation) -> None:
        """Observations as ingest writes them."""
        self._apply("obs", Frame(observations=to_batch(list(rows))))

    @property
    def observed(self) -> list[Observation]:
        """What the last request implied."""
        return from_batch(self.frames[-1].observations)

    async def make(self, id: str, type: str = "Building", **attributes: Any) -> str:
        """Creates an entity; attributes in any representation."""
        urn = id if ":" in id else f"urn:ngsi-ld:{type}:{id}"
        response = await self.http.post("entities", json={"id": urn, "type": type, **attributes})
        assert response.status_code == 201, response.text
        return urn

    async def get(self, id: str, **parameters: str) -> Any:
        response = await self.http.get(f"entities/{id}", params=parameters)
        assert response.status_code == 200, response.text
        return response.json()

    async def ids(self, **parameters: str) -> list[str]:
        """Last parts of the ids that a query finds."""
        response = await self.http.get("entities", params={"limit": "1000", **parameters})
        assert response.status_code == 200, response.text
        return [one["id"].rpartition(":")[2] for one in response.json()]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    store = SqliteEntities(tmp_path / "context.db")
    opened = Api(store, tmp_path)
    yield opened
    await opened.http.aclose()
    await opened.every_source.close()
    store.close()


def problem(response: httpx.Response, status: int, name: str) -> str:
    """Checks ProblemDetails (clause 5.5.3) and returns what it tells people to do."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    assert body["type"] == f"https://uri.etsi.org/ngsi-ld/errors/{name}"
    assert body["status"] == status
    assert body["title"]
    assert len(body["detail"]) > 10
    return str(body["detail"])
