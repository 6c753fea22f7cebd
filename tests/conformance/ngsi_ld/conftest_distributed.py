"""Sources that other brokers are, for the tests of distributed operations."""

from typing import Any

from conftest_ngsi import Api

BUS = "urn:ngsi-ld:Bus:1"
PEER = "http://peer.example"
SECOND = "http://second.example"
OTHERS = {
    "inclusive": ["redirectionOps"],
    "redirect": ["redirectionOps"],
    "exclusive": ["redirectionOps"],
    "auxiliary": ["retrieveOps"],
}


async def register(api: Api, mode: str = "inclusive", number: int = 1, **members: Any) -> None:
    information = [{"entities": [{"type": "Bus"}]}]
    if mode == "exclusive":
        information = [{"entities": [{"type": "Bus", "id": BUS}], "propertyNames": ["speed"]}]
    body = {
        "id": f"urn:ngsi-ld:ContextSourceRegistration:{number}",
        "type": "ContextSourceRegistration",
        "mode": mode,
        "operations": OTHERS[mode],
        "information": information,
        "endpoint": PEER if number == 1 else SECOND,
        **members,
    }
    response = await api.http.post("csourceRegistrations", json=body)
    assert response.status_code == 201, response.text


def remote(id: str = BUS, **attributes: Any) -> dict[str, Any]:
    return {
        "id": id,
        "type": "Bus",
        **{name: {"type": "Property", "value": value} for name, value in attributes.items()},
    }


def answer(api: Api, request: str, status: int, body: Any = None, at: str = PEER) -> None:
    method, _, path = request.partition(" ")
    api.answers[f"{method} {at}/ngsi-ld/v1{path}"] = (status, body)


def asked(api: Api) -> list[str]:
    """Methods and paths of what was sent to sources, without parameters."""
    return [f"{one.method} {one.url.partition('?')[0].partition('/v1')[2]}" for one in api.asked]


async def here(api: Api, id: str = BUS) -> dict[str, Any] | None:
    """What this broker itself holds."""
    response = await api.http.get(f"entities/{id}", params={"local": "true"})
    return response.json() if response.status_code == 200 else None
