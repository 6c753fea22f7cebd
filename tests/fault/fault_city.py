"""The city of the fault runs: the small test city with seven sensors, device clocks and one rule. Made by the runs."""

import json
import shutil
from pathlib import Path

from fault_plan import DEVICES, DOORS, LIMIT

TINY = Path(__file__).parents[1] / "cities" / "tiny"
RULE = "fault.high"
FIRST = "P-0"  # over the limit before the burst: its alarm is what the operator's incident is about
_CLOCK = '\n[codec_settings]\ntime = "ts"\ntime_format = "epoch_ms"\n'
_RULE = f"""\
[[rule]]
id = "{RULE}"
name = {{ ko = "높음", zh = "高", en = "High" }}
text = {{ ko = "{{name}} {{value}}", zh = "{{name}} {{value}}", en = "{{name}} {{value}}" }}
domain = "water"
entities = {{ type = "WaterPressureSensor" }}
attribute = "pressure"
[rule.levels.alert]
when = {{ above = {LIMIT} }}
"""


def entity_of(series: str) -> str:
    """URN of a series' sensor."""
    return f"urn:ngsi-ld:WaterPressureSensor:tiny:{series}"


def build(folder: Path) -> Path:
    """Writes the city package and returns its folder."""
    city = Path(shutil.copytree(TINY, folder))
    devices = {FIRST: "RTU-2", **DEVICES}
    doors = {FIRST: "push", **DOORS}
    rows = [f"{devices[one]},{one},{doors[one]},{entity_of(one)}" for one in doors]
    (city / "devices.csv").write_text("device,channel,link,entity\n" + "\n".join(rows) + "\n", "utf-8")
    facilities = [_facility(series, index) for index, series in enumerate(doors)]
    (city / "facilities" / "water.ndjson").write_text("\n".join(facilities) + "\n", "utf-8")
    for link in ("mqtt", "push"):
        file = city / "links" / f"{link}.toml"
        file.write_text(
            file.read_text("utf-8").replace("\n[[map]]", _CLOCK + "\n[[map]]").replace("BAR", "KPA"), "utf-8"
        )
    (city / "rules").mkdir()
    (city / "rules" / "fault.toml").write_text(_RULE, "utf-8")
    return city


def _facility(series: str, index: int) -> str:
    name = {"languageMap": dict.fromkeys(("ko", "zh", "en"), series)}
    where = {"type": "Point", "coordinates": [126.66 + index / 1000, 37.64]}
    return json.dumps({"id": entity_of(series), "type": "WaterPressureSensor", "name": name, "location": where})
