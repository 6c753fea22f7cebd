"""`cacheDuration` of a registration (clause 5.2.34): what a source answered is given again while it lasts."""

from typing import Any

from conftest_ngsi import Api

from haechi.services.registrations.exchange import Incoming, Outgoing
from haechi.services.registrations.kept import KeptAnswers

BUS = "urn:ngsi-ld:Bus:1"
PEER = "http://peer.example/ngsi-ld/v1"
REGISTRATION = "urn:ngsi-ld:ContextSourceRegistration:1"


async def register(api: Api, **management: Any) -> None:
    body = {
        "id": REGISTRATION,
        "type": "ContextSourceRegistration",
        "operations": ["federationOps", "redirectionOps"],
        "information": [{"entities": [{"type": "Bus"}]}],
        "endpoint": "http://peer.example",
        "management": {"cacheDuration": "PT1M", **management},
    }
    response = await api.http.post("csourceRegistrations", json=body)
    assert response.status_code == 201, response.text


def moves(api: Api, speed: int) -> None:
    """What the source answers from now on."""
    api.answers[f"GET {PEER}/entities/{BUS}"] = (200, {"id": BUS, "type": "Bus", "speed": {"value": speed}})


async def speed(api: Api, **headers: str) -> Any:
    response = await api.http.get(f"entities/{BUS}", params={"options": "keyValues"}, headers=headers)
    return response.json()["speed"] if response.status_code == 200 else None


async def test_an_answer_is_given_again_until_its_time_is_over(api: Api) -> None:
    await register(api)
    moves(api, 40)
    assert await speed(api) == 40
    moves(api, 50)
    await api.clock.sleep(30)
    assert (await speed(api), len(api.asked)) == (40, 1)
    await api.clock.sleep(30)
    assert (await speed(api), len(api.asked)) == (50, 2)
    counted = (await api.http.get(f"csourceRegistrations/{REGISTRATION}")).json()["timesSent"]
    assert counted == 2, "only what was sent counts"


async def test_what_differs_in_a_header_that_travels_is_another_question(api: Api) -> None:
    await register(api)
    moves(api, 40)
    await speed(api)
    moves(api, 50)
    assert await speed(api, Via="1.1 elsewhere") == 50


async def test_a_change_through_this_broker_ends_it_even_one_that_nobody_answered(api: Api) -> None:
    await register(api)
    for told, status in ((40, 204), (50, 500)):
        moves(api, told)
        assert await speed(api) == told
        api.answers[f"PATCH {PEER}/entities/{BUS}/attrs"] = (status, None)
        await api.http.patch(f"entities/{BUS}/attrs", json={"speed": {"value": told}})
        moves(api, told + 1)
        assert await speed(api) == told + 1
        await api.http.patch(f"entities/{BUS}/attrs", json={"speed": {"value": told}})


async def test_a_changed_registration_ends_it(api: Api) -> None:
    await register(api)
    moves(api, 40)
    await speed(api)
    moves(api, 50)
    patch = {"type": "ContextSourceRegistration", "management": {"cacheDuration": "PT2M"}}
    assert (await api.http.patch(f"csourceRegistrations/{REGISTRATION}", json=patch)).status_code == 204
    assert await speed(api) == 50


async def test_a_failure_is_not_kept(api: Api) -> None:
    await register(api)
    api.answers[f"GET {PEER}/entities/{BUS}"] = (500, None)
    assert await speed(api) is None
    moves(api, 40)
    assert await speed(api) == 40


def test_an_answer_that_a_change_overtook_is_not_kept_and_the_oldest_goes_first() -> None:
    kept = KeptAnswers(most_bytes=5_000)

    def question(number: int) -> Outgoing:
        return Outgoing("GET", f"{PEER}/entities/{number}", [], None, 1.0)

    before = kept.changes("r")
    kept.forget("r")
    kept.keep("r", question(0), Incoming(200, {}, b""), 10, before)
    assert kept.find("r", question(0), 0) is None
    for number in range(4):
        kept.keep("r", question(number), Incoming(200, {}, b"x" * 500), 10, kept.changes("r"))
        assert kept.find("r", question(0), 0) is not None, "it was used just now"
    assert [kept.find("r", question(number), 0) is not None for number in range(4)] == [True, False, True, True]
    assert kept.find("r", question(3), 10) is None
