"""The running testbed without a platform: it starts, takes faults on its control socket, keeps the truth and stops."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from haechi_testbed import cli, control, running
from haechi_testbed.clock import SECOND, parse_instant
from haechi_testbed.faults import Planned, read_truth

CITY = Path(__file__).parents[2] / "cities" / "gimpo"
START = parse_instant("2026-11-22T12:00:00+09:00")
NOWHERE = {link: ("127.0.0.1", 0 if "modbus" in link else 9) for link in running.doors(CITY, {})}  # Modbus: ours, any


def _site(tmp_path: Path, credentials: dict[str, dict[str, str]] | None = None) -> running.Site:
    return running.Site(CITY, credentials or {}, NOWHERE, tmp_path / "truth.ndjson")


async def test_a_course_runs_to_its_end_and_leaves_the_truth(tmp_path: Path) -> None:
    faults = (Planned(START + 60 * SECOND, "burst", "pipe17", 1.0, 120.0),)
    course = running.Course(START, 6000.0, 1, START + 600 * SECOND, faults)
    place = running.Control(0, tmp_path / "runtime.json")
    status = await running.simulate(_site(tmp_path), course, place, asyncio.Event(), time.monotonic)
    assert status == 0
    truth, ran = read_truth((tmp_path / "truth.ndjson").read_text("utf-8").splitlines())
    assert [(one.kind, one.target, one.started_at) for one in truth] == [("burst", "pipe17", START + 60 * SECOND)]
    assert truth[0].ended_at == START + 180 * SECOND
    assert (ran.from_us, ran.to_us) == (START, START + 600 * SECOND)
    assert not place.runtime.exists()


async def test_a_course_with_a_fault_that_has_no_target_does_not_begin(tmp_path: Path) -> None:
    faults = (Planned(START + 60 * SECOND, "burst", "pipe17"), Planned(START + 90 * SECOND, "burst", "pipe7100"))
    course = running.Course(START, 6000.0, 1, START + 600 * SECOND, faults)
    place = running.Control(0, tmp_path / "runtime.json")
    with pytest.raises(ValueError, match=r"burst finds no 'pipe7100'.* such as pipe710"):
        await running.simulate(_site(tmp_path), course, place, asyncio.Event(), time.monotonic)
    assert not place.runtime.exists()
    assert not (tmp_path / "truth.ndjson").exists()


async def test_the_control_socket_begins_and_ends_faults(tmp_path: Path) -> None:
    course, place = running.Course(START, 60.0, 1, None, ()), running.Control(0, tmp_path / "runtime.json")
    stopped = asyncio.Event()
    task = asyncio.create_task(running.simulate(_site(tmp_path), course, place, stopped, time.monotonic))
    async with asyncio.timeout(20):
        while not place.runtime.exists():  # noqa: ASYNC110 - another task writes it
            await asyncio.sleep(0.02)

    def ask(**question: object) -> dict[str, object]:
        return control.ask(place.runtime, None, question)

    begun = await asyncio.to_thread(ask, do="fault", fault="stuck@WP-001", after_s=0)
    assert begun["ok"], begun
    async with asyncio.timeout(20):
        while not (await asyncio.to_thread(ask, do="status"))["active"]:  # noqa: ASYNC110 - as another process asks
            await asyncio.sleep(0.05)
    assert (await asyncio.to_thread(ask, do="end", fault="stuck@WP-001"))["ended"] == 1
    assert not (await asyncio.to_thread(ask, do="end", fault="stuck@WP-001"))["ok"]
    wrongs = {
        "flood@WP-001": "is no fault",
        "stuck@WP-01": "such as WP-0",
        "burst@pipe9999": "such as pipe",
        "pump_failure@pump9": "the 2 there are, such as pump2",
        "exceedance@ES-99": "ES-0",
        "silent@AS-01": "issue credentials for AS-01",
    }
    for wrong, says in wrongs.items():
        reply = await asyncio.to_thread(ask, do="fault", fault=wrong, after_s=3600)
        assert not reply["ok"], wrong
        assert says in str(reply["error"])
    assert "ask for fault, end or status" in str((await asyncio.to_thread(ask, do="dance"))["error"])
    stopped.set()
    assert await task == 0


def test_a_fault_without_a_running_testbed_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fault", "burst@pipe17", "--runtime", str(tmp_path / "none.json")]) == 1
    assert "start one with `haechi-testbed run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"), [(None, "haechi device issue"), ("[]", "haechi device issue"), ('{"GW-01": "x"}', "write")]
)
def test_bad_credentials_say_what_to_do(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "credentials.json"
    if text is not None:
        file.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=says):
        running.credentials(file)


def test_an_address_needs_a_port() -> None:
    assert running.address("127.0.0.1:1883") == ("127.0.0.1", 1883)
    with pytest.raises(ValueError, match="HOST:PORT"):
        running.address("localhost")


def test_the_score_is_printed_for_people_and_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, alarms = tmp_path / "truth.ndjson", tmp_path / "alarms.json"
    fault = {"id": "F001", "fault": "burst@pipe17", "started_at": "2026-11-22T00:00:00Z", "ended_at": None}
    truth.write_text(json.dumps(fault) + "\n", "utf-8")
    alarm = {"rule": "water.inflow_jump", "entity": "urn:x", "raised_at": "2026-11-22T00:00:10Z"}
    alarms.write_text(json.dumps({"alarms": [alarm]}), "utf-8")
    assert cli.main(["score", str(truth), "--alarms", str(alarms)]) == 0
    assert "1 of 1 detected, 0 false alarms" in capsys.readouterr().out
    assert cli.main(["score", str(truth), "--alarms", str(alarms), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faults"][0]["delay_min"] == 1
