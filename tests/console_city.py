"""A small real city behind the console's face: stores on disk, uvicorn on a free port. Used by the console's tests."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvicorn
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.middleware import Middleware

from haechi import registry
from haechi.core.times import to_us
from haechi.faces.console.live import LiveHub
from haechi.faces.console.routes import files, routes
from haechi.faces.console.services import ConsoleServices
from haechi.faces.console.shapes import domain_of_entity
from haechi.faces.console.socket import AbortableWebSocket
from haechi.faces.console.static import is_public
from haechi.faces.guard import Guard, SecurityHeaders
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Change
from haechi.services import commands
from haechi.services.cities.city import Around, load_city
from haechi.services.cities.model import City
from haechi.services.commands import CommandReader
from haechi.services.users import accounts
from haechi.services.users.passwords import Passwords

PASSWORD = "correct horse"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
AT = 1_795_338_000_000_000  # 2026-11-22T09:00:00Z
SENSOR = "urn:ngsi-ld:WaterPressureSensor:gimpo:P-017"
STATION = "urn:ngsi-ld:AirQualityObserved:gimpo:A-01"
CITY = """
id = "gimpo"
name = { ko = "김포시", zh = "金浦市", en = "Gimpo" }
country = "KR"
time_zone = "Asia/Seoul"
languages = ["ko", "zh", "en"]
domains = ["water", "air", "weather", "safety"]
simulated = true
frame = { west = 126.5, south = 37.55, east = 126.8, north = 37.75, srid = 4326 }
centre = [126.70, 37.64]
zoom = 12.5

[[map]]
id = "roads"
file = "map/roads.geojson"
role = "road"
synthetic = true
attribution = "made up"
"""

FILES = {
    "facilities/water.ndjson": orjson.dumps(
        {
            "id": SENSOR,
            "type": "WaterPressureSensor",
            "name": {"languageMap": {"ko": "수압계", "zh": "水压计", "en": "Sensor"}},
            "location": {"type": "Point", "coordinates": [126.70, 37.64]},
        }
    ).decode(),
    "devices.csv": f"device,channel,link,entity\nP-017,,water-mqtt,{SENSOR}\n",
    "links/water-mqtt.toml": 'adapter = "mqtt"\ncodec = "json"\n[settings]\nport = 1883\n'
    '[[map]]\nfield = "pressure"\nattribute = "pressure"\nunit = "KPA"\n',
}


def write_city(folder: Path) -> City:
    """A city package with one sensor on one link, read as `haechi run` reads it."""
    for name in ("map", "facilities", "links"):
        (folder / name).mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text, "utf-8")
    (folder / "city.toml").write_text(CITY, "utf-8")
    (folder / "map/roads.geojson").write_text('{"type": "FeatureCollection", "features": []}', "utf-8")
    return load_city(folder, Around({name: registry.folder("domain", name) for name in registry.names("domain")}))


def entity(id: str, lon: float, lat: float, **values: tuple[float, str]) -> dict[str, Any]:
    """A stored entity (docs/reference/log.md) with observed values of `(value, unit)`."""
    kind, short = id.split(":")[2], id.rsplit(":", 1)[-1]
    names = {"ko": f"{short} 시설", "zh": f"{short} 设施", "en": f"Facility {short}"}
    attrs: dict[str, Any] = {
        "name": [{"type": "LanguageProperty", "languageMap": names}],
        "location": [{"type": "GeoProperty", "value": {"type": "Point", "coordinates": [lon, lat]}}],
    }
    for name, (value, unit) in values.items():
        attrs[name] = [{"type": "Property", "value": value, "unitCode": unit, "observedAt": AT, "quality": 1}]
    return {"id": id, "type": [kind], "scope": [], "createdAt": AT, "modifiedAt": AT, "attrs": attrs}


def facilities() -> dict[str, dict[str, Any]]:
    """Two sensors in two domains, and five cameras ever further east of the first."""
    found = {
        SENSOR: entity(SENSOR, 126.70, 37.64, pressure=(412.3, "KPA")),
        STATION: entity(STATION, 126.65, 37.60, pm25=(31.0, "GQ")),
    }
    for number in range(5):
        camera = f"urn:ngsi-ld:Camera:gimpo:C-{number}"
        found[camera] = entity(camera, 126.70 + 0.001 * (number + 1), 37.64)
    return found


def alarm(id: str, **changed: Any) -> dict[str, Any]:
    """An alarm as watch stores it."""
    return {
        "id": id, "rule": "water.pressure_low", "domain": "water", "level": "serious", "state": "unacknowledged",
        "open": True, "condition_active": True, "acknowledged": False, "entity": SENSOR,
        "entity_name": {"ko": "수압계", "zh": "水压计", "en": "Sensor"}, "place": None, "location": [126.70, 37.64],
        "text": {"ko": "낮음", "zh": "偏低", "en": "low"}, "attribute": "pressure", "value": 80.0, "unit": "KPA",
        "limit": 100.0, "count": 1, "raised_at": AT, "changed_at": AT, "cleared_at": None, "acknowledged_by": None,
        "acknowledged_at": None, "shelved_until": None, "shelve_reason": None, "playbook": "water.burst",
        "peak_level": "serious", "group": "water.pressure_low", **changed,
    }  # fmt: skip


ASIDE = ("shelved", "suppressed", "out_of_service")


class Records:
    """Alarms and incidents over a real record store, changed by the commands a test sends."""

    def __init__(self, store: SqliteRecords) -> None:
        self.store = store
        self.commands: list[dict[str, Any]] = []
        self.refuse: Exception | None = None

    def put(self, collection: str, *documents: Mapping[str, Any]) -> None:
        self.store.commit([Change(collection, one["id"], one) for one in documents])

    def alarms(self, state: str, limit: int) -> Sequence[Mapping[str, Any]]:
        states = (state,) if state in ASIDE else ("unacknowledged", "acknowledged", "returned_unacknowledged")
        return self.store.find("alarms", {"state": ("normal",) if state == "history" else states}, "-changed_at", limit)

    def alarms_of(self, entity: str) -> Sequence[Mapping[str, Any]]:
        return self.store.find("alarms", {"entity": entity})

    def alarm(self, id: str) -> Mapping[str, Any] | None:
        return self.store.get("alarms", id)

    def transitions(self, id: str) -> Sequence[Mapping[str, Any]]:
        return self.store.find("transitions", {"alarm": id})

    def counts(self) -> Mapping[str, Any]:
        return {"serious": len(self.store.find("alarms", {"state": "unacknowledged"})), "flood": False}

    def incidents(self, state: str, limit: int) -> Sequence[Mapping[str, Any]]:
        return self.store.find("incidents", {} if state == "all" else {"state": state}, "id", limit)

    def incident(self, id: str) -> Mapping[str, Any] | None:
        return self.store.get("incidents", id)

    async def command(self, command: dict[str, Any]) -> dict[str, Any]:
        self.commands.append(command)
        if self.refuse:
            raise self.refuse
        if command["kind"] == "incident.open":
            document = {"id": "I-1", "number": 1, "state": "open", "phase": "assess", "alarms": command["alarms"]}
            self.put("incidents", {**document, "playbook": "water.burst", "steps": [], "timeline": [], "opened_at": AT})
            return {"id": "I-1"}
        return {}


class Held:
    """The account of one link and one held message."""

    def __init__(self) -> None:
        self.replayed: list[tuple[Any, Any]] = []

    async def account(self) -> Mapping[str, Any]:
        return {"balanced": True, "links": {}, "behind": {"context": 0}}

    def quarantine(self, link: str | None, limit: int) -> Sequence[Mapping[str, Any]]:
        return [{"id": "q1", "link": link or "water-mqtt", "received_at": AT, "reason": "malformed"}][:limit]

    async def replay(self, ids: Sequence[str] | None, link: str | None) -> Mapping[str, Any]:
        self.replayed.append((ids, link))
        return {"replayed": 1, "still_quarantined": 0}


@dataclass
class Console:
    """The application and what a test looks at behind it."""

    app: Starlette
    services: ConsoleServices
    records: Records
    held: Held

    async def token(self, user: str) -> str:
        """Logs in a user that has the role of its name."""
        return (await self.services.accounts.login(user, PASSWORD, "test"))[1]


class NoHistory:
    """Stands where no test asks history."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"history was asked for {name}")


async def build(folder: Path, clock: Any, ui: Path | None = None, **changed: Any) -> Console:
    """The console over stores in `folder`, with a user for each role."""
    city = write_city(folder / "city")
    entities = SqliteEntities(folder / "context.db")
    entities.apply(facilities(), 1)
    users = SqliteRecords(folder / "users.db", accounts.COLLECTIONS)
    tokens = (f"token-{number}" for number in itertools.count())
    people = accounts.Accounts(users, clock, lambda: next(tokens), Passwords(QUICK))
    for role in accounts.ROLES:
        await people.add(role, PASSWORD, role)
    fields = {"alarms": ("state", "changed_at", "entity"), "transitions": ("alarm",), "incidents": ("state",)}
    records, held = Records(SqliteRecords(folder / "alarms.db", fields)), Held()
    ids = itertools.count(1)

    async def healthy() -> Mapping[str, Any]:
        return {"status": "ok", "checks": {}}

    async def alive() -> Mapping[str, Any]:
        return {"roles": {"api": {"rss_bytes": 1.0}}}

    services = ConsoleServices(
        city=city,
        clock=clock,
        accounts=people,
        hub=LiveHub(lambda one: domain_of_entity(city, one), lambda: to_us(clock.now())),
        entities=entities,
        alarms=records,
        incidents=records,
        commands=CommandReader(SqliteRecords(folder / "commands.db", commands.COLLECTIONS), commands.setpoints(city)),
        history=NoHistory(),
        account=held,
        playbook=lambda id: {"id": id, "name": {"ko": "절차"}, "steps": []},
        rule=lambda id: {"id": id, "provenance": {"version": "1"}},
        command=records.command,
        health=healthy,
        vitals=alive,
        new_id=lambda: f"command-{next(ids)}",
    )
    services = replace(services, **changed)
    return Console(assemble(services, ui), services, records, held)


def assemble(services: ConsoleServices, ui: Path | None = None) -> Starlette:
    """The routes behind the guard, as the api role joins them."""
    guard = Middleware(Guard, who=services.accounts.who, is_public=is_public)
    return Starlette(routes=[*routes(services), *files(ui)], middleware=[Middleware(SecurityHeaders), guard])


def client(console: Console, token: str | None = None, **headers: str) -> httpx.AsyncClient:
    """An HTTP client without a network; with a token it is a program, not a browser."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    transport = httpx.ASGITransport(console.app, client=("192.0.2.7", 40000))
    return httpx.AsyncClient(transport=transport, base_url="http://console.test", headers=headers)


@contextlib.asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Serves it on a free port of this machine; yields `127.0.0.1:port`."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, ws=AbortableWebSocket, ws_per_message_deflate=False, log_level="warning", lifespan="off"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.01)
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
