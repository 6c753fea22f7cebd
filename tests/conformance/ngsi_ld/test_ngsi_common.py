"""Common behaviours: media types, @context, errors, batches (clauses 4.4, 5.5, 5.6.7 to 5.6.20, 6.3)."""

from typing import Any

import pytest
from conftest_ngsi import CITY, Api, problem

URN = "urn:ngsi-ld:Building:1"
LD = {"Content-Type": "application/ld+json"}
LINK = f'<{CITY}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.8.jsonld"


def body(number: int, **attributes: Any) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:Building:{number}", "type": "Building", **attributes}


@pytest.mark.parametrize("content", [b"", b"{", b'{"a":1', b"\xff\xfe", b"[" * 5000, b"nan", b'{"a":1e999}x'])
async def test_5_5_4_what_is_no_json_is_an_invalid_request(api: Api, content: bytes) -> None:
    for method, path in (("POST", "entities"), ("PATCH", f"entities/{URN}"), ("POST", "entityOperations/create")):
        response = await api.http.request(method, path, content=content, headers={"Content-Type": "application/json"})
        problem(response, 400, "InvalidRequest")


async def test_a_body_that_nests_too_deep_or_is_too_large_is_refused(api: Api) -> None:
    deep = b'{"id":"urn:x:1","type":"A","a":{"value":' + b"[" * 80 + b"]" * 80 + b"}}"
    response = await api.http.post("entities", content=deep, headers={"Content-Type": "application/json"})
    assert "flatten" in problem(response, 400, "BadRequestData")
    nested: Any = 1
    for _ in range(12):
        nested = {"type": "Property", "value": 1, "deeper": nested}
    assert "flatten" in problem(await api.http.post("entities", json=body(1, a=nested)), 400, "BadRequestData")
    large = b'{"id":"urn:x:1","type":"A","a":"' + b"x" * (10 * 2**20) + b'"}'
    response = await api.http.post("entities", content=large, headers={"Content-Type": "application/json"})
    problem(response, 413, "RequestEntityTooLarge")
    assert api.frames == []


async def test_6_3_4_media_types_that_are_not_taken_and_a_missing_length(api: Api) -> None:
    for media in ("text/plain", "application/xml", ""):
        response = await api.http.post("entities", content=b"{}", headers={"Content-Type": media})
        assert "application/ld+json" in problem(response, 415, "UnsupportedMediaType")

    async def chunks() -> Any:
        yield b"{}"

    response = await api.http.post("entities", content=chunks(), headers={"Content-Type": "application/json"})
    assert (response.status_code, response.content) == (411, b"")
    response = await api.http.post("entities", content=b"{}", headers={"Content-Type": "application/merge-patch+json"})
    problem(response, 415, "UnsupportedMediaType")


async def test_6_3_4_the_answer_has_the_type_the_client_prefers(api: Api) -> None:
    urn = await api.make("1", a=1)
    for accept, expected in (
        ("*/*", "application/json"),
        ("application/ld+json", "application/ld+json"),
        ("application/json;q=0.5, application/ld+json", "application/ld+json"),
        ("text/html, application/*;q=0.1", "application/json"),
    ):
        response = await api.http.get(f"entities/{urn}", headers={"Accept": accept})
        assert response.headers["content-type"] == expected
        assert ("@context" in response.json()) == (expected == "application/ld+json")
        assert ("link" in response.headers) == (expected == "application/json")
    response = await api.http.get(f"entities/{urn}", headers={"Accept": "text/html"})
    problem(response, 406, "NotAcceptableMediaType")


async def test_6_3_5_the_context_stands_where_the_media_type_says(api: Api) -> None:
    problem(await api.http.post("entities", json=body(1, **{"@context": CORE})), 400, "BadRequestData")
    problem(await api.http.post("entities", json=body(1), headers=LD), 400, "BadRequestData")
    response = await api.http.post("entities", json=body(1, **{"@context": CORE}), headers={**LD, "Link": LINK})
    problem(response, 400, "BadRequestData")
    assert (await api.http.post("entities", json=body(1, **{"@context": CORE}), headers=LD)).status_code == 201


async def test_5_5_7_names_are_iris_and_each_client_reads_them_in_its_own_words(api: Api) -> None:
    created = {
        "id": "urn:x:1",
        "type": "Bus",
        "speed": 50,
        "other": 1,
        "location": {"type": "Point", "coordinates": [1, 2]},
    }
    assert (await api.http.post("entities", json=created, headers={"Link": LINK})).status_code == 201
    with_words = await api.http.get("entities/urn:x:1", params={"options": "keyValues"}, headers={"Link": LINK})
    assert with_words.json() == created
    assert CITY in with_words.headers["link"]
    plain = (await api.http.get("entities/urn:x:1", params={"options": "keyValues"})).json()
    assert plain["type"] == "https://gimpo.example/terms#Bus"
    assert plain["https://gimpo.example/terms#speed"] == 50
    assert plain["other"] == 1
    assert await api.ids(type="Bus") == []
    assert await api.ids(type="https://gimpo.example/terms#Bus", q="https://gimpo.example/terms#speed>40") == ["1"]
    found = await api.http.get("entities", params={"type": "Bus", "q": "speed>40"}, headers={"Link": LINK})
    assert len(found.json()) == 1
    await api.make("urn:x:2", "Car", speed=1)
    other = (await api.http.get("entities/urn:x:2", params={"options": "keyValues"}, headers={"Link": LINK})).json()
    assert other["ngsi-ld:default-context/speed"] == 1


async def test_5_5_7_terms_written_into_the_request_expand_and_core_terms_stay(api: Api) -> None:
    context = [{"ex": "https://example.org/", "height": "ex:height", "location": "ex:elsewhere"}, CORE]
    document = {"@context": context, "id": "urn:x:1", "type": "ex:Tree", "height": 3}
    document["location"] = {"type": "Point", "coordinates": [1, 2]}
    assert (await api.http.post("entities", json=document, headers=LD)).status_code == 201
    plain = await api.get("urn:x:1", options="keyValues")
    assert plain["type"] == "https://example.org/Tree"
    assert plain["https://example.org/height"] == 3
    assert plain["location"]["type"] == "Point"
    scoped = {"a": {"@id": "https://example.org/a", "@context": {"b": "https://example.org/b"}}}
    response = await api.http.post("entities", json={**document, "@context": scoped, "id": "urn:x:2"}, headers=LD)
    problem(response, 400, "BadRequestData")


async def test_an_unknown_remote_context_is_504_and_named(api: Api) -> None:
    far = "https://nowhere.example/context.jsonld"
    detail = problem(
        await api.http.post("entities", json=body(1, **{"@context": far}), headers=LD), 504, "LdContextNotAvailable"
    )
    assert far in detail
    link = f'<{far}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
    problem(await api.http.get("entities", params={"type": "A"}, headers={"Link": link}), 504, "LdContextNotAvailable")


async def test_6_3_20_parameters_that_do_not_exist(api: Api) -> None:
    problem(await api.http.get("entities", params={"type": "A", "fancy": "1"}), 400, "InvalidRequest")
    problem(await api.http.post("entities", params={"fancy": "1"}, json=body(1)), 400, "InvalidRequest")


async def test_unknown_paths_methods_and_tenants(api: Api) -> None:
    assert "/entities" in problem(await api.http.get("nothing"), 404, "ResourceNotFound")
    response = await api.http.put("entities", json={})
    problem(response, 405, "MethodNotAllowed")
    assert response.headers["allow"] == "DELETE, GET, POST"
    response = await api.http.get("entities", params={"type": "A"}, headers={"NGSILD-Tenant": "seoul"})
    problem(response, 404, "NonexistentTenant")
    assert response.headers["NGSILD-Tenant"] == "seoul"


async def test_5_6_7_batch_create_makes_all_it_can_in_one_frame(api: Api) -> None:
    response = await api.http.post("entityOperations/create", json=[body(1, a=1), body(2, a=2)])
    assert (response.status_code, response.json()) == (201, [body(1)["id"], body(2)["id"]])
    assert len(api.frames) == 1
    assert len(api.observed) == 2
    mixed = [body(2), body(3), {"type": "A"}, body(4, a=None), body(3)]
    response = await api.http.post("entityOperations/create", json=mixed)
    assert response.status_code == 207
    result = response.json()
    assert result["success"] == [body(3)["id"]]
    failed = [(one["entityId"].rpartition(":")[2], one["error"]["type"].rpartition("/")[2]) for one in result["errors"]]
    assert sorted(failed) == [
        ("2", "AlreadyExists"),
        ("2", "BadRequestData"),
        ("3", "AlreadyExists"),
        ("4", "BadRequestData"),
    ]


@pytest.mark.parametrize("content", [[], [None], {}, "text", [body(1), None]])
async def test_5_6_7_an_empty_batch_or_one_with_null_fails_whole(api: Api, content: Any) -> None:
    for operation in ("create", "upsert", "update", "merge", "delete"):
        problem(await api.http.post(f"entityOperations/{operation}", json=content), 400, "BadRequestData")
    assert api.frames == []


async def test_5_6_8_batch_upsert_replaces_or_updates_and_tells_what_is_new(api: Api) -> None:
    await api.make("1", a=1, b=1)
    response = await api.http.post("entityOperations/upsert", json=[body(1, a=2), body(2, a=1), body(2, c=1)])
    assert (response.status_code, response.json()) == (201, [body(2)["id"]])
    assert await api.get(URN, options="keyValues") == body(1, a=2)
    assert await api.get(body(2)["id"], options="keyValues") == body(2, c=1)
    updated = await api.http.post("entityOperations/upsert", params={"options": "update"}, json=[body(1, b=3)])
    assert updated.status_code == 204
    assert await api.get(URN, options="keyValues") == body(1, a=2, b=3)


async def test_5_6_9_batch_update_appends_and_reports_the_missing(api: Api) -> None:
    await api.make("1", a=1)
    response = await api.http.post("entityOperations/update", json=[body(1, a=2, b=3), body(2, a=1)])
    assert response.status_code == 207
    assert response.json()["success"] == [URN]
    assert response.json()["errors"][0]["error"]["type"].endswith("ResourceNotFound")
    kept = await api.http.post("entityOperations/update", params={"options": "noOverwrite"}, json=[body(1, a=9, c=4)])
    assert (kept.status_code, kept.json()["success"]) == (207, [])
    assert kept.json()["errors"][0]["entityId"] == URN
    assert await api.get(URN, options="keyValues") == body(1, a=2, b=3, c=4)


async def test_5_6_20_batch_merge_removes_with_null(api: Api) -> None:
    await api.make("1", a=1, b=2)
    response = await api.http.post("entityOperations/merge", json=[body(1, a="urn:ngsi-ld:null", c=3)])
    assert response.status_code == 204
    assert await api.get(URN, options="keyValues") == body(1, b=2, c=3)


async def test_5_6_10_batch_delete_deletes_each_once(api: Api) -> None:
    await api.make("1")
    await api.make("2")
    response = await api.http.post("entityOperations/delete", json=[URN, URN, "urn:ngsi-ld:Building:9"])
    assert response.status_code == 207
    assert response.json()["success"] == [URN]
    assert [one["entityId"] for one in response.json()["errors"]] == [URN, "urn:ngsi-ld:Building:9"]
    assert (await api.http.post("entityOperations/delete", json=["urn:ngsi-ld:Building:2"])).status_code == 204
    problem(await api.http.post("entityOperations/delete", json=[1]), 400, "BadRequestData")


async def test_5_6_7_a_member_whose_context_is_missing_fails_alone(api: Api) -> None:
    members = [body(1, **{"@context": CORE}), body(2), body(3, **{"@context": "https://nowhere.example/c"})]
    response = await api.http.post("entityOperations/create", json=members, headers=LD)
    assert response.status_code == 207
    assert response.json()["success"] == [URN]
    kinds = [one["error"]["type"].rpartition("/")[2] for one in response.json()["errors"]]
    assert kinds == ["BadRequestData", "LdContextNotAvailable"]


@pytest.mark.parametrize("media", ["application/json", "application/ld+json", "application/geo+json"])
async def test_6_3_10_a_link_to_another_page_is_of_the_media_type_asked_for(api: Api, media: str) -> None:
    for number in range(3):
        await api.make(str(number), level=number)
    asked, accept = {"type": "Building", "limit": "1", "offset": "1"}, {"Accept": media}
    body = {"type": "Query", "entities": [{"type": "Building"}]}
    page = {"limit": "1", "offset": "1"}
    for answer in (
        await api.http.get("entities", params=asked, headers=accept),
        await api.http.get("entities", params=asked, headers=accept),  # as it is remembered
        await api.http.post("entityOperations/query", params=page, json=body, headers=accept),
    ):
        assert answer.headers["content-type"].partition(";")[0] == media
        for where in ("next", "prev"):
            assert f'rel="{where}";type="{media}"' in answer.headers["link"]
