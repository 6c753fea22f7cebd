"""Three years of twelve air stations go in through real sockets, and history gives back the file's values exactly."""

import csv
import gzip
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from haechi.testing.platform import Platform

BEIJING = Path("/work/shared/data/beijing_air/prsa_2013_2016.csv.gz")
CITY = Path(__file__).parents[1] / "cities" / "beijing"
ATTRIBUTES = {
    "PM2.5": "pm25",
    "PM10": "pm10",
    "SO2": "so2",
    "NO2": "no2",
    "CO": "co",
    "O3": "o3",
    "TEMP": "temperature",
    "PRES": "atmosphericPressure",
    "DEWP": "dewPoint",
    "RAIN": "precipitation",
    "wd": "windSector",
    "WSPM": "windSpeed",
}
Series = dict[tuple[str, str], list[tuple[str, Any]]]  # (station, attribute) -> (local time, value)
pytestmark = pytest.mark.skipif(not BEIJING.exists(), reason="the shared Beijing data set is not on this machine")


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with Platform(CITY, tmp_path / "data", ["--retention-days", "9000"]) as running:
        yield running


def lines(step: int = 1) -> list[dict[str, str]]:
    with gzip.open(BEIJING, "rt", encoding="utf-8") as text:
        return [row for number, row in enumerate(csv.DictReader(text)) if number % step == 0]


def written(rows: list[dict[str, str]], path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as text:
        out = csv.DictWriter(text, list(rows[0]))
        out.writeheader()
        out.writerows(rows)
    return path


def expected(rows: list[dict[str, str]]) -> Series:
    found: Series = {}
    for row in rows:
        for column, attribute in ATTRIBUTES.items():
            if row[column]:
                value = row[column] if attribute == "windSector" else float(row[column])
                found.setdefault((row["station"], attribute), []).append((row["time"], value))
    return found


def remembered(platform: Platform, station: str) -> Series:
    wanted = "".join(f"&attribute={attribute}" for attribute in ATTRIBUTES.values())
    entity = f"urn:ngsi-ld:AirQualityObserved:beijing:{station}"
    span = "from=2013-01-01T00:00:00Z&to=2017-01-01T00:00:00Z&limit=1000000"
    columns = platform.request("GET", f"/api/history?entity={entity}{wanted}&{span}")["columns"]
    found: Series = {}
    for attribute, instant, value in zip(columns["attribute"], columns["observed_at"], columns["value"], strict=True):
        local = datetime.fromisoformat(instant[:19]) + timedelta(hours=8)
        found.setdefault((station, attribute), []).append((local.strftime("%Y-%m-%d %H:%M"), value))
    return found


def replay(platform: Platform, file: Path, protocol: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "haechi_testbed.cli", "replay", str(file), "--as", protocol]
    command += ["--profile", "beijing_air", "--port", str(platform.ports[protocol]), "--link", protocol]
    command += ["--credentials", str(platform.credentials)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]", seconds: float) -> str:
    _, said = process.communicate(timeout=seconds)
    assert process.returncode == 0, said
    return said.splitlines()[-1]


def assert_equal(platform: Platform, rows: list[dict[str, str]]) -> None:
    """Acknowledged is durable; a moment later it is answered, too."""
    wanted, ends_at = expected(rows), time.monotonic() + 120
    for station in {row["station"] for row in rows}:
        series = {key: series for key, series in wanted.items() if key[0] == station}
        while (found := remembered(platform, station)) != series and time.monotonic() < ends_at:
            time.sleep(1)
        assert found == series


def test_what_goes_in_through_hj212_and_mqtt_comes_back_exactly(platform: Platform, tmp_path: Path) -> None:
    rows = lines(step=200)
    half = len(rows) // 2
    for protocol, part in (("hj212", rows[:half]), ("mqtt", rows[half:])):
        said = ended(replay(platform, written(part, tmp_path / f"{protocol}.csv"), protocol), 60)
        assert said.startswith(f"{len(part):,} rows")
        assert f"{len(part):,} rows acknowledged, 0 refused, 0 unanswered" in said
    assert_equal(platform, rows)
    assert platform.request("GET", "/api/account")["balanced"]


def test_a_gateway_killed_while_a_replay_runs_loses_nothing(platform: Platform, tmp_path: Path) -> None:
    rows = lines(step=20)
    process = replay(platform, written(rows, tmp_path / "rows.csv"), "hj212")
    platform.wait_for(lambda: _stored(platform) > 0, 30, "rows arrive")
    platform.kill("gateway")
    assert f"{len(rows):,} rows acknowledged, 0 refused, 0 unanswered" in ended(process, 100)
    assert_equal(platform, rows)


def _stored(platform: Platform) -> int:
    links: dict[str, dict[str, int]] = platform.request("GET", "/api/account")["links"]
    return links.get("hj212", {}).get("stored", 0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_315648_rows_come_back_exactly(platform: Platform) -> None:
    said = ended(replay(platform, BEIJING, "hj212"), 900)
    assert said.startswith("315,648 rows with 3,730,288 values sent, 315,648 rows acknowledged, 0 refused")
    assert_equal(platform, lines())
    assert platform.request("GET", "/api/account")["balanced"]
