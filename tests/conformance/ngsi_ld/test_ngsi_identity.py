"""Who the broker is (clause 5.15; ETSI 061) and what it says it can do (/docs)."""

import re

import httpx
from conftest_ngsi import Api, problem
from starlette.applications import Starlette

from haechi.faces.ngsi_ld.routes import docs


async def test_061_01_the_broker_says_who_it_is_to_each_tenant(api: Api) -> None:
    own = (await api.http.get("info/sourceIdentity")).json()
    assert own["type"] == "ContextSourceIdentity"
    assert own["id"].startswith("urn:")
    assert re.fullmatch(r"PT\d+S", own["contextSourceUptime"])
    assert own["contextSourceTimeAt"].endswith("Z")
    of_tenant = [
        (await api.http.get("info/sourceIdentity", headers={"NGSILD-Tenant": one})).json()["contextSourceAlias"]
        for one in ("a", "b", "a")
    ]
    assert of_tenant[0] == of_tenant[2]
    assert len({own["contextSourceAlias"], *of_tenant}) == 3
    problem(await api.http.get("types", headers={"NGSILD-Tenant": "a"}), 404, "NonexistentTenant")


async def test_the_docs_name_every_resource_and_need_no_network() -> None:
    transport = httpx.ASGITransport(Starlette(routes=docs()))
    async with httpx.AsyncClient(transport=transport, base_url="http://haechi") as client:
        found = (await client.get("/docs/openapi.json")).json()
        page = (await client.get("/docs")).text
    assert found["openapi"].startswith("3.1")
    for path in (
        "/entities/{entityId}/attrs/{attrId}",
        "/temporal/entities",
        "/entityOperations/upsert",
        "/info/sourceIdentity",
    ):
        assert path in found["paths"]
    operations = [one for methods in found["paths"].values() for one in methods.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all(len(one["summary"]) > 3 for one in operations)
    for path, methods in found["paths"].items():
        named = re.findall(r"{(\w+)}", path)
        assert len(set(named)) == len(named)
        for one in methods.values():
            assert [part["name"] for part in one["parameters"] if part["in"] == "path"] == named
    assert "/ngsi-ld/v1/entities" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
