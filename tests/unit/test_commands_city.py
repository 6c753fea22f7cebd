"""What a city says of setpoints: what becomes of it, and which mistakes are named."""

import re
import shutil
from pathlib import Path

import pytest

from haechi.app.parts import around
from haechi.core.errors import InvalidSettings
from haechi.services.cities.city import load_city
from haechi.services.cities.model import City
from haechi.services.commands import setpoints

TINY = Path(__file__).parents[1] / "cities" / "tiny"
SENSOR = "urn:ngsi-ld:WaterPressureSensor:tiny:P-1"


def city(folder: Path, link: str, added: str, commands: str = "") -> City:
    path = Path(shutil.copytree(TINY, folder / "tiny"))
    file = path / "links" / f"{link}.toml"
    heard = 'port = 1883\nsubscribe = ["x/{device}", "city/{device}/commands/+"]'
    text = file.read_text().replace("port = 1883", heard)
    if commands:
        text = text.replace("[[map]]", f"[settings.commands]\n{commands}\n[[map]]", 1)
    file.write_text(text + added)
    return load_city(path, around())


def test_a_writable_map_makes_a_setpoint_of_each_entity_it_reaches(tmp_path: Path) -> None:
    loaded = city(tmp_path, "mqtt", "writable = true\ntolerance = 2\nundo = true\n", 'topic = "x/{device}"')
    (found,) = setpoints(loaded).values()
    assert (found.entity, found.attribute, found.link, found.device, found.channel) == (
        SENSOR, "pressure", "mqtt", "RTU-1", "P-1",
    )  # fmt: skip
    assert (found.tolerance, found.timeout_s, found.undo, found.unit) == (2, 30.0, True, "KPA")
    assert (found.low, found.high) == (0, 1600)


def test_nothing_is_writable_unless_the_city_says_so(tmp_path: Path) -> None:
    assert setpoints(city(tmp_path, "mqtt", "")) == {}


@pytest.mark.parametrize(
    ("link", "added", "commands", "said"),
    [
        ("mqtt", "tolerance = 1\n", "", "tolerance is for setpoints"),
        ("mqtt", "undo = true\n", "", "undo is for setpoints"),
        ("mqtt", "writable = true\ntolerance = -1\n", "", "tolerance is -1"),
        ("mqtt", "writable = true\ntimeout_s = 0\n", "", "timeout_s is 0"),
        ("mqtt", 'writable = "yes"\n', "", "writable is 'yes'"),
        ("mqtt", "writable = true\n", "", "would not hear of setpoints; add [settings.commands]"),
        ("mqtt", "", 'topic = "all"', "has no level {device}"),
        ("mqtt", "writable = true\n", 'topic = "other/{device}"', "devices may not hear 'other/{device}'"),
        ("mqtt", "", 'topic = "x/{device}"\nqos = 2', "commands"),
        ("push", "writable = true\n", "", "adapter 'http_push' carries no commands"),
    ],
)
def test_a_mistake_is_named_before_anything_runs(
    tmp_path: Path, link: str, added: str, commands: str, said: str
) -> None:
    with pytest.raises(InvalidSettings, match=re.escape(said)):
        city(tmp_path, link, added, commands)
