"""Temporal evolution of entities: what is written (clauses 5.6.11 to 5.6.16), from the tail and from files."""

from typing import Any

import pytest
from conftest_ngsi import problem
from conftest_temporal import Evolving, at, us, values

from haechi.core.observation import Observation
from haechi.ports import SeriesQuery

BUS = "urn:ngsi-ld:Bus:1"
OTHER = "urn:ngsi-ld:Dataset:other"
EVER = {"timerel": "after", "timeAt": "2000-01-01T00:00:00Z"}


def plain(instances: list[dict[str, Any]]) -> list[tuple[Any, str]]:
    """Value and instant of each."""
    return [(one["value"], one["observedAt"]) for one in instances]


@pytest.mark.parametrize("settled", [False, True])
async def test_what_is_recorded_is_read_back_in_order_of_time_007_01_020_01(evolving: Evolving, settled: bool) -> None:
    name = [{"type": "LanguageProperty", "languageMap": {"ko": "버스"}, "observedAt": at(1)}]
    await evolving.record(BUS, speed=values((80, 5), (120, 3)), name=name)
    if settled:
        evolving.settle()
    found = await evolving.get(f"/{BUS}")
    assert plain(found["speed"]) == [(120, at(3)), (80, at(5))]
    assert found["name"][0]["languageMap"] == {"ko": "버스"}
    assert len({one["instanceId"] for one in found["speed"]}) == 2


@pytest.mark.parametrize("settled", [False, True])
async def test_an_instance_at_the_same_instant_replaces_and_types_unite_008_01_5611_01(
    evolving: Evolving, settled: bool
) -> None:
    await evolving.record(BUS, speed=values((120, 3)))
    if settled:
        evolving.settle()
    await evolving.record(BUS, 204, type=["Bus", "Vehicle"], speed=values((121, 3), (90, 4)))
    found = await evolving.get(f"/{BUS}")
    assert plain(found["speed"]) == [(121, at(3)), (90, at(4))]
    assert found["type"] == ["Bus", "Vehicle"]


async def test_a_device_and_the_console_share_one_history_with_the_interface(evolving: Evolving) -> None:
    evolving.device(Observation(BUS, "speed", us(1), us(1), value=40.0, link="mqtt"))
    await evolving.record(BUS, 204, speed=values((50, 2)))
    assert plain((await evolving.get(f"/{BUS}"))["speed"]) == [(40, at(1)), (50, at(2))]
    asked = SeriesQuery((BUS,), ("speed",), us(0), us(9))
    assert evolving.tail.series(asked).column("value").to_pylist() == [40.0, 50.0]
    newest = await evolving.api.get(BUS)
    assert newest["speed"]["value"] == 50
    await evolving.record(BUS, 204, speed=values((1, 0)))  # late: history takes it, the live model stays
    assert (await evolving.api.get(BUS))["speed"]["value"] == 50


@pytest.mark.parametrize("settled", [False, True])
async def test_a_deleted_evolution_is_gone_and_may_begin_anew_with_the_same_values_009_01(
    evolving: Evolving, settled: bool
) -> None:
    await evolving.record(BUS, speed=values((7, 1)))
    if settled:
        evolving.settle()
    assert (await evolving.http.delete(f"temporal/entities/{BUS}")).status_code == 204
    await evolving.get(f"/{BUS}", 404)
    problem(await evolving.http.delete(f"temporal/entities/{BUS}"), 404, "ResourceNotFound")
    assert evolving.tail.series(SeriesQuery((BUS,), (), us(0), us(9))).num_rows == 0
    assert (await evolving.http.get(f"entities/{BUS}")).status_code == 404  # nothing but its history ever said it was
    await evolving.record(BUS, speed=values((7, 1)))
    assert plain((await evolving.get(f"/{BUS}"))["speed"]) == [(7, at(1))]
    evolving.settle()
    assert plain((await evolving.get(f"/{BUS}"))["speed"]) == [(7, at(1))]
    assert evolving.tail.series(SeriesQuery((BUS,), (), us(0), us(9))).num_rows == 1


async def test_deleting_the_evolution_leaves_what_is_true_now(evolving: Evolving) -> None:
    await evolving.http.post("entities", json={"id": BUS, "type": "Bus", "speed": 5})
    assert (await evolving.http.delete(f"temporal/entities/{BUS}")).status_code == 204
    assert (await evolving.api.get(BUS))["speed"]["value"] == 5
    await evolving.get(f"/{BUS}", 404)


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize(
    ("which", "left"), [({}, [(3, OTHER)]), ({"datasetId": OTHER}, [(1, None), (2, None)]), ({"deleteAll": "true"}, [])]
)
async def test_an_attribute_is_taken_back_by_dataset_or_whole_015_01(
    evolving: Evolving, settled: bool, which: dict[str, str], left: list[tuple[int, str | None]]
) -> None:
    other = {**values((3, 3))[0], "datasetId": OTHER}
    await evolving.record(BUS, speed=[*values((1, 1), (2, 2)), other], level=values((9, 1)))
    if settled:
        evolving.settle()
    response = await evolving.http.delete(f"temporal/entities/{BUS}/attrs/speed", params=which)
    assert response.status_code == 204, response.text
    found = await evolving.get(f"/{BUS}")
    assert [(one["value"], one.get("datasetId")) for one in found.get("speed", [])] == left
    assert found["level"][0]["value"] == 9
    again = await evolving.http.delete(f"temporal/entities/{BUS}/attrs/speed", params=which)
    problem(again, 404, "ResourceNotFound")


@pytest.mark.parametrize("settled", [False, True])
async def test_an_instance_is_corrected_and_keeps_its_name_016_01(evolving: Evolving, settled: bool) -> None:
    await evolving.record(BUS, speed=values((80, 3), (90, 4)))
    if settled:
        evolving.settle()
    id = (await evolving.get(f"/{BUS}"))["speed"][0]["instanceId"]
    path = f"temporal/entities/{BUS}/attrs/speed/{id}"
    moved = {"type": "Property", "value": 81, "observedAt": at(6)}
    assert (await evolving.http.patch(path, json=moved)).status_code == 204
    found = (await evolving.get(f"/{BUS}", options="sysAttrs"))["speed"]
    assert plain(found) == [(90, at(4)), (81, at(6))]
    assert found[1]["instanceId"] == id
    assert found[1]["createdAt"] < found[1]["modifiedAt"]
    assert (await evolving.http.patch(path, json={"value": 82})).status_code == 204
    assert plain((await evolving.get(f"/{BUS}"))["speed"]) == [(90, at(4)), (82, at(6))]
    evolving.settle()
    assert (await evolving.http.delete(path)).status_code == 204
    assert plain((await evolving.get(f"/{BUS}"))["speed"]) == [(90, at(4))]
    problem(await evolving.http.delete(path), 404, "ResourceNotFound")
    series = evolving.tail.series(SeriesQuery((BUS,), ("speed",), us(0), us(9)))
    assert series.column("value").to_pylist() == [90.0]


@pytest.mark.parametrize("settled", [False, True])
async def test_what_the_core_interface_writes_is_history_of_every_kind(evolving: Evolving, settled: bool) -> None:
    body = {
        "id": BUS,
        "type": "Bus",
        "scope": "/old",
        "speed": {"type": "Property", "value": 1},
        "route": {"type": "Relationship", "object": "urn:ngsi-ld:Road:1"},
        "doors": {"type": "Property", "value": 2, "accuracy": {"type": "Property", "value": 0.5}},
    }
    assert (await evolving.http.post("entities", json=body)).status_code == 201
    if settled:
        evolving.settle()
    patch = {"speed": 2, "route": {"type": "Relationship", "object": "urn:ngsi-ld:Road:2"}, "scope": "/new"}
    assert (await evolving.http.patch(f"entities/{BUS}", json=patch)).status_code == 204
    found = await evolving.get(f"/{BUS}", options="sysAttrs")
    assert [one["value"] for one in found["speed"]] == [1, 2]
    assert [one["object"] for one in found["route"]] == ["urn:ngsi-ld:Road:1", "urn:ngsi-ld:Road:2"]
    assert found["doors"][0]["accuracy"]["value"] == 0.5
    scopes = found["scope"]
    assert [one["value"] for one in scopes] == ["/old", "/new"]  # 456_01
    assert all(one["observedAt"] == one["modifiedAt"] for one in scopes)
    unstated = await evolving.get(f"/{BUS}", timerel="after", timeAt="2000-01-01T00:00:00Z")
    assert "speed" not in unstated  # it was said without an observedAt


async def test_a_merge_of_one_text_is_an_instance_with_all_of_them(evolving: Evolving) -> None:
    body = {"id": BUS, "type": "Bus", "name": {"type": "LanguageProperty", "languageMap": {"ko": "버스", "en": "bus"}}}
    await evolving.http.post("entities", json=body)
    part = {"name": {"type": "LanguageProperty", "languageMap": {"en": "coach"}}}
    assert (await evolving.http.patch(f"entities/{BUS}", json=part)).status_code == 204
    found = (await evolving.get(f"/{BUS}"))["name"]
    assert [one["languageMap"] for one in found] == [{"ko": "버스", "en": "bus"}, {"ko": "버스", "en": "coach"}]


@pytest.mark.parametrize("settled", [False, True])
async def test_what_was_deleted_is_read_by_deletedat_020_17_020_18(evolving: Evolving, settled: bool) -> None:
    await evolving.record(
        BUS,
        scope=["/a"],
        speed=values((1, 1)),
        route=[{"type": "Relationship", "object": "urn:ngsi-ld:Road:1", "observedAt": at(1)}],
    )
    assert (await evolving.http.delete(f"entities/{BUS}/attrs/speed")).status_code == 204
    if settled:
        evolving.settle()
    found = await evolving.get(f"/{BUS}", timeproperty="deletedAt")
    assert set(found) == {"id", "type", "speed"}
    assert found["speed"][0]["value"] == "urn:ngsi-ld:null"
    assert (await evolving.http.delete(f"entities/{BUS}")).status_code == 204
    pairs = await evolving.get(f"/{BUS}", timeproperty="deletedAt", options="temporalValues")
    assert pairs["route"]["objects"][0] == ["urn:ngsi-ld:null", pairs["route"]["objects"][0][1]]
    assert pairs["scope"]["values"][0][0] == []
    assert plain((await evolving.get(f"/{BUS}"))["speed"]) == [(1, at(1))]  # what was, stays


async def test_a_new_instance_does_not_bring_back_an_entity_that_is_no_more(evolving: Evolving) -> None:
    await evolving.record(BUS, speed=values((1, 1)))
    await evolving.http.delete(f"entities/{BUS}")
    response = await evolving.http.post(f"temporal/entities/{BUS}/attrs", json={"speed": values((2, 2))})
    assert response.status_code == 204
    assert plain((await evolving.get(f"/{BUS}"))["speed"]) == [(1, at(1)), (2, at(2))]
    assert (await evolving.http.get(f"entities/{BUS}")).status_code == 404


async def test_a_restart_finds_all_of_it_in_the_log_and_files_say_it_once(evolving: Evolving) -> None:
    await evolving.record(
        BUS, speed=values((1, 1)), route=[{"type": "Relationship", "object": BUS, "observedAt": at(1)}]
    )
    evolving.settle()
    evolving.writer.apply(evolving.records, evolving.api.clock.now())  # the log again, as after a kill
    evolving.writer.flush()
    evolving.tail.refresh()
    found = await evolving.get(f"/{BUS}")
    assert len(found["speed"]) == len(found["route"]) == 1
    assert evolving.store.instances.files.files[0].rows == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"type": "Bus"}, 400),
        ({"id": "x", "type": "Bus"}, 400),
        ({"id": BUS}, 400),
        ({"id": BUS, "type": "Bus", "speed": [{"type": "Property", "observedAt": at(1)}]}, 400),
        ({"id": BUS, "type": "Bus", "speed": [{"type": "Property", "value": 1, "observedAt": "yesterday"}]}, 400),
        ({"id": BUS, "type": "Bus", "expiresAt": "urn:ngsi-ld:null", "speed": values((1, 1))}, 400),
        ([], 400),
    ],
)
async def test_what_is_no_evolution_is_refused_and_nothing_is_kept_007_03_5611_02(
    evolving: Evolving, body: Any, status: int
) -> None:
    response = await evolving.http.post("temporal/entities", json=body)
    assert response.status_code == status, response.text
    assert evolving.records == []
    await evolving.get(f"/{BUS}", 404)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "bad/attrs/speed", 400),
        ("DELETE", f"{BUS}/attrs/in(valid", 400),
        ("DELETE", f"{BUS}/attrs/speed", 404),
        ("DELETE", f"{BUS}/attrs/speed/bad", 400),
        ("DELETE", f"{BUS}/attrs/speed/urn:ngsi-ld:Instance:1", 404),
        ("PATCH", f"{BUS}/attrs/speed/", 405),
        ("GET", "bad", 400),
        ("GET", BUS, 404),
    ],
)
async def test_paths_that_lead_nowhere_say_why_015_02_016_02_017_02(
    evolving: Evolving, method: str, path: str, status: int
) -> None:
    response = await evolving.http.request(method, f"temporal/entities/{path}", json={} if method == "PATCH" else None)
    assert response.status_code == status, response.text
