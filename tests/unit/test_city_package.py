"""A city package is read whole; whatever is wrong in it is named with file, line and what to do, and it never loads."""

import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from haechi import registry
from haechi.core.errors import InvalidSettings
from haechi.services.cities import Around, check, load_city, type_of
from haechi.services.incidents import playbooks
from haechi.services.watch import load_rules, problems

CITY = """\
id = "tiny"
name = { ko = "작은시", zh = "小市", en = "Tiny" }
country = "KR"
time_zone = "Asia/Seoul"
languages = ["ko", "en"]
domains = ["water"]
simulated = true
frame = { west = 126.5, south = 37.5, east = 127.0, north = 38.0, srid = 4326 }
centre = [126.7, 37.6]
zoom = 12

[[map]]
id = "roads"
file = "map/roads.geojson"
role = "road"
synthetic = true
"""
LINK = """\
adapter = "mqtt"
codec = "json"

[settings]
port = 1883
topic = "city/{device}/{channel}"

[[map]]
field = "p"
attribute = "pressure"
unit = "BAR"
types = ["WaterPressureSensor"]

[[map]]
field = "f"
attribute = "flow"
unit = "G51"
"""
NAME = '"name":{"languageMap":{"ko":"가","zh":"甲","en":"A"}}'
PLACE = '"location":{"type":"Point","coordinates":[126.7,37.6]}'
FACILITIES = f"""\
{{"id":"urn:ngsi-ld:Junction:tiny:j1","type":"Junction",{NAME},{PLACE},"elevation":{{"value":12.5,"unitCode":"MTR"}}}}
{{"id":"urn:ngsi-ld:WaterPressureSensor:tiny:P1","type":"WaterPressureSensor",{NAME},{PLACE},"normalLow":{{"value":3.5,"unitCode":"BAR"}},"refJunction":{{"object":"urn:ngsi-ld:Junction:tiny:j1"}}}}
"""
DEVICES = """\
device,channel,link,entity
GW-1,P1,water,urn:ngsi-ld:WaterPressureSensor:tiny:P1
GW-1,,water,urn:ngsi-ld:Junction:tiny:j1
"""
RULE = """\
[[rule]]
id = "tiny.low"
name = { ko = "가", zh = "甲", en = "a" }
text = { ko = "가", zh = "甲", en = "a" }
domain = "water"
entities = { type = "WaterPressureSensor" }
attribute = "pressure"
playbook = "water.burst"
[rule.levels.caution]
when = { below = 100 }
"""
FILES = {
    "city.toml": CITY,
    "links/water.toml": LINK,
    "facilities/water.ndjson": FACILITIES,
    "devices.csv": DEVICES,
    "rules/own.toml": RULE,
    "map/roads.geojson": '{"type":"FeatureCollection","features":[]}',
    "locales/ko.toml": 'greeting = "안녕"\n',
}


@pytest.fixture
def around() -> Around:
    return Around(
        {name: registry.folder("domain", name) for name in registry.names("domain")},
        ("mqtt",),
        ("json",),
        settings_fault=registry.settings_fault,
        rule_problems=problems,
        playbook_problems=playbooks.problems,
        rules=load_rules,
    )


@pytest.fixture
def city(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def test_a_right_city_loads_with_everything_it_declares(city: Path, around: Around) -> None:
    found = load_city(city, around)
    assert (found.id, found.languages, found.frame) == ("tiny", ("ko", "en"), (126.5, 37.5, 127.0, 38.0))
    assert found.name["zh"] == "小市"
    assert [one["id"] for one in found.facilities][1] == "urn:ngsi-ld:WaterPressureSensor:tiny:P1"
    assert found.texts["ko"]["greeting"] == "안녕"
    assert found.map[0].role == "road"
    assert found.levels["serious"]["ko"] == "심각"


def test_a_facility_that_stands_twice_is_named_with_both_places(city: Path, around: Around) -> None:
    first = (city / "facilities/water.ndjson").read_text("utf-8").splitlines()[1]
    (city / "facilities/zz.ndjson").write_text(f"\n{first}\n", "utf-8")
    (found,) = check(city, around)
    assert (found.file.rpartition("/")[2], found.line) == ("zz.ndjson", 2)
    assert "stands twice, first at water.ndjson:2" in found.what


def test_a_sample_finds_its_entity_by_channel_and_else_by_device(city: Path, around: Around) -> None:
    found = load_city(city, around)
    assert found.entity_of("water", "GW-1", "P1") == "urn:ngsi-ld:WaterPressureSensor:tiny:P1"
    assert found.entity_of("water", "GW-1", "other") == "urn:ngsi-ld:Junction:tiny:j1"
    assert found.entity_of("water", "GW-2", "P1") is None
    assert found.entity_of("air", "GW-1", "P1") is None


def test_fields_map_by_the_type_of_the_entity(city: Path, around: Around) -> None:
    found = load_city(city, around)
    assert found.field_maps("water", "WaterPressureSensor")["p"].unit == "BAR"
    assert set(found.field_maps("water", "WaterFlowMeter")) == {"f"}
    known = found.attribute("WaterPressureSensor", "pressure")
    assert known is not None
    assert (known.unit, known.low, known.high, known.period_s) == ("KPA", 0.0, 1600.0, 10)
    assert found.attribute("WaterPressureSensor", "colour") is None
    assert type_of("urn:ngsi-ld:Pipe:tiny:7") == "Pipe"


MISTAKES = [
    ("city.toml", 'country = "KR"', 'country = "Korea"', 3, "country is 'Korea'"),
    ("city.toml", 'zh = "小市", ', "", 2, "name has no text in zh"),
    ("city.toml", "Asia/Seoul", "Asia/Gimpo", 4, "'Asia/Gimpo' is no time zone"),
    ("city.toml", '["ko", "en"]', '["ko", "fr"]', 5, "language 'fr' has no texts"),
    ("city.toml", '["water"]', '["water", "gas"]', 6, "no domain 'gas'"),
    ("city.toml", "simulated = true", "simulated = 1", 7, "simulated is 1"),
    ("city.toml", "east = 127.0", "east = 126.0", 8, "the frame is empty"),
    ("city.toml", "srid = 4326", "srid = 5186", 8, "another reference system"),
    ("city.toml", "[126.7, 37.6]", "[37.6, 126.7]", 9, "lies outside the frame"),
    ("city.toml", "zoom = 12", "zoom = nan", 10, "zoom is nan"),
    ("city.toml", "[126.7, 37.6]", "[126.7, inf]", 9, "centre is"),
    ("city.toml", "zoom = 12", "zoom = 12\nzooom = 3", 11, "zooom is no setting here"),
    ("city.toml", 'role = "road"', 'role = "street"', 15, "map.0.role is 'street'"),
    ("city.toml", "map/roads.geojson", "map/nowhere.geojson", 14, "there is no file 'nowhere.geojson'"),
    ("city.toml", "map/roads.geojson", "../../etc/passwd", 14, "outside the package"),
    ("city.toml", 'country = "KR"', 'country = "KR', 3, "no valid TOML"),
    ("city.toml", "[[map]]", '[levels]\nred = "x"\n\n[[map]]', 13, "levels.red is no setting here"),
    ("city.toml", "[[map]]", '[levels]\nalert = { ko = "경계" }\n\n[[map]]', 13, "levels.alert has no text in zh, en"),
    ("links/water.toml", 'adapter = "mqtt"', 'adapter = "smoke"', 1, "adapter is 'smoke'"),
    ("links/water.toml", 'codec = "json"\n', "", 1, "codec is missing"),
    ("links/water.toml", 'attribute = "flow"', 'attribute = "flwo"', 16, "no type has an attribute 'flwo'"),
    ("links/water.toml", 'unit = "BAR"', 'unit = "MQH"', 11, "WaterPressureSensor.pressure is kept in KPA"),
    ("links/water.toml", 'unit = "G51"', 'unit = "LPS"', 17, "'LPS' is no UN/CEFACT"),
    ("links/water.toml", '"WaterPressureSensor"', '"Thermometer"', 12, "no domain of the city has a type"),
    ("links/water.toml", 'field = "f"', 'field = "p"\ntypes = ["WaterPressureSensor"]', 14, "mapped twice"),
    ("links/water.toml", "port = 1883", "port = 99999", 5, "65535"),
    ("links/water.toml", "port = 1883", "prot = 1883", 5, "prot: an MQTT link has no such setting"),
    ("links/water.toml", 'topic = "city/{device}/{channel}"\n', "", 4, "topic"),
    ("links/water.toml", "[[map]]", '[codec_settings]\nclock = "ts"\n\n[[map]]', 9, "has no such setting"),
    ("facilities/water.ndjson", '"elevation"', '"hight"', 1, "Junction has no attribute 'hight'"),
    ("facilities/water.ndjson", '"value":12.5', '"value":"high"', 1, "elevation is 'high'"),
    ("facilities/water.ndjson", '"value":12.5', '"value":99999', 1, "outside -50.0 to 5000.0"),
    ("facilities/water.ndjson", '"unitCode":"BAR"', '"unitCode":"CEL"', 2, "normalLow: CEL measures temperature"),
    ("facilities/water.ndjson", '"unitCode":"BAR"', '"unitCode":7', 2, "normalLow: 7 is no UN/CEFACT"),
    ("facilities/water.ndjson", 'Junction:tiny:j1"}}', 'Junction:tiny:j9"}}', 2, "points to"),
    ("facilities/water.ndjson", '"type":"Junction"', '"type":"Node"', 1, "no domain of the city has a type 'Node'"),
    ("facilities/water.ndjson", '"type":"Junction"', '"type":["Junction"]', 1, "no domain of the city has a type"),
    ("facilities/water.ndjson", "[126.7,37.6]}", "[37.6,126.7]}", 1, "lies outside the city's frame"),
    ("facilities/water.ndjson", '"coordinates":[126.7,37.6]', '"coordinates":126.7', 1, "those of no Point"),
    ("facilities/water.ndjson", '"zh":"甲",', "", 1, "name has no text in ko, zh and en"),
    ("facilities/water.ndjson", '{"id":"urn:ngsi-ld:Junction', '"id":"urn:ngsi-ld:Junction', 1, "no JSON"),
    ("facilities/water.ndjson", "urn:ngsi-ld:WaterPressureSensor:tiny:P1", "P1", 2, "id is 'P1'"),
    ("devices.csv", "device,channel", "gerät,channel", 1, "the first line is not the header"),
    ("devices.csv", "GW-1,P1,water,", "GW-1,P1,air,", 2, "no link 'air'"),
    ("devices.csv", "tiny:j1", "tiny:j2", 3, "no facility"),
    ("devices.csv", "urn:ngsi-ld:Junction:tiny:j1", "GW-1", 3, "no facility 'GW-1'"),
    (
        "devices.csv",
        "GW-1,,water,urn:ngsi-ld:Junction:tiny:j1",
        "GW-1,P1,water,urn:ngsi-ld:Junction:tiny:j1",
        3,
        "twice",
    ),
    ("devices.csv", "GW-1,,water,urn", "GW-1,water,urn", 3, "3 columns"),
    ("rules/own.toml", '"WaterPressureSensor"', '"WaterFlowMeter"', 2, "WaterFlowMeter has no attribute 'pressure'"),
    ("rules/own.toml", "water.burst", "water.bust", 2, "no playbook 'water.bust'"),
    ("rules/own.toml", "below = 100", "beneath = 100", 10, ""),
    ("map/roads.geojson", "FeatureCollection", "Feature", 1, "no GeoJSON FeatureCollection"),
    ("locales/ko.toml", "greeting", "greeting greeting", 1, "no valid TOML"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: f"{one[0]}: {one[4]}")
def test_a_mistake_is_named_with_file_line_and_mend(
    city: Path, around: Around, mistake: tuple[str, str, str, int, str]
) -> None:
    file, old, new, line, what = mistake
    text = FILES[file]
    assert old in text
    (city / file).write_text(text.replace(old, new, 1), "utf-8")
    found = check(city, around)
    here = [one for one in found if one.file == file and what in one.what]
    assert here, [str(one) for one in found]
    assert here[0].line == line
    assert here[0].mend
    with pytest.raises(InvalidSettings, match="Mend them"):
        load_city(city, around)


def test_every_mistake_is_named_not_only_the_first(city: Path, around: Around) -> None:
    (city / "city.toml").write_text(CITY.replace('"KR"', '"kr"').replace("Asia/Seoul", "Nowhere"), "utf-8")
    (city / "devices.csv").write_text(DEVICES.replace("tiny:P1", "tiny:P7"), "utf-8")
    (city / "links" / "water.toml").write_text(LINK.replace("G51", "KPA"), "utf-8")
    assert [(one.file, one.line) for one in check(city, around)] == [
        ("city.toml", 3),
        ("city.toml", 4),
        ("devices.csv", 2),
        ("links/water.toml", 17),
        ("links/water.toml", 17),
    ]


@pytest.mark.parametrize("file", ["city.toml", "devices.csv"])
def test_a_missing_file_is_a_mistake(city: Path, around: Around, file: str) -> None:
    (city / file).unlink()
    assert (file, 0) in [(one.file, one.line) for one in check(city, around)]


@pytest.mark.parametrize("folder", ["links", "facilities"])
def test_a_missing_folder_is_a_mistake(city: Path, around: Around, folder: str) -> None:
    shutil.rmtree(city / folder)
    assert (folder, 0) in [(one.file, one.line) for one in check(city, around)]


def test_no_folder_at_all_is_one_clear_mistake(tmp_path: Path, around: Around) -> None:
    found = check(tmp_path / "gone", around)
    assert [one.what for one in found] == ["no such folder"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "# 한글 comment\n\n" + text,
        lambda text: text + "\n\n",
    ],
)
def test_how_lines_end_and_comments_do_not_matter(city: Path, around: Around, spoil: Callable[[str], str]) -> None:
    for name in ("city.toml", "links/water.toml"):
        (city / name).write_bytes(spoil(FILES[name]).encode())
    assert check(city, around) == []


ODD = [
    "1",
    "true",
    '"x"',
    "[]",
    "{}",
    "[[1,2],[3]]",
    "null",
    "-1e400",
    '""',
    '[1,"a"]',
    '{"a":1}',
    "1979-05-27",
    "nan",
    "[{}]",
]


def _spoiled(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    way = rng.randrange(3)
    if way == 0:
        return text[:at] + text[at + rng.randrange(1, 9) :]
    if way == 1:
        return text[:at] + rng.choice('{}[]",=\n\\:#\x00é') + text[at:]
    found = rng.choice(list(re.finditer(r'"[^"]*"|\[[^\[\]]*\]|\{[^{}]*\}|-?\d[\d.]*|true', text)))
    return text[: found.start()] + rng.choice(ODD) + text[found.end() :]


def test_whatever_is_in_the_files_the_check_answers(city: Path, around: Around) -> None:
    plain = replace(around, rule_problems=None, playbook_problems=None, rules=None)
    rng = random.Random(26)
    for _ in range(200):
        file = rng.choice([name for name in FILES if name != "rules/own.toml"])
        (city / file).write_text(_spoiled(FILES[file], rng), "utf-8")
        for one in check(city, plain):
            assert one.what
            assert one.mend
            assert str(one).count(":") >= 2
        (city / file).write_text(FILES[file], "utf-8")
    assert check(city, around) == []
