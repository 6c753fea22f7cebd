"""When the platform calls itself degraded: by how long something has been wrong, not by who asks when."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from haechi.app.certificates import ends_at
from haechi.app.health import EXPECTED, Health, Sources
from haechi.app.vitals import Heard, own
from haechi.core.errors import InvalidData, Unavailable
from haechi.core.times import to_us

GIB = 1024**3
ROOT = Path(__file__).parents[2]


class Bus:
    """Hands what a test says to whoever listens."""

    async def publish(self, subject: str, payload: bytes) -> None:
        await self.heard(subject, payload)

    async def listen(self, pattern: str, heard: Any) -> Any:
        self.heard = heard


class World:
    """Everything health looks at."""

    def __init__(self) -> None:
        self.now, self.last, self.free, self.lost = 0.0, 0, 100 * GIB, 0
        self.applied = dict.fromkeys(EXPECTED, 0)
        self.log_answers = True
        self.fill, self.wall = 0.5, 1_800_000_000.0
        self.ends: dict[str, int | None] = {}
        self.upkeep: dict[str, Any] = {"at": None, "took_s": 0.0, "running_s": 0.0, "failing_s": 0.0}
        self.bus = Bus()
        self.heard = Heard(self.bus, lambda: self.now)
        self.health = Health(
            Sources(
                last_seq=self.last_seq,
                applied=lambda: dict(self.applied),
                heard=self.heard,
                disk_free=lambda: self.free,
                missing=lambda: self.lost,
                monotonic=lambda: self.now,
                log_fill=self.log_fill,
                certificates=lambda: dict(self.ends),
                wall=lambda: self.wall + self.now,
            )
        )

    async def log_fill(self) -> float:
        return self.fill

    async def last_seq(self) -> int:
        if not self.log_answers:
            raise Unavailable("the log does not answer")
        return self.last

    async def passes(self, seconds: int, *silent: str) -> dict[str, Any]:
        """Looks each second, as `keep` does; the roles speak, those of `silent` do not."""
        for _ in range(seconds):
            self.now += 1
            for role in {"gateway", "pipeline"} - set(silent):
                await self.bus.publish(f"health.{role}", orjson.dumps({"process": own(), "upkeep": self.upkeep}))
            await self.health.audit()
            await self.health.look()
        return dict(await self.health())


@pytest.fixture
async def world() -> World:
    made = World()
    await made.heard.start()
    return made


async def test_a_platform_at_rest_is_well(world: World) -> None:
    found = await world.passes(120)
    assert found == {"status": "ok", "checks": {"log": 0, "behind": dict.fromkeys(EXPECTED, 0), "problems": {}}}


async def test_a_burst_that_drains_within_half_a_minute_is_no_trouble(world: World) -> None:
    world.last = 5_000
    assert (await world.passes(29))["status"] == "ok"
    world.applied = dict.fromkeys(EXPECTED, 5_000)
    assert (await world.passes(60))["status"] == "ok"


async def test_a_projection_far_behind_for_half_a_minute_is_named(world: World) -> None:
    for _ in range(32):  # it moves, but never comes near
        world.last += 5_000
        world.applied = {**dict.fromkeys(EXPECTED, world.last), "history": world.last - 1_001}
        found = await world.passes(1)
    assert found["status"] == "degraded"
    assert set(found["checks"]["problems"]) == {"lag"} and "history 1,001" in found["checks"]["problems"]["lag"]


async def test_a_projection_a_little_behind_under_steady_load_is_no_trouble(world: World) -> None:
    for _ in range(120):
        world.last += 50
        world.applied = dict.fromkeys(EXPECTED, world.last - 10)
        found = await world.passes(1)
    assert found["status"] == "ok"


async def test_a_projection_that_stands_still_one_message_from_the_end_is_named(world: World) -> None:
    world.last = 10
    world.applied = {**dict.fromkeys(EXPECTED, 10), "watch": 9}
    assert (await world.passes(30))["status"] == "ok"
    assert "watch 1" in (await world.passes(2))["checks"]["problems"]["lag"]


@pytest.mark.parametrize("role", ["gateway", "pipeline"])
async def test_a_role_that_says_nothing_for_ten_seconds_is_named(world: World, role: str) -> None:
    await world.passes(5)
    assert (await world.passes(10, role))["status"] == "ok"
    assert set((await world.passes(1, role))["checks"]["problems"]) == {role}
    assert (await world.passes(1))["status"] == "ok"


async def test_a_disk_that_fills_is_named(world: World) -> None:
    world.free = 2 * GIB - 1
    assert set((await world.passes(1))["checks"]["problems"]) == {"disk"}


async def test_samples_missing_in_two_audits_are_named_and_in_one_are_not(world: World) -> None:
    await world.passes(10)
    world.lost = 3
    assert (await world.passes(10))["status"] == "ok"
    assert "3 samples" in (await world.passes(10))["checks"]["problems"]["account"]
    world.lost = 0
    assert (await world.passes(10))["status"] == "ok"


async def test_a_log_that_fills_is_named_and_forgotten_when_it_has_room_again(world: World) -> None:
    world.fill = 0.81
    assert "81% full" in (await world.passes(10))["checks"]["problems"]["log_fill"]
    assert world.health.log_fill() == 0.81
    world.fill = 0.7
    assert (await world.passes(10))["status"] == "ok"


@pytest.mark.parametrize("how", ["running_s", "failing_s"])
async def test_an_upkeep_that_does_not_come_on_is_named_until_it_does(world: World, how: str) -> None:
    world.upkeep[how] = 900.0
    assert (await world.passes(2))["status"] == "ok"
    world.upkeep[how] = 901.0
    assert set((await world.passes(2))["checks"]["problems"]) == {"upkeep"}
    world.upkeep[how] = 0.0
    assert (await world.passes(2))["status"] == "ok"


async def test_a_certificate_that_ends_soon_or_cannot_be_read_is_named_until_there_is_a_new_one(world: World) -> None:
    world.ends = {"water": int((world.wall + 13 * 86_400) * 1e6), "air": int((world.wall + 90 * 86_400) * 1e6)}
    said = (await world.passes(10))["checks"]["problems"]["certificate"]
    assert "water 13 days" in said and "air" not in said
    assert 12.9 < (world.health.certificate_s() or 0) / 86_400 < 13.0
    world.ends["water"] = None
    assert "water not readable" in (await world.passes(10))["checks"]["problems"]["certificate"]
    world.ends["water"] = world.ends["air"]
    assert (await world.passes(10))["status"] == "ok"


@pytest.mark.parametrize("jump", [3_600.0, -40.0])
async def test_a_clock_that_jumps_is_named_for_ten_minutes(world: World, jump: float) -> None:
    await world.passes(5)
    world.wall += jump
    assert f"{jump:+.0f} s" in (await world.passes(1))["checks"]["problems"]["clock"]
    assert world.health.clock_jump_s() == jump
    assert (await world.passes(590))["checks"]["problems"].keys() == {"clock"}
    assert (await world.passes(10))["status"] == "ok"


async def test_a_clock_that_ntp_pulls_gently_is_no_trouble(world: World) -> None:
    for _ in range(60):
        world.wall += 0.0005
        assert (await world.passes(1))["status"] == "ok"


async def test_a_log_that_does_not_answer_means_down(world: World) -> None:
    world.log_answers = False
    assert (await world.health())["status"] == "down"


def test_a_process_knows_its_memory_and_processor_time() -> None:
    found = own()
    assert found["rss_bytes"] > 10 * 1024**2 and found["cpu_s"] > 0


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize("days", ["2", "20000"])  # past 2050 a certificate writes its years with four digits
def test_the_end_of_a_certificate_is_what_openssl_says(tmp_path: Path, days: str) -> None:
    from datetime import UTC, datetime

    cert = tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", days]
    make += ["-subj", "/CN=도시", "-utf8", "-keyout", str(tmp_path / "key.pem"), "-out", str(cert)]
    subprocess.run(make, check=True, capture_output=True)
    ask = ["openssl", "x509", "-in", str(cert), "-noout", "-enddate"]
    said = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip().removeprefix("notAfter=")
    expected = datetime.strptime(said, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert ends_at(cert.read_text()) == to_us(expected)


@pytest.mark.parametrize(
    "text", ["", "no", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"], ids=["none", "word", "torn"]
)
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(InvalidData):
        ends_at(text)


def test_every_figure_is_in_the_document() -> None:
    text = (ROOT / "docs/operate/health.md").read_text("utf-8")
    named = set(re.findall(r"\bhaechi_[a-z_]+", (ROOT / "src/haechi/app/measures.py").read_text("utf-8")))
    assert len(named) > 20
    assert {one for one in named if f"`{one}`" not in text} == set()


async def test_the_document_names_every_check(world: World) -> None:
    text = (ROOT / "docs/operate/health.md").read_text("utf-8")
    assert [one for one in world.health.checks() if f"`{one}`" not in text] == []
