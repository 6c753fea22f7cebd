"""City packages made for a measurement: so many sensors behind so many concentrators, with the real rules of water."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

TINY = Path(__file__).parents[1] / "tests" / "cities" / "tiny"
KIND = "urn:ngsi-ld:WaterPressureSensor:tiny:"
CODEC = '[codec_settings]\ntime = "ts"\ntime_format = "epoch_ms"\n'


def concentrator(number: int) -> str:
    return f"G{number:03d}"


def channel(number: int) -> str:
    return f"P{number:07d}"


def entity(number: int) -> str:
    return KIND + channel(number)


def make(folder: Path, sensors: int, concentrators: int, link: str = "mqtt") -> Path:
    """The small test city with `sensors` pressure sensors; sensor n is channel n of concentrator n % concentrators."""
    shutil.copytree(TINY, folder)
    rows = (f"{concentrator(n % concentrators)},{channel(n)},{link},{entity(n)}" for n in range(sensors))
    (folder / "devices.csv").write_text("device,channel,link,entity\n" + "\n".join(rows) + "\n")
    with (folder / "facilities" / "water.ndjson").open("w") as out:
        out.writelines(_facilities(sensors))
    for file in (folder / "links").glob("*.toml"):
        if file.stem != link:
            file.unlink()
    file = folder / "links" / f"{link}.toml"
    file.write_text(file.read_text().replace("[[map]]", CODEC + "\n[[map]]", 1).replace('"BAR"', '"KPA"'))
    return folder


def _facilities(sensors: int) -> Iterator[str]:
    side = max(1, int(sensors**0.5) + 1)
    for number in range(sensors):
        where = [126.52 + 0.36 * (number % side) / side, 37.52 + 0.26 * (number // side) / side]
        one = {
            "id": entity(number),
            "type": "WaterPressureSensor",
            "name": {"languageMap": {"ko": f"수압계 {number}", "zh": f"水压计{number}", "en": f"Pressure {number}"}},
            "location": {"type": "Point", "coordinates": [round(where[0], 6), round(where[1], 6)]},
            "normalLow": {"value": 350, "unitCode": "KPA"},
            "normalHigh": {"value": 450, "unitCode": "KPA"},
        }
        yield json.dumps(one, ensure_ascii=False) + "\n"
