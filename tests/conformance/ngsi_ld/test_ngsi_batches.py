"""Large batches (clauses 5.6.7 to 5.6.10): the same as their members one by one, and others have their turn."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest_ngsi import CITY, Api

from haechi.plugins.stores.sqlite.entities import SqliteEntities

LD = {"Content-Type": "application/ld+json"}


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Api]:
    folder = tmp_path / "other"
    folder.mkdir()
    store = SqliteEntities(folder / "context.db")
    opened = Api(store, folder)
    yield opened
    await opened.http.aclose()
    store.close()


def _attribute(chance: random.Random) -> Any:
    return chance.choice(
        [
            {"type": "Property", "value": chance.randrange(9)},
            {"type": "Property", "value": chance.random(), "unitCode": "CEL"},
            {"type": "Property", "value": "word", "observedAt": f"2026-11-22T09:00:0{chance.randrange(9)}Z"},
            {"type": "Property", "value": {"a": [1, 2]}},
            {"type": "Property", "value": 1, "datasetId": f"urn:d:{chance.randrange(2)}"},
            {"type": "Property", "value": 1, "accuracy": {"type": "Property", "value": 2}},
            {"type": "Relationship", "object": f"urn:x:{chance.randrange(3)}"},
            {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [126.7, 37.6]}},
            {"type": "LanguageProperty", "languageMap": {"ko": "수위"}},
            [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}],
            {"type": "Property", "value": None},
            {"type": "Relationship", "object": "no uri"},
            5,
            "text",
        ]
    )


def _member(chance: random.Random) -> dict[str, Any]:
    names = chance.sample(["speed", "level", "owner", "value2", "no name"], chance.choice([1, 2, 2, 3]))
    attributes = {name: _attribute(chance) for name in names if name != "no name" or chance.random() < 0.1}
    id = f"urn:ngsi-ld:Bus:{chance.randrange(40)}" if chance.random() < 0.97 else "no uri"
    head: dict[str, Any] = {"id": id, "type": chance.choice(["Bus", "Bus", "Bus", ["Bus", "Tram"], "no type"])}
    if chance.random() < 0.2:
        head["scope"] = chance.choice(["/gimpo/janggi", "gimpo"])
    return {**head, **attributes}


async def _entities(api: Api) -> Any:
    found = await api.http.get("entities", params={"type": "Bus,Tram", "limit": "1000"})
    assert found.status_code == 200
    return sorted(found.json(), key=lambda one: str(one["id"]))


@pytest.mark.parametrize(
    ("operation", "seed"), [("upsert", 1), ("upsert?options=update", 2), ("create", 3), ("update", 4), ("merge", 5)]
)
async def test_a_batch_does_what_its_members_do_one_after_the_other(
    api: Api, other: Api, operation: str, seed: int
) -> None:
    chance = random.Random(seed)
    known = [{"id": f"urn:ngsi-ld:Bus:{number}", "type": "Bus", "speed": 1} for number in range(0, 40, 2)]
    members = [_member(chance) for _ in range(60)]
    for one in (api, other):
        assert (await one.http.post("entityOperations/upsert", json=known)).status_code == 201
    whole = await api.http.post(f"entityOperations/{operation}", json=members)
    assert whole.status_code == 207, whole.text
    failed: list[Any] = []
    for member in members:
        single = await other.http.post(f"entityOperations/{operation}", json=[member])
        failed += single.json()["errors"] if single.status_code == 207 else []
    together = [(one["entityId"], one["error"]["type"]) for one in whole.json()["errors"]]
    assert sorted(together) == sorted((one["entityId"], one["error"]["type"]) for one in failed)
    assert await _entities(api) == await _entities(other)


async def test_a_large_batch_leaves_others_their_turn(api: Api) -> None:
    members = [{"id": f"urn:ngsi-ld:Bus:{number}", "type": "Bus", "speed": number} for number in range(3_000)]
    sending = asyncio.create_task(api.http.post("entityOperations/upsert", json=members))
    turns = 0
    while not api.frames:  # until it is on its way to the log
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 20
    answer = await sending
    assert answer.status_code == 201
    assert answer.json() == [one["id"] for one in members]
    assert len(api.frames[0].commands) == 3_000
    assert len({one.id for one in api.frames[0].commands}) == 3_000
    assert api.frames[0].observations.num_rows == 3_000


async def test_an_upsert_keeps_when_an_entity_was_created_and_says_when_it_changed(api: Api) -> None:
    members = [{"id": f"urn:ngsi-ld:Bus:{number}", "type": "Bus", "speed": number} for number in range(30)]
    assert (await api.http.post("entityOperations/upsert", json=members)).status_code == 201
    before = await api.get("urn:ngsi-ld:Bus:7", options="sysAttrs")
    assert (await api.http.post("entityOperations/upsert", json=members)).status_code == 204
    after = await api.get("urn:ngsi-ld:Bus:7", options="sysAttrs")
    assert after["createdAt"] == before["createdAt"]
    assert after["modifiedAt"] > before["modifiedAt"]


async def test_members_in_the_same_terms_look_their_context_up_once(api: Api) -> None:
    await api.http.post(
        "entityOperations/upsert",
        headers=LD,
        json=[
            {"@context": CITY, "id": f"urn:ngsi-ld:Bus:{number}", "type": "Bus", "speed": number}
            for number in range(30)
        ],
    )
    found = await api.http.get("jsonldContexts", params={"details": "true"})
    assert [one["numberOfHits"] for one in found.json() if one["URL"] == CITY] == [1]
    assert "https://gimpo.example/terms#speed" in (await api.get("urn:ngsi-ld:Bus:7"))


async def test_only_members_whose_context_cannot_be_had_are_refused(api: Api) -> None:
    contexts = [CITY, "https://nowhere.example/c.jsonld", {"speed": "urn:x:speed"}]
    members = [
        {"@context": contexts[number % 3], "id": f"urn:ngsi-ld:Bus:{number}", "type": "Bus", "speed": number}
        for number in range(9)
    ]
    answer = await api.http.post("entityOperations/upsert", headers=LD, json=members)
    assert answer.status_code == 207
    assert [one["entityId"] for one in answer.json()["errors"]] == [f"urn:ngsi-ld:Bus:{one}" for one in (1, 4, 7)]
    assert len(answer.json()["success"]) == 6
