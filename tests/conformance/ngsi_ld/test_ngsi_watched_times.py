"""temporalQ of subscriptions (clauses 4.11, 5.2.12, 5.2.21, 5.11.7; ETSI cases 047_08, 047_10, 047_11)."""

import asyncio
from typing import Any

import pytest
from conftest_ngsi import Api, problem

WATCHER = "http://watcher.example/"
LAST_YEAR = {"startAt": "2025-01-01T00:00:00Z", "endAt": "2025-12-31T00:00:00Z"}
SINCE_SPRING = {"startAt": "2026-03-01T00:00:00Z"}
BUSES: dict[str, Any] = {
    "id": "urn:ngsi-ld:Subscription:w",
    "type": "Subscription",
    "entities": [{"type": "Bus"}],
    "notification": {"endpoint": {"uri": WATCHER}},
}
REGISTERED: dict[str, dict[str, Any]] = {
    "now": {},
    "observed-last-year": {"observationInterval": LAST_YEAR},
    "observed-since-spring": {"observationInterval": SINCE_SPRING},
    "kept-since-spring": {"managementInterval": SINCE_SPRING},
}


async def _registered(api: Api, name: str, **members: Any) -> None:
    body = {
        "id": f"urn:ngsi-ld:ContextSourceRegistration:{name}",
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": "Bus"}]}],
        "endpoint": "http://elsewhere.example",
    }
    assert (await api.http.post("csourceRegistrations", json={**body, **members})).status_code == 201


async def _told(api: Api, count: int) -> list[tuple[str, list[str]]]:
    """Reasons and registrations, once there are so many notifications."""
    async with asyncio.timeout(30):
        while len(api.sent) < count:  # noqa: ASYNC110 - what is waited for is a list
            await asyncio.sleep(0.01)
    return [
        (body["triggerReason"], sorted(one["id"].rpartition(":")[2] for one in body["data"])) for *_, body in api.sent
    ]


@pytest.mark.parametrize(
    ("moments", "found"),
    [
        (None, ["now"]),
        ({"timerel": "before", "timeAt": "2025-06-01T00:00:00Z"}, ["observed-last-year"]),
        ({"timerel": "after", "timeAt": "2026-05-01T00:00:00Z"}, ["observed-since-spring"]),
        (
            {"timerel": "between", "timeAt": "2025-12-01T00:00:00Z", "endTimeAt": "2026-04-01T00:00:00Z"},
            ["observed-last-year", "observed-since-spring"],
        ),
        ({"timerel": "after", "timeAt": "2026-05-01T00:00:00Z", "timeproperty": "createdAt"}, ["kept-since-spring"]),
        ({"timerel": "after", "timeAt": "2026-05-01T00:00:00Z", "timeproperty": "modifiedAt"}, ["kept-since-spring"]),
    ],
)
async def test_who_watches_sources_of_a_time_is_told_of_those_whose_interval_meets_it_047_08_047_10_047_11(
    api: Api, moments: dict[str, str] | None, found: list[str]
) -> None:
    for name, members in REGISTERED.items():
        await _registered(api, name, **members)
    body = BUSES if moments is None else {**BUSES, "temporalQ": moments}
    assert (await api.http.post("csourceSubscriptions", json=body)).status_code == 201
    assert await _told(api, 1) == [("newlyMatching", found)]


async def test_a_source_whose_interval_changes_comes_and_goes_5_11_7(api: Api) -> None:
    moments = {"timerel": "after", "timeAt": "2026-05-01T00:00:00Z"}
    assert (await api.http.post("csourceSubscriptions", json={**BUSES, "temporalQ": moments})).status_code == 201
    await _registered(api, "one", observationInterval=LAST_YEAR)
    path = "csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:one"
    for interval in (SINCE_SPRING, LAST_YEAR):
        assert (await api.http.patch(path, json={"observationInterval": interval})).status_code == 204
    assert await _told(api, 2) == [("newlyMatching", ["one"]), ("noLongerMatching", ["one"])]


@pytest.mark.parametrize("path", ["subscriptions", "csourceSubscriptions"])
@pytest.mark.parametrize(
    "moments",
    [
        "after",
        {},
        {"timerel": "after"},
        {"timerel": "sideways", "timeAt": "2026-05-01T00:00:00Z"},
        {"timerel": "after", "timeAt": "yesterday"},
        {"timerel": "between", "timeAt": "2026-05-01T00:00:00Z"},
        {"timerel": "after", "timeAt": "2026-05-01T00:00:00Z", "timeproperty": "birthday"},
    ],
)
async def test_a_time_that_makes_no_sense_is_refused_5_2_21(api: Api, path: str, moments: Any) -> None:
    problem(await api.http.post(path, json={**BUSES, "temporalQ": moments}), 400, "BadRequestData")


async def test_a_change_is_told_when_it_happens_whatever_time_its_subscription_names_5_8_6(api: Api) -> None:
    moments = {"timerel": "before", "timeAt": "2020-01-01T00:00:00Z"}
    assert (await api.http.post("subscriptions", json={**BUSES, "temporalQ": moments})).status_code == 201
    kept = await api.http.get("subscriptions/urn:ngsi-ld:Subscription:w")
    assert kept.json()["temporalQ"] == moments
    loading = asyncio.create_task(api.notifier.run())
    try:
        await api.make("1", "Bus", speed=40)
        async with asyncio.timeout(30):
            while not api.sent:  # noqa: ASYNC110 - what is waited for is a list
                await asyncio.sleep(0.01)
    finally:
        loading.cancel()
    assert api.sent[0][2]["data"][0]["id"] == "urn:ngsi-ld:Bus:1"
