"""An operator in front of the console: from a burst to a closed incident by keyboard, in each language, offline."""

import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from browser_city import AXE, CHROMIUM, FLAGS, Desk, Testbed, desk, fresh_alarm, living_city
from haechi.faces.console.static import UI
from haechi.testing.platform import Platform

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs apt-get install chromium fonts-noto-cjk"),
    pytest.mark.skipif(not (UI / "index.html").exists(), reason="needs cd console && npm ci && npm run build"),
]
SENSOR = "urn:ngsi-ld:WaterPressureSensor:gimpo:WP-001"
BURSTS = {"ko": "burst@pipe17", "zh": "burst@pipe400", "en": "burst@pipe520"}


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Testbed]]:
    with living_city(tmp_path_factory.mktemp("gimpo")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def operator(browser: Browser, city: tuple[Platform, Testbed]) -> Iterator[Desk]:
    with desk(browser, city[0].url) as made:
        yield made


@pytest.fixture
def testbed(city: tuple[Platform, Testbed]) -> Iterator[Testbed]:
    yield city[1]
    city[1].mend()


@pytest.fixture
def platform(city: tuple[Platform, Testbed]) -> Platform:
    return city[0]


def known(platform: Platform) -> set[str]:
    return {one["id"] for one in platform.request("GET", "/api/alarms", None)["alarms"]}


@pytest.mark.parametrize("lang", ["ko", "zh", "en"])
def test_a_burst_is_worked_to_a_closed_incident_by_keyboard(
    operator: Desk, platform: Platform, testbed: Testbed, lang: str
) -> None:
    operator.log_in(platform.user, platform.password, lang)
    expect(operator.page.locator("html")).to_have_attribute("lang", lang)
    expect(operator.id("map")).to_have_attribute("data-ready", "true")
    before = known(platform)
    testbed.fault(BURSTS[lang])
    alarm = fresh_alarm(platform, before)
    id = alarm["id"]

    operator.select(id)
    row = operator.row(id).last
    expect(row).to_be_visible()
    expect(row).to_contain_text(alarm["text"][lang].split(":")[0].split("：")[0])
    expect(operator.id(f"count-{alarm['level']}")).not_to_have_text("0")
    expect(operator.id("alarm-detail")).to_have_attribute("data-id", id)
    assert int(operator.id("map").get_attribute("data-alarms") or 0) >= 1
    operator.press("f")
    operator.page.wait_for_timeout(1500)  # the trend and the flight to the place, for the picture
    operator.shot(f"operations-{lang}")

    operator.press("a")
    platform.wait_for(lambda: acknowledged(platform, id), 10, "A did not acknowledge")
    expect(operator.id("alarm-detail")).to_have_attribute("data-id", id)
    operator.press("i")
    operator.page.wait_for_url("**#/incidents/*")
    expect(operator.id("incident")).to_have_attribute("data-state", "open")
    work(operator)
    operator.shot(f"incident-{lang}")

    close(operator)
    expect(operator.id("incident")).to_have_attribute("data-state", "closed")
    expect(operator.id("incident-closed")).to_be_visible()
    kept = platform.request("GET", f"/api/incidents/{operator.id('incident').get_attribute('data-id')}")
    assert (kept["state"], kept["cause"], kept["closed_by"]) == ("closed", "pipe_burst", "admin")
    assert id in {one["id"] for one in kept["alarms"]}
    assert [one["done"] for one in kept["steps"] if one["phase"] not in {"close", "evaluate"}].count(False) == 0
    assert {"opened", "step_done", "advanced", "closed"} <= {one["kind"] for one in kept["timeline"]}


def acknowledged(platform: Platform, id: str) -> bool:
    detail: dict[str, Any] = platform.request("GET", f"/api/alarms/{id}")
    return detail["acknowledged_by"] == "admin"


def work(operator: Desk) -> None:
    """Ticks every step with Space, then goes through the phases with G up to closing."""
    steps = operator.id("incident-step")
    expect(steps.first).to_be_visible()
    cursor = operator.page.locator('li.cursor [data-testid="incident-step"]')
    for index in range(steps.count()):
        step = steps.nth(index)
        expect(cursor).to_have_attribute("data-step", step.get_attribute("data-step") or "")
        expect(step).to_have_attribute("data-done", "false")
        operator.press("Space")
        expect(step).to_have_attribute("data-done", "true")
    for phase in ("warn", "dispatch", "handle", "verify"):
        operator.press("g")
        expect(operator.id("incident")).to_have_attribute("data-phase", phase)


def close(operator: Desk) -> None:
    """X, the second cause with the arrow keys, a note, Enter."""
    operator.press("x")
    expect(operator.id("close-cause")).to_be_focused()
    operator.press("ArrowDown", "ArrowDown")
    expect(operator.id("close-cause")).to_have_value("pipe_burst")
    operator.press("Tab")
    expect(operator.id("close-note")).to_be_focused()
    operator.page.keyboard.type("main isolated and repaired")
    operator.press("Enter")


def test_a_wrong_password_is_refused_and_says_so(operator: Desk, platform: Platform) -> None:
    operator.open()
    operator.id("lang-en").press("Enter")
    operator.id("login-user").fill("admin")
    operator.id("login-password").fill("not the password")
    operator.id("login-submit").press("Enter")
    expect(operator.page.get_by_role("alert").first).not_to_have_text("")
    expect(operator.id("login-user")).to_be_visible()
    expect(operator.page.locator("html[data-ready]")).to_have_count(0)


def test_a_value_changes_on_the_screen_without_a_reload(operator: Desk, platform: Platform) -> None:
    operator.log_in(platform.user, platform.password)
    operator.open(f"#/assets/{SENSOR}")
    operator.ready()
    card = operator.id("asset-card")
    expect(card).to_be_visible()
    shown = card.inner_text()
    operator.page.evaluate("window.sameDocument = true")
    expect(card).not_to_have_text(shown, timeout=40_000)
    assert operator.page.evaluate("window.sameDocument") is True


def test_a_list_that_was_left_while_it_scrolled_does_no_harm(operator: Desk, platform: Platform) -> None:
    operator.log_in(platform.user, platform.password)
    operator.open("#/assets")
    operator.ready()
    rows = operator.page.locator(".virtual").first
    expect(rows).to_be_visible()
    rows.evaluate("box => { window.left = box }")
    operator.page.evaluate("location.hash = '#/commands'")
    expect(operator.page.locator(".virtual")).to_have_count(0)
    # The browser tells a scroll with its next picture: the list may be gone by then. `desk` sees an error of the page.
    operator.page.evaluate("window.left.dispatchEvent(new Event('scroll'))")


def test_the_language_switches_live_everywhere(operator: Desk, platform: Platform) -> None:
    operator.log_in(platform.user, platform.password, "en")
    operator.page.evaluate("window.sameDocument = true")
    seen = {}
    for lang, name in (("ko", "김포시"), ("zh", "金浦市"), ("en", "Gimpo")):
        operator.id(f"lang-{lang}").press("Enter")
        expect(operator.page.locator("html")).to_have_attribute("lang", lang)
        expect(operator.page.locator("body")).to_contain_text(name)
        seen[lang] = operator.id("rail-incidents").inner_text()
    assert seen == {"ko": "사건", "zh": "事件", "en": "Incidents"}
    assert operator.page.evaluate("window.sameDocument") is True
    operator.page.reload()
    operator.ready()
    expect(operator.page.locator("html")).to_have_attribute("lang", "en")


def test_the_map_draws_with_webgl_where_it_is_asked_to(operator: Desk, platform: Platform) -> None:
    operator.log_in(platform.user, platform.password)
    expect(operator.id("map")).to_have_attribute("data-renderer", "lite")  # a software renderer: the console picks 2D
    operator.open(query="?still&map=gl")
    operator.ready()
    expect(operator.id("map")).to_have_attribute("data-renderer", "gl")
    expect(operator.id("map")).to_have_attribute("data-ready", "true")
    operator.shot("operations-gl")


ROUTES = [
    "#/ops",
    "#/alarms",
    "#/alarms?tab=history",
    "#/incidents",
    "#/assets",
    f"#/assets/{SENSOR}",
    "#/commands",
    "#/admin",
]


@pytest.mark.parametrize("lang", ["ko", "zh", "en"])
def test_axe_finds_nothing_serious_on_any_screen(operator: Desk, platform: Platform, lang: str) -> None:
    assert AXE.exists(), "cd console && npm ci"
    operator.open()
    operator.id(f"lang-{lang}").press("Enter")
    found = {"login": operator.axe()}
    operator.log_in(platform.user, platform.password, lang)
    for route in ROUTES:
        operator.open(route)
        operator.ready()
        found[route] = operator.axe()
    operator.press("?")
    expect(operator.id("dialog")).to_be_visible()
    found["help"] = operator.axe()
    assert {route: one for route, one in found.items() if one} == {}


def test_axe_finds_nothing_serious_around_an_alarm_and_its_incident(
    operator: Desk, platform: Platform, testbed: Testbed
) -> None:
    operator.log_in(platform.user, platform.password)
    before = known(platform)
    testbed.fault("burst@pipe250")
    id = fresh_alarm(platform, before)["id"]
    operator.select(id)
    expect(operator.id("alarm-detail")).to_have_attribute("data-id", id)
    found = {"detail": operator.axe()}
    operator.press("s")
    expect(operator.id("shelve-reason")).to_be_focused()
    found["shelve"] = operator.axe()
    operator.press("Escape", "i")
    expect(operator.id("incident")).to_be_visible()
    found["incident"] = operator.axe()
    operator.press("x")
    expect(operator.id("close-cause")).to_be_focused()
    found["close"] = operator.axe()
    assert {route: one for route, one in found.items() if one} == {}


TWO_KEYS = """(keys) => keys.forEach((key) => document.activeElement.dispatchEvent(
    new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })))"""


def test_a_key_right_after_the_escape_of_a_dialog_is_not_lost(operator: Desk, platform: Platform) -> None:
    operator.log_in(platform.user, platform.password)
    operator.press("?")
    expect(operator.id("dialog")).to_be_visible()
    operator.page.evaluate(TWO_KEYS, ["Escape", "/"])
    expect(operator.id("dialog")).to_have_count(0)
    expect(operator.page.locator("#search")).to_be_focused()


def test_an_alarm_is_shelved_with_a_reason_by_keyboard(operator: Desk, platform: Platform, testbed: Testbed) -> None:
    operator.log_in(platform.user, platform.password)
    before = known(platform)
    testbed.fault("burst@pipe150")
    id = fresh_alarm(platform, before)["id"]
    operator.select(id)
    operator.press("s")
    operator.page.keyboard.type("valve works until noon")
    operator.press("Enter")
    expect(operator.row(id)).to_have_count(0)

    def reasons() -> list[str]:
        shelved = platform.request("GET", "/api/alarms?state=shelved")["alarms"]
        return [one["shelve_reason"] for one in shelved if one["id"] == id]

    platform.wait_for(lambda: reasons() == ["valve works until noon"], 30, "the alarm is not among the shelved")


def test_a_viewer_sees_everything_and_changes_nothing(operator: Desk, platform: Platform, testbed: Testbed) -> None:
    printed = platform.command("user", "add", "guest", "--role", "viewer", "--data", str(platform.data)).stdout
    password = re.search(r"password (\S+)", printed)
    assert password, printed
    operator.log_in("guest", password.group(1))
    before = known(platform)
    testbed.fault("burst@pipe650")
    waiting = fresh_alarm(platform, before)["id"]
    operator.select(waiting)
    operator.press("a")
    expect(operator.page.get_by_role("alert").first).not_to_have_text("")
    assert platform.request("GET", f"/api/alarms/{waiting}")["state"] == "unacknowledged"


def test_a_lost_server_is_said_within_seconds_and_the_screen_heals_itself(operator: Desk, platform: Platform) -> None:
    operator.log_in(platform.user, platform.password)
    os.kill(platform.pids()["api"], signal.SIGSTOP)  # it hangs: killed alone, it is back before anybody notices
    expect(operator.id("live-state")).to_have_attribute("data-state", "lost", timeout=15_000)
    expect(operator.id("link-lost")).to_be_visible()
    platform.kill("api")
    expect(operator.id("live-state")).to_have_attribute("data-state", "live", timeout=60_000)
    expect(operator.id("link-lost")).to_have_count(0)
