"""What health sees of the platform raises a real alarm and ends it again, check by check."""

import tomllib
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from watch_city import City, observed

from haechi import registry
from haechi.app.selfwatch import observed as own_figures
from haechi.core.observation import from_batch
from haechi.services.watch import Described, load_rules

FOLDER = registry.folder("domain", "platform")
PLATFORM = "urn:ngsi-ld:Platform:t:self"
RULES = load_rules(FOLDER / "rules", "platform")


def describe(entity: str) -> Described:
    name = {"ko": "통합플랫폼", "zh": "城市平台", "en": "City platform"}
    return Described(("Platform",), name, (), None, name, {})


@pytest.mark.parametrize(
    ("attribute", "well", "ill", "rule", "level"),
    [
        ("lateness", 0.0, 31.0, "platform.late", "caution"),
        ("lateness", 0.0, 301.0, "platform.late", "alert"),
        ("diskFree", 50.0, 2.0, "platform.disk", "alert"),
        ("diskFree", 50.0, 0.4, "platform.disk", "serious"),
        ("gatewaySilence", 0.5, 11.0, "platform.gateway", "alert"),
        ("missing", 0.0, 3.0, "platform.account", "alert"),
        ("logFill", 0.5, 0.81, "platform.log", "alert"),
        ("logFill", 0.5, 0.96, "platform.log", "serious"),
        ("upkeepStuck", 0.0, 901.0, "platform.upkeep", "caution"),
        ("certificateLeft", 90.0, 13.0, "platform.certificate", "caution"),
        ("certificateLeft", 90.0, 0.0, "platform.certificate", "alert"),
        ("clockJump", 0.0, 3600.0, "platform.clock", "caution"),
        ("clockJump", 0.0, -40.0, "platform.clock", "caution"),
    ],
)
def test_a_figure_that_goes_wrong_raises_its_alarm_and_one_that_is_well_again_ends_it(
    tmp_path: Path, attribute: str, well: float, ill: float, rule: str, level: str
) -> None:
    city = City(tmp_path, RULES, describe=describe)
    for second, value in ((0, well), (10, ill), (20, ill)):
        city.hear(observed(second, value, attribute, entity=PLATFORM))
        city.tick(second + 1)
        assert [one["rule"] for one in city.alarms()] == ([] if second == 0 else [rule])
    raised = city.alarm()
    assert (raised["level"], raised["condition_active"]) == (level, True)
    city.hear(observed(30, well, attribute, entity=PLATFORM))
    city.tick(31)
    assert not city.alarm()["condition_active"]


def test_every_figure_is_an_attribute_of_the_type_with_its_unit_and_every_rule_has_its_figure() -> None:
    seen = {"late_s": {"context": 1.0}, "disk_free": 10**9, "silent_s": 1.0, "missing": 0, "log_fill": 0.4}
    seen |= {"upkeep_stuck_s": 2.0, "clock_jump_s": 0.0, "certificate_s": 864_000.0}
    health = Mock(**{f"{name}.return_value": value for name, value in seen.items()}, behind={"context": 3})
    frame = own_figures(SimpleNamespace(id="t"), health, 1)  # type: ignore[arg-type]
    told = {one.attribute: (one.value, one.unit) for one in from_batch(frame.observations)}
    assert told["certificateLeft"] == (10.0, "DAY") and told["logFill"] == (0.4, None)
    types = tomllib.loads((FOLDER / "types.toml").read_text("utf-8"))["Platform"]["attributes"]
    assert {name: unit for name, (_, unit) in told.items()} == {name: one.get("unit") for name, one in types.items()}
    assert {one.attribute for one in RULES} <= set(told)
