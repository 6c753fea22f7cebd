"""Row f: a fault on the wire → its alarm in the browser, under 10,000 observations a second.

A value over the limit is published on a connection of its own; Debian's chromium shows the console, and a
MutationObserver in the page notes when the list of alarms has one more (in a flood, which thirty faults in a minute
are, the console groups rows: the number above the list counts alarms, not rows). The rule has no dwell.
Both instants come from the one clock of the machine.
"""

import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench import _city, _mqtt, _running
from bench._steady import CONCENTRATORS, SPARE, Field, Held
from bench._table import Line, alone
from haechi.testing.platform import Platform

SENSORS, RATE, FAULTS, EVERY_S = 10_000, 10_000.0, 40, 1.0
CHROMIUM = Path("/usr/bin/chromium")
RULE = """
[[rule]]
id = "bench.burst"
name = { ko = "파열", zh = "爆管", en = "Burst" }
text = { ko = "{name}: {value}", zh = "{name}：{value}", en = "{name}: {value}" }
domain = "water"
entities = { type = "WaterPressureSensor" }
attribute = "pressure"
[rule.levels.serious]
when = { above = 1000.0 }
clear = { at_most = 900.0 }
"""
WATCH = """
window.seen = {};
new MutationObserver(() => {
  const shown = document.querySelector('#alarm-list-title b');
  if (shown) window.seen[parseInt('0' + shown.textContent.replace(/[^0-9]/g, ''))] ??= Date.now();
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


def measure() -> Iterator[Line]:
    if not CHROMIUM.exists():
        yield Line("f", "chromium is not installed: apt-get install chromium", float("nan"))
        return
    with _running.scratch() as folder:
        city = _city.make(folder / "city", SENSORS, CONCENTRATORS)
        (city / "rules").mkdir()
        (city / "rules" / "bench.toml").write_text(RULE)
        with Platform(city, folder / "data") as platform:
            yield from lines(*measured(platform))


def measured(platform: Platform) -> tuple[list[float], Held]:
    """Milliseconds each fault took to the page, and how the load went."""
    field, loads = Field(platform, SENSORS), list[Held]()
    field.hold(2_000, 6)  # each sensor is heard once: meeting its rules costs more than all that follows
    seconds = 5 + FAULTS * EVERY_S
    load = threading.Thread(target=lambda: loads.append(field.hold(RATE, seconds)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)
        log_in(page, platform)
        load.start()
        sent = faults(page, platform, field.secrets[_city.concentrator(SPARE)])
        load.join()
        seen = {int(count): float(at) for count, at in page.evaluate("window.seen").items()}
        browser.close()
    raised = {one["entity"] for one in platform.request("GET", "/api/alarms?state=active&limit=1000")["alarms"]}
    assert raised == set(sent), f"alarms nobody caused, or faults without one: {raised ^ set(sent)}"
    never = float("inf")
    took = []
    for number, at in enumerate(sent.values(), 1):
        took.append(min((when for count, when in seen.items() if count >= number), default=never) - at)
    return took, loads[0]


def log_in(page: Page, platform: Platform) -> None:
    page.goto(f"{platform.url}/?still")
    page.get_by_test_id("login-user").fill(platform.user)
    page.keyboard.press("Tab")
    page.keyboard.type(platform.password)
    page.keyboard.press("Enter")
    page.locator('html[data-ready="1"]').wait_for(state="attached", timeout=30_000)
    page.locator('[data-testid="live-state"][data-state="live"]').wait_for(timeout=30_000)


def faults(page: Page, platform: Platform, secret: str) -> dict[str, float]:
    """Entity → when its fault was written to the socket, in ms since the epoch. Each at another sensor."""
    chance, sent = random.Random(1), dict[str, float]()
    user = _city.concentrator(SPARE)
    with socket.create_connection(("127.0.0.1", platform.ports["mqtt"])) as wire:
        wire.sendall(_mqtt.connect(user, secret))
        assert wire.recv(4) == b"\x20\x02\x00\x00"
        page.wait_for_timeout(4_000)  # until the load has settled
        for number in range(FAULTS):
            sensor = SPARE + number * CONCENTRATORS
            value = f'{{"ts":{int(time.time() * 1000)},"pressure":1200}}'.encode()
            packet = _mqtt.publish(f"city/{user}/{_city.channel(sensor)}", value, number)
            sent[_city.entity(sensor)] = time.time() * 1000
            wire.sendall(packet)
            page.wait_for_timeout(1000 * EVERY_S * chance.uniform(0.8, 1.1))
        page.wait_for_timeout(5_000)
    return sent


def lines(took: list[float], load: Held) -> Iterator[Line]:
    took = sorted(took)
    p50, p99 = took[len(took) // 2], took[min(len(took) - 1, int(len(took) * 0.99))]
    note = f"p50 {p50:,.0f} ms, slowest {took[-1]:,.0f} ms of {len(took)} faults; load taken {load.sent_rate:,.0f}/s, "
    note += f"visible in context meanwhile p99 {load.context.quantile(0.99):,.0f} ms; page and platform share the cores"
    what = f"fault on the wire → alarm in the browser at {RATE:,.0f} observations/s, p99"
    yield Line("f", what, p99, "ms", None, "≤ 1,000 ms", p99 <= 1000, note)


if __name__ == "__main__":
    alone(measure)
