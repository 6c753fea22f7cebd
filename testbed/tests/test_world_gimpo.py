"""The generated city: the committed files are what the seed gives, nothing more and nothing less."""

import json
import shutil
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from haechi_testbed.worlds import gimpo

CITY = Path(__file__).parents[2] / "cities" / "gimpo"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gimpo")
    (out / "testbed").mkdir()
    shutil.copy(CITY / "testbed" / "air.toml", out / "testbed" / "air.toml")
    gimpo.write(out)
    return out


def _entities(city: Path) -> list[dict[str, object]]:
    return [
        json.loads(line)
        for file in sorted(city.glob("facilities/*.ndjson"))
        for line in file.read_text("utf-8").splitlines()
    ]


def test_the_committed_city_is_what_the_seed_gives(generated: Path) -> None:
    for file in sorted(one for one in generated.rglob("*") if one.is_file()):
        name = file.relative_to(generated)
        assert file.read_bytes() == (CITY / name).read_bytes(), f"{name} differs: run haechi-testbed world gimpo {CITY}"


def test_another_seed_gives_another_city(tmp_path: Path, generated: Path) -> None:
    air = tomllib.loads((CITY / "testbed" / "air.toml").read_text("utf-8"))
    other = gimpo.generate(air, seed=gimpo.SEED + 1)
    same = gimpo.generate(air, seed=gimpo.SEED)
    assert other.network.meters[0] != same.network.meters[0]
    assert same.network.meters == gimpo.generate(air, seed=gimpo.SEED).network.meters


def test_the_city_has_what_a_control_centre_needs(generated: Path) -> None:
    counts = Counter(str(one["type"]) for one in _entities(generated))
    assert sum(counts.values()) >= 3000
    assert counts["WaterConsumptionObserved"] >= 1500
    assert 150 <= counts["Junction"] <= 450
    assert counts["WaterPressureSensor"] == 60
    assert counts["WaterFlowMeter"] == 12
    assert (counts["Tank"], counts["Pump"], counts["Camera"]) == (2, 2, 80)
    assert (counts["Feeder"], counts["PowerTransformer"], counts["LinearShuntCompensator"]) == (6, 2 + 132, 2)
    assert 150 <= counts["ACLineSegment"] <= 300
    assert 900 <= counts["ACMeasurement"] <= 1100
    assert (counts["RoadSegment"], counts["TrafficFlowObserved"], counts["TrafficSignal"]) == (168, 180, 37)
    assert (counts["AirQualityObserved"], counts["EmissionSource"], counts["WeatherObserved"]) == (8, 6, 3)


def test_the_package_stays_small(generated: Path) -> None:
    size = sum(one.stat().st_size for one in generated.rglob("*") if one.is_file())
    assert size < 6_000_000


def test_every_map_layer_says_that_it_is_synthetic(generated: Path) -> None:
    for file in generated.glob("map/*.geojson"):
        layer = json.loads(file.read_bytes())
        assert layer["features"]
        assert all(one["properties"]["synthetic"] is True for one in layer["features"])


def test_labels_are_there_in_three_languages(generated: Path) -> None:
    labels = json.loads((generated / "map" / "labels.geojson").read_bytes())["features"]
    assert {"장기동", "운양동", "구래동", "마산동", "한강"} <= {one["properties"]["name"]["ko"] for one in labels}
    assert all({"ko", "zh", "en"} == set(one["properties"]["name"]) for one in labels)
