"""An operator sets a value from the screen: a PLC takes it, its way is followed live, and it is on record."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from test_setpoints_reach_the_device import LINK, MQTT_SENSOR, PLC_SENSOR, Plc, pressure

from browser_city import CHROMIUM, FLAGS, Desk, desk
from haechi.faces.console.static import UI
from haechi.testing.platform import Platform

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("mosquitto_pub"), reason="mosquitto-clients is not installed"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs apt-get install chromium fonts-noto-cjk"),
    pytest.mark.skipif(not (UI / "index.html").exists(), reason="needs cd console && npm ci && npm run build"),
]
TINY = Path(__file__).parents[1] / "cities" / "tiny"
COMMANDS = '[settings.commands]\ntopic = "city/{device}/commands/{field}"\n\n[[map]]'
RULE = """\
[[rule]]
id = "tiny.high"
domain = "water"
name = { ko = "수압 과다", zh = "水压过高", en = "High pressure" }
text = { ko = "{name}: {value} {unit}", zh = "{name}：{value} {unit}", en = "{name}: pressure {value} {unit}" }
entities = { type = "WaterPressureSensor" }
attribute = "pressure"
playbook = "water.burst"
[rule.levels.alert]
when = { above = 800 }
"""
STATES = {
    "en": ["Requested", "Sent", "Confirmed", "Verified"],
    "ko": ["요청", "전송", "확인", "검증"],
    "zh": ["已请求", "已发送", "已确认", "已核实"],
}


@pytest.fixture(scope="module")
def plc() -> Iterator[Plc]:
    with Plc() as running:
        yield running


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, plc: Plc) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("setpoints")
    city = Path(shutil.copytree(TINY, folder / "tiny"))
    (city / "links" / "push.toml").unlink()
    (city / "links" / "plant.toml").write_text(LINK.format(port=plc.port))
    (city / "rules").mkdir()
    (city / "rules" / "high.toml").write_text(RULE)
    rows = f"device,channel,link,entity\nRTU-1,,mqtt,{MQTT_SENSOR}\nPLC-1,,plant,{PLC_SENSOR}\n"
    (city / "devices.csv").write_text(rows)
    mqtt = city / "links" / "mqtt.toml"
    text = mqtt.read_text().replace("port = 1883", 'port = 1883\nsubscribe = ["city/{device}/commands/#"]')
    mqtt.write_text(text.replace("[[map]]", COMMANDS) + "writable = true\ntimeout_s = 4.0\n")
    running = Platform(city, folder / "data")
    running.ports["plant"] = plc.port
    with running:
        running.wait_for(lambda: pressure(running) == 300.0, 30, "the PLC is polled")
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def operator(browser: Browser, platform: Platform) -> Iterator[Desk]:
    with desk(browser, platform.url) as made:
        yield made


def at_asset(operator: Desk, platform: Platform, entity: str, lang: str = "en") -> None:
    operator.log_in(platform.user, platform.password, lang)
    operator.open(f"#/assets/{entity}")
    operator.ready()
    expect(operator.id("setpoint")).to_be_visible()


def ask(operator: Desk, value: str, why: str) -> None:
    """V, Enter, the value, the reason, Enter: what is shown now asks for the last word."""
    operator.press("v")
    expect(operator.id("setpoint-ask")).to_be_focused()
    operator.press("Enter")
    expect(operator.id("setpoint-value")).to_be_focused()
    operator.page.keyboard.type(value)
    operator.press("Tab")
    operator.page.keyboard.type(why)
    operator.press("Enter")


def ended(operator: Desk, state: str) -> None:
    path = operator.id("dialog").get_by_test_id("command-path")
    expect(path).to_have_attribute("data-open", "false", timeout=30_000)
    expect(path).to_have_attribute("data-state", state)


@pytest.mark.parametrize(("lang", "value"), [("en", "412"), ("ko", "420"), ("zh", "430")])
def test_a_setpoint_goes_by_keyboard_from_the_asset_to_the_plc_and_is_followed_to_its_end(
    operator: Desk, platform: Platform, plc: Plc, lang: str, value: str
) -> None:
    at_asset(operator, platform, PLC_SENSOR, lang)
    ask(operator, value, "night pressure")
    plain = operator.id("setpoint-plain")
    expect(plain).to_contain_text(f"{value} kPa")
    expect(operator.id("dialog-submit")).to_be_focused()
    operator.shot(f"setpoint-confirm-{lang}")
    assert int(value) not in plc.writes, "nothing leaves before the last word"
    operator.press("Enter")
    ended(operator, "verified")
    for word in STATES[lang]:
        expect(operator.id("dialog")).to_contain_text(word)
    operator.shot(f"setpoint-verified-{lang}")
    assert (plc.writes[-1], plc.writes.count(int(value))) == (int(value), 1)
    operator.press("Escape")
    card = operator.id("setpoint")
    expect(card.get_by_test_id("command-path")).to_have_attribute("data-state", "verified")
    expect(operator.id("asset-card")).to_contain_text(f"{value} kPa")
    operator.shot(f"setpoint-asset-{lang}")
    newest = platform.request("GET", "/api/commands")["commands"][0]
    assert (newest["requested_by"], newest["reason"], newest["value"]) == ("admin", "night pressure", float(value))


def test_a_value_that_is_out_of_range_is_not_even_asked_for(operator: Desk, platform: Platform, plc: Plc) -> None:
    at_asset(operator, platform, PLC_SENSOR)
    before = len(plc.writes)
    ask(operator, "5000", "too much")
    expect(operator.id("setpoint-value")).to_be_visible()
    expect(operator.id("setpoint-plain")).to_have_count(0)
    operator.press("Escape")
    expect(operator.id("dialog")).to_have_count(0)
    assert len(plc.writes) == before


def test_what_the_plc_forgets_is_undone_before_the_operators_eyes(operator: Desk, platform: Platform, plc: Plc) -> None:
    at_asset(operator, platform, PLC_SENSOR)
    plc.stuck = True
    try:
        ask(operator, "600", "it will not hold")
        expect(operator.id("setpoint-plain")).to_be_visible()
        operator.press("Enter")
        ended(operator, "undone")
    finally:
        plc.stuck = False
    expect(operator.id("dialog")).to_contain_text("was written back")
    operator.shot("setpoint-undone-en")


def test_a_device_that_is_away_is_named_while_one_waits_and_then_the_command_has_failed(
    operator: Desk, platform: Platform
) -> None:
    at_asset(operator, platform, MQTT_SENSOR)
    ask(operator, "250", "valve test")
    expect(operator.id("setpoint-plain")).to_be_visible()
    operator.press("Enter")
    dialog = operator.id("dialog")
    expect(dialog).to_contain_text("Waiting: RTU-1 does not listen for commands")
    operator.shot("setpoint-waiting-en")
    ended(operator, "failed")
    expect(dialog).to_contain_text("Nothing was sent")


@pytest.mark.parametrize("lang", ["en", "ko", "zh"])
def test_every_command_is_on_record_with_who_when_what_and_why(operator: Desk, platform: Platform, lang: str) -> None:
    operator.log_in(platform.user, platform.password, lang)
    body = {"entity": PLC_SENSOR, "attribute": "pressure", "value": 440.0, "reason": f"record {lang}"}
    id = platform.request("POST", "/api/commands", body)["id"]
    operator.id("rail-commands").press("Enter")
    row = operator.page.locator(f'[data-testid="command-row"][data-id="{id}"]')
    expect(row).to_have_attribute("data-state", "verified", timeout=30_000)
    expect(row).to_contain_text("admin")
    expect(row).to_contain_text(f"record {lang}")
    row.get_by_test_id("command-open").press("Enter")
    detail = operator.id("command-detail")
    for word in STATES[lang]:
        expect(detail).to_contain_text(word)
    operator.page.wait_for_timeout(300)
    operator.shot(f"commands-{lang}")
    if lang != "en":
        return  # the rest of it is the same in every language
    assert operator.axe() == []
    operator.open(f"#/assets/{PLC_SENSOR}")
    operator.ready()
    assert operator.axe() == []
    operator.press("v", "Enter")
    expect(operator.id("setpoint-value")).to_be_focused()
    assert operator.axe() == []


def incident_at(platform: Platform, value: float) -> str:
    """The pressure goes too high, somebody opens an incident."""
    body = {"entity": PLC_SENSOR, "attribute": "pressure", "value": value, "reason": "too high on purpose"}
    platform.request("POST", "/api/commands", body)
    alarm: Any = lambda: platform.request("GET", "/api/alarms")["alarms"]  # noqa: E731
    (raised,) = platform.wait_for(alarm, 30, "no alarm")
    opened: str = platform.request("POST", "/api/incidents", {"alarms": [raised["id"]]})["id"]
    return opened


def test_from_a_step_of_an_incident_the_nearest_device_is_set_and_the_timeline_says_so(
    operator: Desk, platform: Platform, plc: Plc
) -> None:
    id = incident_at(platform, 850.0)
    operator.log_in(platform.user, platform.password)
    operator.open(f"#/incidents/{id}")
    operator.ready()
    expect(operator.id("incident-set")).to_be_visible()
    operator.press("v")
    choose = operator.id("setpoint-choose")
    expect(choose).to_be_focused()
    expect(choose.locator("option").first).to_contain_text("Pressure 2")
    assert operator.axe() == []
    operator.press("Enter")
    expect(operator.id("setpoint-value")).to_be_focused()
    operator.page.keyboard.type("300")
    expect(operator.id("setpoint-reason")).not_to_have_value("")  # the step of the playbook
    operator.press("Enter")
    expect(operator.id("setpoint-plain")).to_contain_text("from 850 kPa to 300 kPa")
    operator.press("Enter")
    ended(operator, "verified")
    operator.press("Escape")
    assert plc.writes[-1] == 300
    timeline = platform.request("GET", f"/api/incidents/{id}")["timeline"]
    assert "Pressure 2 · Pressure: 300 kPa" in timeline[-1]["text"]


def test_a_viewer_sees_commands_has_no_button_and_is_refused_by_the_server(
    operator: Desk, platform: Platform, plc: Plc
) -> None:
    printed = platform.command("user", "add", "guest", "--role", "viewer", "--data", str(platform.data)).stdout
    password = re.search(r"password (\S+)", printed)
    assert password, printed
    operator.log_in("guest", password.group(1))
    operator.open(f"#/assets/{PLC_SENSOR}")
    operator.ready()
    expect(operator.id("setpoint")).to_be_visible()
    expect(operator.id("setpoint-ask")).to_have_count(0)
    before = len(plc.writes)
    found = operator.page.evaluate(
        """async (entity) => {
            const body = JSON.stringify({ entity, attribute: 'pressure', value: 450, reason: 'because' })
            const headers = { 'content-type': 'application/json' }
            const answer = await fetch('/api/commands', { method: 'POST', headers, body })
            return [answer.status, (await answer.json()).detail]
        }""",
        PLC_SENSOR,
    )
    assert found[0] == 403 and "needs the role operator" in found[1]
    assert len(plc.writes) == before


def test_what_could_not_be_understood_is_shown_with_its_bytes_and_tried_again(
    operator: Desk, platform: Platform
) -> None:
    publish(platform, '{"druck": 3.5}')
    held: Any = lambda: platform.request("GET", "/api/quarantine")["messages"]  # noqa: E731
    platform.wait_for(held, 20, "it is in quarantine")
    operator.log_in(platform.user, platform.password)
    operator.open("#/admin")
    operator.ready()
    row = operator.id("quarantine-row").first
    expect(row).to_contain_text('{"druck": 3.5}')
    expect(row).to_contain_text("RTU-1")
    row.get_by_test_id("quarantine-replay").press("Enter")
    expect(operator.page.get_by_role("alert").last).to_contain_text("0 brought back, 1 still not understood")
    operator.id("quarantine-replay-all").press("Enter")
    expect(operator.id("dialog")).to_be_visible()
    operator.press("Enter")
    expect(operator.id("dialog")).to_have_count(0)
    for process in ("api", "gateway", "pipeline", "supervisor", "nats-server"):
        expect(operator.page.locator(f'tr[data-role="{process}"]')).to_contain_text("MiB")
    expect(operator.id("log-fill")).to_contain_text("20 GiB")
    operator.shot("admin-en")
    assert operator.axe() == []
    assert len(held()) == 1


def publish(platform: Platform, payload: str) -> None:
    who = ["-u", "RTU-1", "-P", platform.secret("RTU-1", "mqtt"), "-q", "1", "-t", "city/RTU-1/P-1"]
    command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(platform.ports["mqtt"]), *who, "-m", payload]
    assert subprocess.run(command, check=False, timeout=20).returncode == 0
