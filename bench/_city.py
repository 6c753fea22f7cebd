"""City packages made for a measurement: so many sensors behind so many concentrators, with the real rules of water."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

TINY = Path(__file__).parents[1] / "tests" / "cities" / "tiny"
KIND = "urn:ngsi-ld:WaterPressureSensor:tiny:"
CODEC = '[codec_settings]\ntime = "ts"\ntime_format = "epoch_ms"\nchannel = "id"\n'
FACTORS = {  # of one hourly upload: code -> attribute, unit
    "a34004": ("pm25", "GQ"),
    "a34002": ("pm10", "GQ"),
    "a21026": ("so2", "GQ"),
    "a21004": ("no2", "GQ"),
    "a21005": ("co", "GQ"),
    "a05024": ("o3", "GQ"),
    "a01001": ("temperature", "CEL"),
    "a01006": ("atmosphericPressure", "A97"),
    "a01007": ("windSpeed", "MTS"),
    "a01020": ("dewPoint", "CEL"),
    "a01030": ("precipitation", "MMT"),
}


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


def make_air(folder: Path, stations: int) -> Path:
    """The small test city with so many air stations that speak HJ 212."""
    shutil.copytree(TINY, folder)
    kind = "urn:ngsi-ld:AirQualityObserved:tiny:"
    rows = (f"{station(n)},,air,{kind}A{n}" for n in range(stations))
    (folder / "devices.csv").write_text("device,channel,link,entity\n" + "\n".join(rows) + "\n")
    (folder / "facilities" / "water.ndjson").unlink()
    with (folder / "facilities" / "air.ndjson").open("w") as out:
        for number in range(stations):
            names = {"languageMap": {"ko": f"측정소 {number}", "zh": f"站{number}", "en": f"Station {number}"}}
            where = {"type": "Point", "coordinates": [126.52 + 0.0001 * number, 37.64]}
            one = {"id": f"{kind}A{number}", "type": "AirQualityObserved", "name": names, "location": where}
            out.write(json.dumps(one, ensure_ascii=False) + "\n")
    for file in (folder / "links").glob("*.toml"):
        file.unlink()
    maps = "\n".join(
        f'[[map]]\nfield = "{code}-Avg"\nattribute = "{name}"\nunit = "{unit}"\n'
        for code, (name, unit) in FACTORS.items()
    )
    head = 'adapter = "hj212"\ncodec = "hj212"\nunmapped = "quarantine"\n\n[settings]\nport = 8212\n'
    (folder / "links" / "air.toml").write_text(f'{head}\n[codec_settings]\ntime_zone = "Asia/Seoul"\n\n{maps}')
    return folder


def station(number: int) -> str:
    """A device's number (MN) as the standard has it: 24 characters."""
    return f"HAECHI{number:018d}"
