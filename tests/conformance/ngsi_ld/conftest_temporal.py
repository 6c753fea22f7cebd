"""The temporal API over a real Iceberg table and its tail: what the face writes is absorbed as the log brings it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest_ngsi import Api
from starlette.applications import Starlette
from starlette.routing import Mount

from haechi.core.frame import Frame, encode
from haechi.core.observation import Observation
from haechi.core.times import parse_iso, to_us
from haechi.faces.ngsi_ld.routes import routes
from haechi.plugins.stores.iceberg.reader import IcebergFiles
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.iceberg.store import IcebergStore
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import Record
from haechi.services.history import HistoryTail, HistoryWriter

QUICK = HistorySettings(synced=False)


class Evolving:
    """Client and history. `settle` commits what was written, as the writer does every twenty seconds."""

    def __init__(self, api: Api, folder: Path, most: int = 10_000) -> None:
        self.api, self._folder = api, folder
        self.store = IcebergStore(folder, QUICK)
        self.writer = HistoryWriter(self.store)
        self.tail = HistoryTail(IcebergFiles(folder, QUICK))
        self.records: list[Record] = []
        apply = api._apply

        def applied(subject: str, frame: Frame) -> None:
            apply(subject, frame)
            self._log(subject, frame)

        api._apply = applied  # type: ignore[method-assign] # whoever writes, it is on the log
        self.http = self.limited(most)

    def limited(self, most: int) -> httpx.AsyncClient:
        """A client whose answers hold no more instances."""
        services = replace(self.api.services, history=self.tail, instances_most=most)
        app = Starlette(routes=[Mount("/ngsi-ld/v1", routes=routes(services))])
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        return httpx.AsyncClient(transport=transport, base_url="http://haechi/ngsi-ld/v1/")

    def device(self, *rows: Observation) -> None:
        """Observations as ingest writes them."""
        self.api.device(*rows)

    def _log(self, subject: str, frame: Frame) -> None:
        record = Record(len(self.records) + 1, subject, encode(frame), to_us(self.api.clock.at))
        self.records.append(record)
        self.tail.absorb([record])

    def settle(self) -> None:
        """All of it into files; the tail is empty after that."""
        self.writer.apply(self.records, self.api.clock.now())
        self.writer.flush()
        self.tail.refresh()

    async def get(self, path: str, status: int = 200, **parameters: str) -> Any:
        """The body of GET /temporal/entities/… ."""
        response = await self.http.get(f"temporal/entities{path}", params=parameters)
        assert response.status_code == status, response.text
        return response.json()

    async def record(self, id: str, status: int = 201, **attributes: Any) -> str:
        """POST /temporal/entities."""
        body = {"id": id, "type": id.split(":")[2], **attributes}
        response = await self.http.post("temporal/entities", json=body)
        assert response.status_code == status, response.text
        return id

    async def close(self) -> None:
        await self.http.aclose()
        self.tail.close()
        self.store.close()


def at(minute: int) -> str:
    """An instant on the day the clock of these tests stands at."""
    return f"2026-11-22T08:{minute:02d}:00Z"


def us(minute: int) -> int:
    """The same in microseconds."""
    return parse_iso(at(minute))


def values(*pairs: tuple[Any, int]) -> list[dict[str, Any]]:
    """Instances of a Property."""
    return [{"type": "Property", "value": value, "observedAt": at(minute)} for value, minute in pairs]


@pytest.fixture
async def evolving(tmp_path: Path) -> AsyncIterator[Evolving]:
    store = SqliteEntities(tmp_path / "context.db")
    api = Api(store, tmp_path)
    opened = Evolving(api, tmp_path / "history")
    yield opened
    await opened.close()
    await api.http.aclose()
    store.close()
