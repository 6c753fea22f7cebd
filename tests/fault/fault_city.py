"""The city of the fault runs: the small test city with sensors behind four kinds of doors and one rule."""

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


_MQTT = 'topic = "city/{device}/{channel}"\n'
_AIR = """\
adapter = "hj212"
codec = "hj212"
[settings]
host = "127.0.0.1"
port = 8212
[codec_settings]
time_zone = "Asia/Shanghai"
[[map]]
field = "a34004-Rtd"
attribute = "pm25"
unit = "GQ"
"""
_PLANT = """\
adapter = "modbus"
codec = "json"
[settings]
host = "127.0.0.1"
port = 502
period_s = 0.25
timeout_s = 1.0
reconnect_s = 0.2
reconnect_s_max = 1.0
[[settings.device]]
id = "PLC-1"
[[settings.register]]
field = "target"
address = 0
writable = true
[[settings.register]]
field = "count"
address = 1
channel = "count"
[[map]]
field = "target"
attribute = "pressure"
unit = "KPA"
writable = true
tolerance = 0.5
timeout_s = 6.0
undo = true
[[map]]
field = "count"
attribute = "flow"
unit = "MQH"
"""
PLC, COUNTER = "M-1", "F-1"  # what the PLC holds for operators, and how often it was asked
_TYPES = {"P": "WaterPressureSensor", "M": "WaterPressureSensor", "A": "AirQualityObserved", "F": "WaterFlowMeter"}
_ATTRIBUTES = {"P": "pressure", "M": "pressure", "A": "pm25", "F": "flow"}


def entity_of(series: str) -> str:
    """URN of a series' sensor."""
    return f"urn:ngsi-ld:{_TYPES[series[0]]}:tiny:{series}"


def attribute_of(series: str) -> str:
    """What it observes."""
    return _ATTRIBUTES[series[0]]


def build(folder: Path) -> Path:
    """Writes the city package and returns its folder."""
    city = Path(shutil.copytree(TINY, folder))
    devices = {FIRST: "RTU-2", **DEVICES, PLC: "PLC-1"}
    doors = {FIRST: "push", **DOORS, PLC: "plant"}
    channels = {one: "" if doors[one] in ("plant", "hj212") else one for one in doors}
    rows = [f"{devices[one]},{channels[one]},{doors[one]},{entity_of(one)}" for one in doors]
    rows.append(f"PLC-1,count,plant,{entity_of(COUNTER)}")
    (city / "devices.csv").write_text("device,channel,link,entity\n" + "\n".join(rows) + "\n", "utf-8")
    facilities = [_facility(series, index) for index, series in enumerate((*doors, COUNTER))]
    (city / "facilities" / "water.ndjson").write_text("\n".join(facilities) + "\n", "utf-8")
    _links(city / "links")
    (city / "rules").mkdir()
    (city / "rules" / "fault.toml").write_text(_RULE, "utf-8")
    return city


def _links(folder: Path) -> None:
    (folder / "hj212.toml").write_text(_AIR, "utf-8")
    (folder / "plant.toml").write_text(_PLANT, "utf-8")
    for link in ("mqtt", "push"):
        file = folder / f"{link}.toml"
        text = file.read_text("utf-8").replace("\n[[map]]", _CLOCK + "\n[[map]]").replace("BAR", "KPA")
        file.write_text(text.replace(_MQTT, _MQTT + 'subscribe = ["city/#"]\n'), "utf-8")


def _facility(series: str, index: int) -> str:
    name = {"languageMap": dict.fromkeys(("ko", "zh", "en"), series)}
    where = {"type": "Point", "coordinates": [126.66 + index / 1000, 37.64]}
    return json.dumps({"id": entity_of(series), "type": _TYPES[series[0]], "name": name, "location": where})
