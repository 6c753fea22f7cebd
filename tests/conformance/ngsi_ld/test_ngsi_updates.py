"""Attribute updates, scopes, type selectors, merges with common members, proofs and purge (clauses 4.5.2.2, 5.5.8,
5.6.2 to 5.6.5, 5.6.17, 5.6.21). Numbers such as 011_01 are cases of the ETSI suite."""

from conftest_ngsi import Api, problem


async def test_060_a_purge_deletes_what_a_query_finds_or_some_attributes_of_it(api: Api) -> None:
    for id in "abc":
        await api.make(id, a=1, b=2, scope="/gimpo", level=ord(id))
    for wrong in (
        {},
        {"idPattern": ".*"},
        {"attrs": "createdAt"},
        {"q": 'modifiedAt>"2020-01-01T00:00:00Z"'},
        {"type": "Building", "keep": "a", "drop": "b"},
        {"type": "Building", "q": 'owner{name}=="x"'},
        {"type": "Building", "attrs": "owner{name}"},
    ):
        problem(await api.http.delete("entities", params=wrong), 400, "BadRequestData")
    assert (await api.http.delete("entities", params={"type": "Building", "drop": "a,scope"})).status_code == 204
    entity = await api.get("urn:ngsi-ld:Building:a", options="keyValues")
    assert entity == {"id": "urn:ngsi-ld:Building:a", "type": "Building", "b": 2, "level": 97}
    assert (await api.http.delete("entities", params={"type": "Building", "keep": "level"})).status_code == 204
    assert "b" not in await api.get("urn:ngsi-ld:Building:b", options="keyValues")
    assert (await api.http.delete("entities", params={"q": "level>97"})).status_code == 204
    assert await api.ids(type="Building") == ["a"]
    assert (await api.http.delete("entities", params={"local": "true"})).status_code == 204
    assert await api.ids(local="true") == []


async def test_011_01_558_01_updates_add_instances_and_remove_by_null(api: Api) -> None:
    urn = await api.make(
        "1", a={"value": 1, "unitCode": "CEL"}, b=2, c=[{"value": 1}, {"value": 2, "datasetId": "urn:d:2"}]
    )
    patch = {
        "a": {"type": "Property", "value": 5},
        "b": {"type": "Property", "value": "urn:ngsi-ld:null"},
        "c": {"type": "Property", "value": "urn:ngsi-ld:null", "datasetId": "urn:d:2"},
    }
    assert (await api.http.patch(f"entities/{urn}/attrs", json=patch)).status_code == 204
    assert await api.get(urn) == {
        "id": urn,
        "type": "Building",
        "a": {"type": "Property", "value": 5},
        "c": {"type": "Property", "value": 1},
    }
    more = {"d": {"type": "Property", "value": 3, "datasetId": "urn:d:3"}}
    assert (await api.http.patch(f"entities/{urn}/attrs", json=more)).status_code == 204
    assert (await api.get(urn))["d"]["datasetId"] == "urn:d:3"
    mute = {"type": "LanguageProperty", "languageMap": {"@none": "urn:ngsi-ld:null"}}
    await api.http.post(f"entities/{urn}/attrs", json={"n": {"languageMap": {"ko": "집", "en": "house"}}})
    part = {"n": {"languageMap": {"en": "urn:ngsi-ld:null"}}}
    assert (await api.http.patch(f"entities/{urn}", json=part)).status_code == 204
    assert (await api.get(urn, options="concise"))["n"] == {"languageMap": {"ko": "집"}}
    assert (await api.http.patch(f"entities/{urn}/attrs/n", json=mute)).status_code == 204
    assert "n" not in await api.get(urn)
    response = await api.http.patch(f"entities/{urn}/attrs/a", json={"datasetId": "urn:ngsi-ld:null"})
    problem(response, 400, "BadRequestData")


async def test_010_07_011_05_013_04_scopes_are_appended_updated_and_deleted(api: Api) -> None:
    urn = await api.make("1", a=1)
    path = f"entities/{urn}/attrs"
    missing = await api.http.patch(path, json={"scope": "/x"})
    assert (missing.status_code, missing.json()["notUpdated"][0]["attributeName"]) == (207, "scope")
    assert (await api.http.post(path, json={"scope": "/a"})).status_code == 204
    assert (await api.http.post(path, params={"options": "noOverwrite"}, json={"scope": "/b"})).status_code == 204
    assert (await api.get(urn))["scope"] == ["/a", "/b"]
    assert (await api.http.patch(path, json={"scope": "/c"})).status_code == 204
    assert (await api.get(urn))["scope"] == "/c"
    problem(await api.http.patch(f"{path}/scope", json={"value": "/d"}), 400, "BadRequestData")
    assert (await api.http.delete(f"{path}/scope")).status_code == 204
    assert "scope" not in await api.get(urn)
    problem(await api.http.delete(f"{path}/scope"), 404, "ResourceNotFound")


async def test_562_to_565_a_type_selects_what_is_changed(api: Api) -> None:
    urn = await api.make("1", a=1)
    for method, path, body in (
        ("PATCH", "", {"a": 2}),
        ("POST", "/attrs", {"a": 2}),
        ("PATCH", "/attrs", {"a": 2}),
        ("PATCH", "/attrs/a", {"value": 2}),
        ("PUT", "/attrs/a", {"value": 2}),
        ("DELETE", "/attrs/a", None),
    ):
        response = await api.http.request(method, f"entities/{urn}{path}", params={"type": "Vehicle"}, json=body)
        problem(response, 404, "ResourceNotFound")
    assert (
        await api.http.patch(f"entities/{urn}/attrs", params={"type": "Building"}, json={"a": 2})
    ).status_code == 204
    problem(await api.http.patch("entities/", json={"a": 1}), 400, "BadRequestData")


async def test_5_6_17_a_merge_may_say_instant_language_and_format_once(api: Api) -> None:
    old = {"value": 1, "observedAt": "2026-01-01T00:00:00Z"}
    urn = await api.make("1", a=old, b=1, n={"languageMap": {"ko": "집"}}, at={"object": "urn:x:1"})
    parameters = {"observedAt": "2026-02-01T00:00:00Z", "lang": "en", "format": "simplified"}
    patch = {"a": 2, "b": 2, "n": "house", "at": "urn:x:2"}
    assert (await api.http.patch(f"entities/{urn}", params=parameters, json=patch)).status_code == 204
    entity = await api.get(urn, options="concise")
    assert entity["a"] == {"value": 2, "observedAt": "2026-02-01T00:00:00Z"}
    assert entity["b"] == 2
    assert entity["n"] == {"languageMap": {"ko": "집", "en": "house"}}
    assert entity["at"] == {"object": "urn:x:2"}


async def test_452_03_a_proof_and_its_seals_come_back(api: Api) -> None:
    proof = {
        "type": "Property",
        "value": {"type": "DataIntegrityProof"},
        "entityIdSealed": "urn:x:1",
        "entityTypeSealed": "A",
    }
    urn = await api.make("urn:x:1", "A", ngsildproof=proof)
    assert (await api.get(urn))["ngsildproof"] == proof
    for wrong in ({**proof, "value": "text"}, {**proof, "entityTypeSealed": 42}):
        response = await api.http.post("entities", json={"id": "urn:x:2", "type": "A", "ngsildproof": wrong})
        problem(response, 400, "BadRequestData")
