"""Two whole platforms: what one city says of itself is read, changed and followed through the other (clauses 4.3.3,
5.9, 5.10), and a neighbour that dies takes nothing with it but its own answers."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from haechi.testing.platform import Platform

TINY = Path(__file__).parents[1] / "cities" / "tiny"
OURS, THEIRS, PUMP = (f"urn:ngsi-ld:{name}" for name in ("BikeDock:ours", "BikeDock:theirs", "FirePump:shared"))
WAIT_S = 30.0


class City(NamedTuple):
    """A running platform and a client that is logged in there."""

    platform: Platform
    client: httpx.Client

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """One request below /ngsi-ld/v1."""
        return self.client.request(method, f"/ngsi-ld/v1{path}", json=body)

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """The same, which must succeed; the answer's body."""
        answer = self.ask(method, path, body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def value(self, entity: str, attribute: str, local: bool = False) -> Any:
        """The attribute's value as this city tells it; None where the entity is not told."""
        answer = self.ask("GET", f"/entities/{entity}?local=true" if local else f"/entities/{entity}")
        return answer.json()[attribute]["value"] if answer.is_success else None

    def docks(self) -> tuple[list[str], str]:
        """The ids a query of all docks finds, and the warning that came with them."""
        answer = self.ask("GET", "/entities?type=BikeDock")
        assert answer.is_success, answer.text
        return sorted(one["id"] for one in answer.json()), answer.headers.get("NGSILD-Warning", "")

    def knows(self, other: "City", information: dict[str, Any], mode: str, **more: Any) -> str:
        """Registers the other city as a context source here; the registration's path."""
        token = f"Bearer {other.platform.token()}"
        registration = {
            "type": "ContextSourceRegistration",
            "endpoint": other.platform.url,
            "information": [information],
            "mode": mode,
            "contextSourceInfo": [{"key": "Authorization", "value": token}],
            "management": {"timeout": 2000},
            **more,
        }
        answer = self.ask("POST", "/csourceRegistrations", registration)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["Location"]).removeprefix("/ngsi-ld/v1")


@pytest.fixture
def cities(tmp_path: Path) -> Iterator[tuple[City, City]]:
    with (
        started(tmp_path / "ours") as ours,
        started(tmp_path / "theirs") as theirs,
        opened(ours) as here,
        opened(theirs) as there,
    ):
        yield City(ours, here), City(theirs, there)


def started(folder: Path) -> Platform:
    return Platform(Path(shutil.copytree(TINY, folder / "tiny")), folder / "data")


def opened(platform: Platform) -> httpx.Client:
    return httpx.Client(base_url=platform.url, headers={"Authorization": f"Bearer {platform.token()}"}, timeout=30)


def dock(id_: str, free: int) -> dict[str, Any]:
    return {"id": id_, "type": "BikeDock", "freeSlotNumber": {"type": "Property", "value": free}}


def test_a_neighbour_is_read_changed_followed_lost_and_found_again(
    cities: tuple[City, City], notified: tuple[str, list[dict[str, Any]]]
) -> None:
    here, there = cities
    uri, came = notified
    here.do("POST", "/entities", dock(OURS, 1))
    there.do("POST", "/entities", dock(THEIRS, 2))
    everything = {"operations": ["federationOps", "redirectionOps"]}
    here.knows(there, {"entities": [{"type": "BikeDock"}]}, "inclusive", **everything)
    here.platform.wait_for(lambda: here.docks() == ([OURS, THEIRS], ""), WAIT_S, "both cities' docks are not found")

    wanted = {"type": "Subscription", "entities": [{"type": "BikeDock"}]}
    here.do("POST", "/subscriptions", {**wanted, "notification": {"endpoint": {"uri": uri}}})
    there.platform.wait_for(lambda: there.do("GET", "/subscriptions"), WAIT_S, "the neighbour got no copy of it")
    here.do("PATCH", f"/entities/{THEIRS}/attrs/freeSlotNumber", {"type": "Property", "value": 7})
    here.platform.wait_for(lambda: there.value(THEIRS, "freeSlotNumber", local=True) == 7, WAIT_S, "not changed there")
    assert here.value(THEIRS, "freeSlotNumber") == 7
    assert here.value(THEIRS, "freeSlotNumber", local=True) is None, "it lives there and only there"
    here.platform.wait_for(lambda: told(came, THEIRS, 7), WAIT_S, "the change over there was not told here")

    die(there)
    ids, warning = here.docks()
    assert ids == [OURS], "what is ours is answered"
    assert warning.startswith("199 "), "and that somebody is missing is said"
    assert here.value(THEIRS, "freeSlotNumber") is None
    there.platform.start()
    here.platform.wait_for(lambda: here.docks() == ([OURS, THEIRS], ""), WAIT_S, "the neighbour is not heard again")
    there.do("PATCH", f"/entities/{THEIRS}/attrs/freeSlotNumber", {"type": "Property", "value": 8})
    here.platform.wait_for(lambda: told(came, THEIRS, 8), WAIT_S, "its changes are not told any more")

    there.knows(here, {"entities": [{"type": "BikeDock"}]}, "inclusive")
    there.platform.wait_for(lambda: there.docks()[0] == [OURS, THEIRS], WAIT_S, "the neighbour is not asked back")
    assert here.docks()[0] == [OURS, THEIRS], "the circle ends, and counts nothing twice"


def test_what_only_the_neighbour_may_say_is_asked_there_and_refused_while_it_is_away(
    cities: tuple[City, City],
) -> None:
    here, there = cities
    there.do("POST", "/entities", {"id": PUMP, "type": "FirePump", "pressure": {"type": "Property", "value": 5}})
    named = {"entities": [{"id": PUMP, "type": "FirePump"}], "propertyNames": ["pressure"]}
    path = here.knows(there, named, "exclusive", operations=["retrieveOps", "redirectionOps"])
    here.platform.wait_for(lambda: here.value(PUMP, "pressure") == 5, WAIT_S, "the neighbour's pump is not answered")
    new = {"type": "Property", "value": 6}
    here.do("PATCH", f"/entities/{PUMP}/attrs/pressure", new)
    here.platform.wait_for(lambda: there.value(PUMP, "pressure", local=True) == 6, WAIT_S, "not changed there")

    die(there)
    refused = here.ask("PATCH", f"/entities/{PUMP}/attrs/pressure", {**new, "value": 9})
    assert refused.status_code in {502, 504}, refused.text
    assert refused.json()["detail"], "says what to do"
    assert here.do("GET", path)["timesFailed"] >= 1
    there.platform.start()
    here.platform.wait_for(lambda: here.value(PUMP, "pressure") == 6, WAIT_S, "what was refused was not kept anywhere")


def die(city: City) -> None:
    """kill -9 of the supervisor; its children end with it, an instant later."""
    city.platform.kill_supervisor()
    city.platform.wait_for(lambda: not answers(city), WAIT_S, "somebody still serves")


def answers(city: City) -> bool:
    try:
        city.client.get("/health")
    except httpx.TransportError:
        return False
    return True


def told(came: list[dict[str, Any]], entity: str, value: int) -> bool:
    found = [one for notification in came for one in notification["data"] if one["id"] == entity]
    return any(one["freeSlotNumber"]["value"] == value for one in found)
