"""What one query says of many entities: linked retrieval, order, languages, GeoJSON, datasets and bodies (clauses
4.5.5, 4.5.16, 4.5.23, 4.9, 4.15, 4.21, 4.23, 5.2.23). Numbers such as 019_13 are cases of the ETSI suite."""

import random
from typing import Any

import pytest
from conftest_ngsi import Api, problem

CITY = "urn:ngsi-ld:City:gimpo"
LAND = "urn:ngsi-ld:Country:kr"
GEO = {"Accept": "application/geo+json"}


async def chain(api: Api) -> str:
    """A building in a city in a country."""
    await api.make(LAND, "Country", name="Korea", people=52)
    await api.make(CITY, "City", name="Gimpo", isIn={"object": LAND})
    return await api.make("1", name="Hall", locatedAt={"object": CITY}, floors=3)


async def found(api: Api, **parameters: str) -> Any:
    response = await api.http.get("entities", params={"type": "Building", **parameters})
    assert response.status_code == 200, response.text
    return response.json()


async def asked(api: Api, status: int = 200, /, **body: Any) -> Any:
    """POST /entityOperations/query."""
    response = await api.http.post("entityOperations/query", json={"type": "Query", **body})
    assert response.status_code == status, response.text
    return response.json()


async def test_018_10_018_13_linked_entities_stand_inside_or_beside_as_deep_as_asked(api: Api) -> None:
    urn = await chain(api)
    city = {"id": CITY, "type": "City", "name": "Gimpo", "isIn": LAND}
    land = {"id": LAND, "type": "Country", "name": "Korea", "people": 52}
    mine = {"id": urn, "type": "Building", "name": "Hall", "locatedAt": CITY, "floors": 3}
    simple = {"options": "keyValues"}
    assert await api.get(urn, join="inline", **simple) == {**mine, "locatedAt": city}
    assert await api.get(urn, join="inline", joinLevel="2", **simple) == {**mine, "locatedAt": {**city, "isIn": land}}
    assert await api.get(urn, join="flat", joinLevel="2", **simple) == [mine, city, land]
    normalized = await api.get(urn, join="inline")
    assert normalized["locatedAt"]["object"] == CITY
    assert normalized["locatedAt"]["entity"]["name"] == {"type": "Property", "value": "Gimpo"}
    concise = await api.get(urn, join="inline", options="concise")
    assert concise["locatedAt"]["entity"] == {"id": CITY, "type": "City", "name": "Gimpo", "isIn": {"object": LAND}}
    assert await found(api, join="flat", **simple) == [mine, city]
    assert await api.get(urn, join="flat", containedBy=CITY, **simple) == mine


async def test_018_14_a_link_to_nothing_stays_a_link(api: Api) -> None:
    urn = await api.make("1", locatedAt={"object": CITY})
    for join in ("inline", "flat"):
        assert (await api.get(urn, join=join))["locatedAt"] == {"type": "Relationship", "object": CITY}


async def test_4_5_23_lists_of_links_and_circles(api: Api) -> None:
    await api.make("urn:x:1", "A", next={"object": "urn:x:2"})
    await api.make("urn:x:2", "A", next={"object": ["urn:x:1", "urn:x:9"]}, all={"objectList": ["urn:x:1", "urn:x:9"]})
    deep = await api.get("urn:x:1", join="inline", joinLevel="9", options="keyValues")
    assert deep["next"] == {"id": "urn:x:2", "type": "A", "next": ["urn:x:1", "urn:x:9"], "all": ["urn:x:1", "urn:x:9"]}
    second = await api.get("urn:x:2", join="inline")
    assert second["next"]["entity"] == [
        {"id": "urn:x:1", "type": "A", "next": {"type": "Relationship", "object": "urn:x:2"}}
    ]
    assert [one["id"] for one in second["all"]["entityList"]] == ["urn:x:1"]
    assert len(await api.get("urn:x:1", join="flat", joinLevel="9")) == 2


async def test_018_20_019_20_pick_and_omit_reach_into_linked_entities(api: Api) -> None:
    urn = await chain(api)
    picked = await api.get(
        urn, join="inline", joinLevel="2", pick="id,locatedAt{name,isIn{people}}", options="keyValues"
    )
    assert picked == {"id": urn, "locatedAt": {"name": "Gimpo", "isIn": {"people": 52}}}
    left = await api.get(urn, join="inline", omit="type,floors,locatedAt{name,isIn}", options="keyValues")
    assert left == {"id": urn, "name": "Hall", "locatedAt": {"id": CITY, "type": "City"}}
    flat = await api.get(urn, join="flat", joinLevel="2", pick="id,name", options="keyValues")
    assert flat == {"id": urn, "name": "Hall"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"pick": "locatedAt{name}"},
        {"pick": "locatedAt{isIn{name}}", "join": "inline", "joinLevel": "1"},
        {"omit": "a{" * 11 + "b" + "}" * 11, "join": "inline", "joinLevel": "10"},
        {"pick": "a{b", "join": "inline"},
        {"pick": "a{}", "join": "inline"},
        {"pick": "a{{b}}", "join": "inline"},
        {"pick": "a}b", "join": "inline"},
        {"join": "sideways"},
        {"join": "inline", "joinLevel": "0"},
        {"join": "inline", "joinLevel": "11"},
        {"q": 'locatedAt{name=="x"'},
        {"q": 'locatedAt{name}=="x"'},
        {"q": 'locatedAt{isIn{name}}=="x"', "join": "inline"},
        {"q": 'modifiedAt>"2020-01-01T00:00:00Z"', "type": ""},
        {"csf": "))bad(("},
        {"lang": "not a language"},
        {"lang": "ko;q=2"},
        {"datasetId": "no uri"},
        {"geometryProperty": "location"},
        {"orderBy": "name;upwards"},
        {"orderBy": ";asc"},
        {"orderBy": "a..b"},
        {"orderBy": "location;dist-asc"},
        {"orderBy": "location;dist-asc", "orderFrom": "here"},
        {"orderBy": "location;dist-asc", "orderFrom": "[200,1]"},
        {"orderBy": "name", "collation": "!!nope"},
        {"orderBy": "name", "collation": "zh-u-co-stroke"},
    ],
)
async def test_019_18_019_33_5722_what_does_not_fit_together_is_refused(api: Api, parameters: dict[str, str]) -> None:
    await chain(api)
    given = {name: value for name, value in {"type": "Building", **parameters}.items() if value}
    problem(await api.http.get("entities", params=given), 400, "BadRequestData")


async def test_019_29_q_follows_links_as_far_as_they_are_joined(api: Api) -> None:
    await chain(api)
    await api.make("2", name="Barn", locatedAt={"object": "urn:ngsi-ld:City:seoul"})
    join = {"join": "inline", "joinLevel": "2", "options": "keyValues", "pick": "name"}
    assert await found(api, q='locatedAt{name}=="Gimpo"', **join) == [{"name": "Hall"}]
    assert await found(api, q="locatedAt{isIn{people}}>50", **join) == [{"name": "Hall"}]
    assert await found(api, q="locatedAt{City:name}", **join) == [{"name": "Hall"}]
    assert await found(api, q="locatedAt{Village:name}", **join) == []
    assert await found(api, q='locatedAt{name}!="Gimpo"', **join) == []


async def test_019_19_423_01_answers_come_in_the_order_asked_for(api: Api) -> None:
    for id, name, level, lon in (("a", "b", 2, 126.9), ("b", "A", 10, 126.7), ("c", "á", "high", 126.8)):
        place = {"type": "Point", "coordinates": [lon, 37.6]}
        await api.make(
            id, name={"value": name, "rank": lon}, level=level, location=place, at={"value": {"floor": -lon}}
        )
    await api.make("d", other=1)

    async def order(**parameters: str) -> str:
        return "".join(await api.ids(type="Building", **parameters))

    assert await order(orderBy="id;desc") == "dcba"
    assert await order(orderBy="name") == "bacd"
    assert await order(orderBy="name", collation="und") == "bcad"
    assert await order(orderBy="name;desc") == "cabd"
    assert await order(orderBy="level") == "abcd"
    assert await order(orderBy="name.rank") == "bcad"
    assert await order(orderBy="at[floor]") == "acbd"
    assert await order(orderBy="type,name.createdAt;desc") == "cbad"
    assert await order(orderBy="location;dist-asc", orderFrom="[126.7,37.6]") == "bcad"
    assert await order(orderBy="location;dist-desc", orderFrom="[126.7,37.6]") == "acbd"
    response = await api.http.get(
        "entities", params={"type": "Building", "orderBy": "id;desc", "limit": "2", "offset": "1"}
    )
    assert [one["id"][-1] for one in response.json()] == ["c", "b"]
    assert any("offset=3" in link and "orderBy=id;desc" in link for link in response.headers.get_list("link"))


async def test_018_07_415_01_a_text_is_given_in_the_language_liked_best(api: Api) -> None:
    urn = await api.make("1", name={"languageMap": {"ko": "집", "en-GB": "house", "fr": "maison"}})
    for wanted, tag in {
        "ko": "ko",
        "fr;q=0.2,en;q=0.9": "en-GB",
        "FR-ca": "fr",
        "de,*": "ko",
        "de": "ko",
        "fr;q=0": "ko",
    }.items():
        name = (await api.get(urn, lang=wanted))["name"]
        assert (name["type"], name["lang"]) == ("Property", tag)
    assert (await api.get(urn, lang="fr", options="keyValues"))["name"] == "maison"


async def test_018_05_4516_01_entities_are_features_of_geojson(api: Api) -> None:
    point, area = {"type": "Point", "coordinates": [1.0, 2.0]}, {"type": "Point", "coordinates": [3.0, 4.0]}
    urn = await api.make("1", location=point, area=area, name="Hall")
    await api.make("2", name="Nowhere")
    response = await api.http.get(f"entities/{urn}", params={"options": "keyValues"}, headers=GEO)
    assert response.headers["content-type"] == "application/geo+json"
    body = response.json()
    assert body.pop("@context").endswith(".jsonld")
    properties = {"type": "Building", "location": point, "area": area, "name": "Hall"}
    assert body == {"id": urn, "type": "Feature", "geometry": point, "properties": properties}
    for name, geometry in (("area", area), ("name", None), ("none", None)):
        other = await api.http.get(f"entities/{urn}", params={"geometryProperty": name}, headers=GEO)
        assert other.json()["geometry"] == geometry
    many = await api.http.get("entities", params={"type": "Building"}, headers={**GEO, "Prefer": "body=json"})
    assert [one["geometry"] for one in many.json()["features"]] == [point, None]
    assert "@context" not in many.json()
    assert "link" in many.headers


async def test_436_08_clients_of_earlier_editions_get_kinds_they_know(api: Api) -> None:
    urn = await api.make("1", kind={"vocab": "hall"}, all={"objectList": ["urn:x:1"]})
    old = await api.http.get(f"entities/{urn}", headers={"Prefer": "ngsi-ld=1.5"})
    assert (old.status_code, old.headers["Preference-Applied"]) == (203, "ngsi-ld=1.5")
    assert old.json()["kind"] == {"type": "Property", "value": "hall"}
    assert old.json()["all"] == {"type": "Relationship", "object": ["urn:x:1"]}
    new = await api.http.get(f"entities/{urn}", headers={"Prefer": "ngsi-ld=1.9"})
    assert (new.status_code, new.json()["kind"]["type"]) == (200, "VocabProperty")


async def test_019_12_only_instances_of_these_datasets_are_shown(api: Api) -> None:
    urn = await api.make("1", a=[{"value": 1}, {"value": 2, "datasetId": "urn:d:2"}], b=3)
    assert await api.get(urn, datasetId="urn:d:2", options="concise") == {
        "id": urn,
        "type": "Building",
        "a": {"value": 2, "datasetId": "urn:d:2"},
    }
    plain = await api.get(urn, datasetId="@none", options="keyValues")
    assert (plain["a"], plain["b"]) == (1, 3)


async def test_019_02_5233_01_a_query_may_stand_in_a_body(api: Api) -> None:
    await chain(api)
    await api.make("2", name="Barn", floors=1)
    names = [one["name"]["value"] for one in await asked(api, entities=[{"type": "City"}, {"type": "Country"}])]
    assert names == ["Korea", "Gimpo"]
    one = {"type": "Building", "id": ["urn:ngsi-ld:Building:2"], "idPattern": "nothing"}
    assert [each["name"]["value"] for each in await asked(api, entities=[one], q="floors<2", pick=["name"])] == ["Barn"]
    assert len(await asked(api, entities=[{"type": "Building", "idPattern": ":2$"}, {"type": "City"}])) == 2
    ordered = await asked(api, entities=[{"type": "Building"}], ordering={"orderBy": ["floors;asc"]})
    assert [each["floors"]["value"] for each in ordered] == [1, 3]
    joined = await asked(api, entities=[{"type": "Building"}], join="inline", joinLevel=1, attrs=["locatedAt"])
    assert joined[0]["locatedAt"]["entity"]["id"] == CITY


@pytest.mark.parametrize(
    "body",
    [
        {"type": "Subscription"},
        {"entities": []},
        {"entities": [{"id": "urn:x:1"}]},
        {"entities": [{"type": "A", "id": "no uri"}]},
        {"entities": [{"type": "A", "id": ["urn:x:1", 5]}]},
        {"entities": [{"type": "A", "colour": "red"}]},
        {"entities": [{"type": "A"}], "attrs": []},
        {"entities": [{"type": "A"}], "q": 42},
        {"entities": [{"type": "A"}], "join": "inline", "joinLevel": 0},
        {"entities": [{"type": "A"}], "temporalQ": {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"}},
        {"entities": [{"type": "A"}], "ordering": {"orderBy": ["a;dist-asc"], "coordinates": "8,40"}},
        {"entities": [{"type": "A"}], "ordering": {"orderBy": ["a"], "geometry": 5}},
        {"entities": [{"type": "A"}], "geoQ": {"georel": "within"}},
        {},
    ],
)
async def test_019_32_5243_01_a_wrong_query_body_is_refused(api: Api, body: dict[str, Any]) -> None:
    response = await api.http.post("entityOperations/query", json={"type": "Query", **body})
    problem(response, 400, "BadRequestData")


async def test_5714_01_a_retrieval_makes_a_map_or_names_the_one_it_came_with(api: Api) -> None:
    urn = await api.make("1", a=1)
    made = await api.http.get(f"entities/{urn}", params={"entityMap": "true"})
    address = made.headers["NGSILD-EntityMap"]
    assert (made.status_code, made.json()["id"]) == (200, urn)
    map = await api.http.get(f"entityMaps/{address.rpartition('/')[2]}")
    assert map.json()["entityMap"] == {urn: ["@none"]}
    again = await api.http.get(f"entities/{urn}", headers={"NGSILD-EntityMap": address})
    assert again.headers["NGSILD-EntityMap"] == address
    dead = await api.http.get(f"entities/{urn}", headers={"NGSILD-EntityMap": f"{address}0"}, params={"pick": "id"})
    assert dead.headers["NGSILD-EntityMap"] not in (address, f"{address}0")
    assert "NGSILD-EntityMap" not in (await api.http.get(f"entities/{urn}")).headers


PIECES = (
    *(
        "name",
        "locatedAt",
        "id",
        "type",
        "scope",
        "createdAt",
        "a.b",
        "x[y]",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ",",
        "|",
        ";",
    ),
    *(
        "==",
        "!=",
        "~=",
        "!~=",
        ">",
        "..",
        "!",
        '"',
        "x",
        "1",
        "-1e9",
        "true",
        "2026-01-01T00:00:00Z",
        "urn:x:1",
        "*",
        "+",
        "#",
    ),
    *(
        "/a",
        ";desc",
        ";dist-asc",
        "near",
        ";maxDistance==",
        "Point",
        "und",
        "ko;q=0.5",
        "@none",
        " ",
        "é",
        "\\",
        "%",
        "\x00",
    ),
)
GRAMMARS = (
    "q",
    "csf",
    "scopeQ",
    "pick",
    "omit",
    "orderBy",
    "collation",
    "lang",
    "georel",
    "coordinates",
    "type",
    "attrs",
)


@pytest.mark.parametrize("seed", range(2))
async def test_no_text_in_any_grammar_is_more_than_a_bad_request(api: Api, seed: int) -> None:
    await chain(api)
    chance = random.Random(seed)
    statuses = set()
    for _ in range(600):
        names = chance.sample(GRAMMARS, chance.randrange(1, 3))
        given = {name: "".join(chance.choices(PIECES, k=chance.randrange(1, 7))) for name in names}
        fixed = {"local": "true", "join": "inline", "geometry": "Point", "orderFrom": "[1,2]"}
        if "georel" not in given:
            del fixed["geometry"]
        if chance.random() < 0.3:
            body = {"type": "Query", **{name: text for name, text in given.items() if name in ("q", "scopeQ", "lang")}}
            response = await api.http.post("entityOperations/query", params={"local": "true"}, json=body)
        else:
            response = await api.http.get("entities", params={**fixed, **given})
        statuses.add(response.status_code)
        assert response.status_code in {200, 400, 403}, (given, response.text)
    assert {200, 400} <= statuses
