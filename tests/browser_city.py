"""A running city with its testbed, and Debian's chromium in front of it. Used by the browser scenarios."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from haechi.testing.platform import Platform

ROOT = Path(__file__).parents[1]
GIMPO = ROOT / "cities" / "gimpo"
ARTEFACTS = ROOT / "artefacts"
CHROMIUM = Path("/usr/bin/chromium")
AXE = ROOT / "console/node_modules/axe-core/axe.min.js"
# Mesa's software renderer; names resolve to nothing, so that a page which needs the internet breaks here.
FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=gl-egl",
    "--ignore-gpu-blocklist",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
WAIT_MS = 20_000
TESTBED = [str(Path(sys.executable).with_name("haechi-testbed"))]


@dataclass
class Testbed:
    """`haechi-testbed run` beside a platform; breaks what a test names and mends it again."""

    __test__ = False

    platform: Platform
    process: "subprocess.Popen[bytes] | None" = None
    broken: list[str] = field(default_factory=list)

    @property
    def _runtime(self) -> Path:
        return self.platform.data / "testbed.json"

    def start(self) -> None:
        doors = [f"--door={link}=127.0.0.1:{port}" for link, port in self.platform.ports.items()]
        command = [*TESTBED, "run", str(GIMPO), "--credentials", str(self.platform.credentials)]
        command += [*doors, "--runtime", str(self._runtime)]
        with (self.platform.data / "testbed.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self.platform.wait_for(self._runtime.exists, 60, "the testbed did not start; see testbed.log")

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(20)

    def fault(self, name: str) -> None:
        """Breaks it now."""
        self._tell(name)
        self.broken.append(name)

    def mend(self) -> None:
        """Ends every fault this test began."""
        while self.broken:
            self._tell(self.broken.pop(), "--end")

    def _tell(self, *words: str) -> None:
        command = [*TESTBED, "fault", *words, "--runtime", str(self._runtime)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@contextmanager
def living_city(data: Path) -> Iterator[tuple[Platform, Testbed]]:
    """Gimpo with its testbed, when the first sensors have spoken."""
    with Platform(GIMPO, data) as platform:
        testbed = Testbed(platform)
        testbed.start()
        try:
            latest: Callable[[], Any] = lambda: len(platform.request("GET", "/api/latest")["value"]) > 100  # noqa: E731
            platform.wait_for(latest, 90, "no values came in; see testbed.log")
            yield platform, testbed
        finally:
            testbed.stop()


@dataclass
class Desk:
    """One operator's screen, and what the page did that it should not."""

    page: Page
    url: str
    wrong: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("request", self._requested)
        self.page.on("pageerror", lambda error: self.wrong.append(f"page error: {error}"))
        self.page.on("console", self._said)

    def _requested(self, request: Request) -> None:
        place = urlsplit(request.url)
        if place.scheme not in {"data", "blob"} and place.netloc != urlsplit(self.url).netloc:
            self.wrong.append(f"request to {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        # A refused login and a lost server are told as failed resources; everything else is a fault of the page.
        expected = "Failed to load resource" in message.text or "WebSocket" in message.text
        if message.type == "error" and not expected:
            self.wrong.append(f"console: {message.text}")

    def id(self, name: str) -> Locator:
        return self.page.get_by_test_id(name)

    def open(self, route: str = "", query: str = "?still") -> None:
        self.page.goto(f"{self.url}/{query}{route}")

    def log_in(self, user: str, password: str, lang: str = "en") -> None:
        """By keyboard: language, name, password, Enter."""
        self.open()
        self.id(f"lang-{lang}").press("Enter")
        self.id("login-user").focus()
        self.page.keyboard.type(user)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(password)
        self.page.keyboard.press("Enter")
        self.ready()

    def ready(self) -> None:
        """The route is drawn and the live link is up."""
        expect(self.page.locator('html[data-ready="1"]')).to_be_attached(timeout=WAIT_MS)
        expect(self.id("live-state")).to_have_attribute("data-state", "live", timeout=WAIT_MS)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def row(self, alarm: str) -> Locator:
        return self.page.locator(f'[data-testid="alarm-row"][data-id="{alarm}"]')

    def select(self, alarm: str) -> None:
        """Walks down with J, opening the groups of a flood on the way, until the alarm is the selected one."""
        end = time.monotonic() + WAIT_MS / 1000
        chosen = self.page.locator('[data-testid="alarm-row"][aria-selected="true"]')
        while time.monotonic() < end:
            self.press("Escape")
            before = None
            for _ in range(400):
                self.press("ArrowRight", "j")
                # One look: between two the selected row may be gone.
                now = next(iter(chosen.evaluate_all("rows => rows.map(row => row.dataset.id)")), None)
                if now is None:
                    self.page.wait_for_timeout(100)  # the list is still empty
                    break
                if now == alarm:
                    return
                if now == before:
                    break  # the end of the list; it may have grown above
                before = now
        raise AssertionError(f"J does not reach {alarm} within {WAIT_MS} ms")

    def shot(self, name: str) -> Path:
        """A screenshot among the artefacts of the run."""
        ARTEFACTS.mkdir(exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def axe(self) -> list[str]:
        """What axe-core finds serious or critical on the page as it is."""
        self.page.evaluate(AXE.read_text("utf-8"))
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['id']} ({one['impact']}): {one['help']} at {node['target']}: {node.get('failureSummary', '')}"
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"]
        ]


@contextmanager
def desk(browser: Browser, url: str) -> Iterator[Desk]:
    """A fresh browser profile; at the end nothing may have gone wrong and nothing may have left the machine."""
    context = browser.new_context(viewport={"width": 1600, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(WAIT_MS)
    made = Desk(context.new_page(), url)
    made.watch()
    try:
        yield made
        assert not made.wrong, made.wrong
    finally:
        context.close()


def fresh_alarm(platform: Platform, known: set[str], domain: str = "water", within_s: float = 60) -> dict[str, Any]:
    """The first alarm that is new, unacknowledged and has a playbook."""

    def found() -> Any:
        active = platform.request("GET", "/api/alarms")["alarms"]
        new = (one for one in active if one["id"] not in known and one["state"] == "unacknowledged")
        return next((one for one in new if one["domain"] == domain and one["playbook"] and not one["incident"]), None)

    alarm: dict[str, Any] = platform.wait_for(found, within_s, f"no {domain} alarm within {within_s} s")
    return alarm
