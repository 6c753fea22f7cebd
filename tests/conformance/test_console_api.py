"""The console's HTTP API against docs/reference/console-api.md: shapes, roles, the door, and clear refusals."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route, WebSocketRoute

from console_city import AT, SENSOR, STATION, Console, alarm, build, client
from haechi.core.errors import Conflict, Unavailable
from haechi.faces.console.static import is_public

REFERENCE = Path(__file__).parents[2] / "docs/reference/console-api.md"


@pytest.fixture
async def console(tmp_path: Path, clock: Any) -> AsyncIterator[Console]:
    built = await build(tmp_path, clock)
    built.records.put("alarms", alarm("a1"), alarm("a2", changed_at=AT + 1_000_000, level="alert"))
    yield built


@dataclass
class Asking:
    """Asks as one user."""

    console: Console
    user: str = "operator"

    async def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        async with client(self.console, await self.console.token(self.user)) as http:
            return await http.request(method, path, json=body, params=query or None)


@pytest.fixture
def ask(console: Console) -> Asking:
    return Asking(console)


# --- the door ---


def test_every_row_of_the_reference_has_a_route(console: Console) -> None:
    rows = re.findall(r"^\| (.*?) \|", REFERENCE.read_text("utf-8"), re.MULTILINE)
    promised = {match for row in rows for match in re.findall(r"`(GET|POST) (/[^`?]*)", row)}
    offered = {(method, route.path) for route in _routes(console) for method in route.methods or ()}
    offered = {(method, re.sub(r":\w+}", "}", path)) for method, path in offered}
    steps = "/api/incidents/{id}/{assign,step,note,advance,attach,close}"
    assert len(promised) > 20 and ("POST", steps) in promised
    missing = promised - offered - {("POST", steps), ("GET", "/api/live")}
    assert not missing
    assert ("POST", "/api/incidents/{id}/{step}") in offered
    assert any(isinstance(one, WebSocketRoute) and one.path == "/api/live" for one in console.app.routes)


def _routes(console: Console) -> list[Route]:
    return [one for one in console.app.routes if isinstance(one, Route)]


async def test_every_route_but_login_health_and_files_answers_401_without_a_session(console: Console) -> None:
    closed = 0
    async with client(console) as http:
        for route in _routes(console):
            path = re.sub(r"{[^}]*}", "x", route.path)
            for method in (route.methods or set()) - {"HEAD"}:
                if is_public(method, path):
                    continue
                answer = await http.request(method, path, headers={"Authorization": "Bearer made-up"})
                assert answer.status_code == 401, (method, path)
                assert answer.json()["error"] == "Refused" and "log in" in answer.json()["detail"]
                closed += 1
    assert closed >= 24


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/ngsi-ld/v1/entities", "/openapi.json", "/assets/../../secret"])
async def test_a_path_nobody_thought_of_is_closed_too(console: Console, path: str) -> None:
    async with client(console) as http:
        assert (await http.get(path)).status_code == 401


async def test_login_answers_a_token_and_a_strict_cookie(console: Console) -> None:
    async with client(console) as http:
        answer = await http.post("/api/login", json={"user": "operator", "password": "correct horse"})
        assert answer.status_code == 200
        body = answer.json()
        assert {key: body[key] for key in ("user", "role", "name")} == {
            "user": "operator",
            "role": "operator",
            "name": "operator",
        }
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and body["token"] in cookie
        assert (await http.get("/api/me")).json()["user"] == "operator"  # by the cookie the client now keeps
        await http.post("/api/logout", headers={"Origin": "http://console.test"})
        assert (await http.get("/api/me", headers={"Cookie": cookie.split(";")[0]})).status_code == 401


async def test_wrong_passwords_are_401_then_429_with_the_time_to_wait(console: Console) -> None:
    async with client(console) as http:
        wrong = {"user": "operator", "password": "wrong horse"}
        assert [(await http.post("/api/login", json=wrong)).status_code for _ in range(5)] == [401] * 5
        answer = await http.post("/api/login", json={"user": "operator", "password": "correct horse"})
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"] == "Busy"


async def test_a_write_with_the_cookie_needs_the_origin_of_the_console(console: Console) -> None:
    cookie = {"Cookie": f"haechi_session={await console.token('operator')}"}
    async with client(console) as http:
        body = {"alarms": ["a1"]}
        foreign = await http.post(
            "/api/alarms/acknowledge", json=body, headers={**cookie, "Origin": "http://evil.test"}
        )
        missing = await http.post("/api/alarms/acknowledge", json=body, headers=cookie)
        opaque = await http.post("/api/alarms/acknowledge", json=body, headers={**cookie, "Origin": "null"})
        assert [foreign.status_code, missing.status_code, opaque.status_code] == [403, 403, 403]
        assert console.records.commands == []
        own = await http.post("/api/alarms/acknowledge", json=body, headers={**cookie, "Origin": "http://console.test"})
        assert own.status_code == 200
        login = {"user": "operator", "password": "correct horse"}
        assert (await http.post("/api/login", json=login, headers={"Origin": "http://evil.test"})).status_code == 403


async def test_every_answer_carries_the_strict_headers(console: Console, ask: Asking) -> None:
    answers = [await ask("GET", "/api/city"), await ask("GET", "/api/nothing"), await ask("GET", "/health")]
    async with client(console) as http:
        answers += [await http.get("/"), await http.get("/api/city")]
    for answer in answers:
        csp = answer.headers["content-security-policy"]
        assert "default-src 'self'" in csp and "script-src 'self';" in csp and "frame-ancestors 'none'" in csp
        assert "unsafe-eval" not in csp and "http" not in csp
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
    assert answers[0].headers["cache-control"] == "no-store"


WRITES = [
    ("/api/alarms/acknowledge", {"alarms": ["a1"]}),
    ("/api/alarms/a1/shelve", {"duration_s": 900, "reason": "sensor work"}),
    ("/api/alarms/a1/unshelve", {}),
    ("/api/incidents", {"alarms": ["a1"]}),
    ("/api/incidents/I-1/assign", {"assignee": "kim"}),
    ("/api/incidents/I-1/step", {"step": "isolate", "done": True}),
    ("/api/incidents/I-1/note", {"text": "on site"}),
    ("/api/incidents/I-1/advance", {"phase": "handle"}),
    ("/api/incidents/I-1/attach", {"alarms": ["a2"]}),
    ("/api/incidents/I-1/close", {"cause": "corrosion"}),
    ("/api/quarantine/replay", {}),
]


@pytest.mark.parametrize(("path", "body"), WRITES, ids=[path for path, _ in WRITES])
async def test_a_viewer_changes_nothing_and_an_operator_may(console: Console, path: str, body: Any) -> None:
    console.records.put(
        "incidents", {"id": "I-1", "state": "open", "alarms": ["a1"], "playbook": None, "opened_at": AT}
    )
    refused = await Asking(console, "viewer")("POST", path, body)
    assert refused.status_code == 403 and "operator" in refused.json()["detail"]
    assert console.records.commands == [] and console.held.replayed == []
    assert (await Asking(console, "operator")("POST", path, body)).status_code in {200, 201}
    assert console.records.commands or console.held.replayed


# --- the city ---


async def test_the_city_is_described_with_its_layers(ask: Asking) -> None:
    city = (await ask("GET", "/api/city")).json()
    assert city["name"] == {"ko": "김포시", "zh": "金浦市", "en": "Gimpo"} and city["simulated"] is True
    assert city["frame"] == {"west": 126.5, "south": 37.55, "east": 126.8, "north": 37.75}
    assert {one["id"] for one in city["domains"]} == {"water", "air", "weather", "safety"}
    assert set(city["domains"][0]) == {"id", "name", "icon", "colour"}
    assert city["now"] == "2026-11-22T09:00:00Z"
    layer = city["map"][0]
    answer = await ask("GET", layer["url"])
    assert answer.headers["content-type"] == "application/geo+json" and answer.json()["type"] == "FeatureCollection"
    assert (await ask("GET", "/api/map/nothing.geojson")).status_code == 404


async def test_facilities_come_in_columns_of_one_length_and_unchanged_ones_as_304(
    console: Console, ask: Asking
) -> None:
    answer = await ask("GET", "/api/facilities")
    body = answer.json()
    columns = [body[name] for name in ("id", "type", "domain", "lon", "lat")] + list(body["name"].values())
    assert {len(column) for column in columns} == {7} and set(body["name"]) == {"ko", "zh", "en"}
    row = body["id"].index(SENSOR)
    assert (body["domain"][row], body["lon"][row], body["name"]["zh"][row]) == ("water", 126.70, "P-017 设施")
    assert (await ask("GET", "/api/facilities", domain="air")).json()["id"] == [STATION]
    async with client(console, await console.token("viewer")) as http:
        again = await http.get("/api/facilities", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304 and again.content == b""


async def test_latest_values_come_in_columns(ask: Asking) -> None:
    body = (await ask("GET", "/api/latest", domain="water")).json()
    assert body == {
        "entity": [SENSOR], "attribute": ["pressure"], "value": [412.3], "unit": ["KPA"],
        "observed_at": ["2026-11-22T09:00:00.000Z"], "quality": [1],
    }  # fmt: skip
    assert (await ask("GET", "/api/latest", domain="traffic")).status_code == 404


async def test_an_entity_tells_age_period_label_and_its_alarms(console: Console, ask: Asking, clock: Any) -> None:
    clock.advance(25)
    body = (await ask("GET", f"/api/entities/{SENSOR}")).json()
    pressure = body["attributes"]["pressure"]
    assert pressure["value"] == 412.3 and pressure["unit"] == "KPA" and pressure["age_s"] == 25.0
    assert pressure["quality"] == ["out_of_range"] and pressure["label"]["ko"] == "수압"
    assert pressure["period_s"] == 10 and pressure["observed_at"] == "2026-11-22T09:00:00Z"
    assert body["name"]["ko"] == "P-017 시설" and body["domain"] == "water"
    assert {one["id"] for one in body["alarms"]} == {"a1", "a2"}
    assert (await ask("GET", "/api/entities/urn:ngsi-ld:Nothing:gimpo:1")).status_code == 404


async def test_texts_of_types_and_attributes_come_in_each_language(ask: Asking) -> None:
    body = (await ask("GET", "/api/texts/ko")).json()
    assert body["types"]["WaterPressureSensor"] == "수압계"
    assert body["attributes"]["WaterPressureSensor.pressure"] == "수압"
    assert set(body["domains"]) == {"water", "air", "weather", "safety"}
    assert (await ask("GET", "/api/texts/fr")).status_code == 404


# --- alarms and incidents ---


async def test_alarms_are_listed_newest_first_with_instants_as_text(ask: Asking) -> None:
    body = (await ask("GET", "/api/alarms")).json()
    assert [one["id"] for one in body["alarms"]] == ["a2", "a1"]
    assert body["alarms"][1]["raised_at"] == "2026-11-22T09:00:00Z" and body["alarms"][1]["cleared_at"] is None
    assert body["counts"]["serious"] == 2
    assert len((await ask("GET", "/api/alarms", limit=1)).json()["alarms"]) == 1


async def test_an_alarm_comes_with_transitions_rule_playbook_and_the_three_nearest_cameras(
    console: Console, ask: Asking
) -> None:
    move = {"id": "a1.000001", "alarm": "a1", "at": AT, "from": "normal", "to": "unacknowledged", "level": "serious"}
    console.records.put("transitions", {**move, "who": "watch", "why": "< 100"})
    body = (await ask("GET", "/api/alarms/a1")).json()
    assert body["transitions"][0]["at"] == "2026-11-22T09:00:00Z"
    assert [one["id"][-3:] for one in body["cameras"]] == ["C-0", "C-1", "C-2"]
    assert 80 < body["cameras"][0]["distance_m"] < 95 and body["cameras"][0]["name"]["zh"] == "C-0 设施"
    assert body["playbook"]["id"] == "water.burst" and body["rule"]["provenance"] == {"version": "1"}
    assert (await ask("GET", "/api/alarms/nothing")).status_code == 404


async def test_commands_carry_who_when_and_what(console: Console, ask: Asking) -> None:
    answer = await ask("POST", "/api/alarms/acknowledge", {"alarms": ["a1", "a2"], "note": "seen"})
    assert [one["id"] for one in answer.json()["alarms"]] == ["a1", "a2"]
    assert console.records.commands == [
        {
            "id": "command-1",
            "kind": "alarm.acknowledge",
            "user": "operator",
            "at": AT,
            "alarms": ["a1", "a2"],
            "note": "seen",
        }
    ]


async def test_what_the_owner_of_a_command_refuses_reaches_the_operator(console: Console, ask: Asking) -> None:
    console.records.refuse = Conflict("alarm a1 is acknowledged by lee; read it again")
    answer = await ask("POST", "/api/alarms/acknowledge", {"alarms": ["a1"]})
    assert answer.status_code == 409
    assert answer.json() == {"error": "Conflict", "detail": "alarm a1 is acknowledged by lee; read it again"}
    console.records.refuse = Unavailable("the log does not answer; try again")
    assert (await ask("POST", "/api/incidents", {"alarms": ["a1"]})).status_code == 503


async def test_an_incident_is_opened_from_alarms_and_comes_with_them(console: Console, ask: Asking) -> None:
    answer = await ask("POST", "/api/incidents", {"alarms": ["a1"], "title": "burst"})
    assert answer.status_code == 201
    body = answer.json()
    assert body["alarms"][0]["id"] == "a1" and body["playbook"]["id"] == "water.burst"
    assert body["opened_at"] == "2026-11-22T09:00:00Z"
    assert [one["id"] for one in (await ask("GET", "/api/incidents")).json()["incidents"]] == ["I-1"]
    await ask("POST", "/api/incidents/I-1/step", {"step": "isolate", "done": True, "note": "valve 3"})
    sent = console.records.commands[-1]
    assert (sent["kind"], sent["incident"], sent["step"], sent["done"]) == ("incident.step", "I-1", "isolate", True)
    assert (await ask("GET", "/api/incidents/I-9")).status_code == 404
    assert (await ask("POST", "/api/incidents/I-1/explode", {})).status_code == 404


BAD = [
    ("POST", "/api/alarms/acknowledge", {"alarms": []}, "alarms"),
    ("POST", "/api/alarms/acknowledge", {"alarm": "a1"}, "alarm"),
    ("POST", "/api/alarms/a1/shelve", {"duration_s": -1, "reason": "x"}, "duration_s"),
    ("POST", "/api/alarms/a1/shelve", {"duration_s": 900, "reason": ""}, "reason"),
    ("POST", "/api/incidents/I-1/step", {"step": "a", "done": "yes"}, "done"),
    ("POST", "/api/quarantine/replay", {"ids": "q1"}, "ids"),
    ("GET", "/api/alarms?state=loud", None, "shelved"),
    ("GET", "/api/alarms?limit=many", None, "whole number"),
    ("GET", "/api/alarms?limit=0", None, "whole number"),
    ("GET", "/api/history", None, "entity="),
    ("GET", "/api/history?entity=x&attribute=y", None, "from="),
    ("GET", "/api/history?entity=x&from=yesterday&to=2026-11-22T09:00:00Z", None, "from='yesterday'"),
    ("GET", "/api/history?entity=x&from=2026-11-22T09:00:00&to=2026-11-22T10:00:00Z", None, "offset"),
    ("GET", "/api/history?entity=x&from=2026-11-22T09:00:00Z&to=2026-11-22T09:00:00Z", None, "before"),
    ("GET", "/api/history?entity=x&from=2026-11-22T09:00:00Z&to=2026-11-22T10:00:00Z&aggregate=median", None, "stddev"),
    ("GET", "/api/history?entity=x&from=2026-11-22T09:00:00Z&to=2026-11-22T10:00:00Z&window_s=-5", None, "window_s"),
    ("GET", "/api/history?entity=x&from=2026-11-22T09:00:00Z&to=2026-11-22T10:00:00Z&limit=9999999", None, "limit"),
    ("GET", "/api/history?entity=x&at=2026-11-22T09:00:00Z&to=2026-11-22T10:00:00Z", None, "not both"),
    ("GET", "/api/history?entity=x&format=xml", None, "arrow"),
]


@pytest.mark.parametrize(("method", "path", "body", "told"), BAD, ids=[f"{one[1]}-{one[3]}" for one in BAD])
async def test_bad_input_is_refused_with_400_and_names_what_is_wrong(
    ask: Asking, method: str, path: str, body: Any, told: str
) -> None:
    answer = await ask(method, path, body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"] == "InvalidData" and told in answer.json()["detail"]


async def test_a_body_that_is_no_json_or_too_large_is_refused(console: Console) -> None:
    async with client(console, await console.token("operator")) as http:
        torn = await http.post("/api/alarms/acknowledge", content=b'{"alarms": [')
        large = await http.post("/api/alarms/acknowledge", content=b" " * (1 << 20) + b"{}")
    assert torn.status_code == large.status_code == 400
    assert "larger" in large.json()["detail"]


async def test_quarantine_is_listed_and_replayed(console: Console, ask: Asking) -> None:
    held = (await ask("GET", "/api/quarantine", link="air-hj212")).json()["messages"]
    assert held == [{"id": "q1", "link": "air-hj212", "received_at": "2026-11-22T09:00:00Z", "reason": "malformed"}]
    assert (await ask("POST", "/api/quarantine/replay", {"ids": ["q1"]})).json() == {
        "replayed": 1,
        "still_quarantined": 0,
    }
    assert console.held.replayed == [(["q1"], None)]
    assert (await ask("GET", "/api/account")).json()["balanced"] is True


# --- files and health ---


async def test_health_needs_no_login_and_is_503_when_down(console: Console, tmp_path: Path, clock: Any) -> None:
    async with client(console) as http:
        assert (await http.get("/health")).json() == {"status": "ok", "checks": {}}

    async def down() -> dict[str, Any]:
        return {"status": "down", "checks": {"log": "nats-server is not running"}}

    broken = await build(tmp_path / "second", clock, health=down)
    async with client(broken) as http:
        assert (await http.get("/health")).status_code == 503


async def test_a_console_that_is_not_built_says_how_to_build_it(tmp_path: Path, clock: Any) -> None:
    async with client(await build(tmp_path, clock, ui=tmp_path / "nothing")) as http:
        answer = await http.get("/")
    assert answer.status_code == 503 and "npm run build" in answer.text


async def test_hashed_assets_are_immutable_the_page_is_not_and_modules_are_javascript(
    tmp_path: Path, clock: Any
) -> None:
    ui = tmp_path / "ui"
    (ui / "assets").mkdir(parents=True)
    (ui / "index.html").write_text("<!doctype html>")
    (ui / "assets/maplibre-gl-worker-DfX3k9aB.mjs").write_text("export {}")
    (ui / "assets/plain.css").write_text("a{}")
    (tmp_path / "secret.html").write_text("secret")
    async with client(await build(tmp_path, clock, ui=ui)) as http:
        page = await http.get("/")
        worker = await http.get("/assets/maplibre-gl-worker-DfX3k9aB.mjs")
        assert page.headers["cache-control"] == "no-cache" and page.headers["content-type"].startswith("text/html")
        assert worker.headers["cache-control"].endswith("immutable")
        assert worker.headers["content-type"].startswith("text/javascript")
        assert (await http.get("/assets/plain.css")).headers["cache-control"] == "no-cache"
        assert (await http.get("/", headers={"If-None-Match": page.headers["etag"]})).status_code == 304
        assert (await http.get("/missing.js")).status_code == 404
        for path in ("/../secret.html", "/assets/%2e%2e/%2e%2e/secret.html", "/%2e%2e/secret.html"):
            assert (await http.get(path)).status_code in {401, 404}, path
