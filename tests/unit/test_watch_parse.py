"""Rules from TOML: what is read, and every mistake named with its line and its mend."""

from datetime import date, time
from pathlib import Path

import pytest

from haechi.core.alarm import Level
from haechi.core.errors import InvalidSettings
from haechi.core.times import SECOND
from haechi.services.watch import city_rules, load_rules, problems
from haechi.services.watch.hours import Window
from haechi.services.watch.rules import All, Compare, LevelRule, Other, Rate, Silence

GOOD = """\
[[rule]]
id = "water.low"
name = { ko = "가", zh = "中", en = "a" }
text = { ko = "{name}", zh = "{value} {unit}", en = "{limit} {rate} {level} {place}" }
domain = "water"
entities = { type = ["A", "B"], scope = "/t/north" }
attribute = "pressure"
quality = "any"
active = [{ from = "22:00", to = "06:00", days = ["mon"] }, { from = "12:00", to = "24:00" }]
suppress = { attribute = "mode", equals = "test" }
playbook = "burst"
group = "refPipe"

[rule.provenance]
clause = "4.2"
valid_from = 2026-01-01

[rule.levels.caution]
when = { below = { attribute = "design", times = 0.8 } }
clear = { at_least = 220 }
for_s = 30
clear_for_s = 1.5

[rule.levels.serious]
when = { all = [{ below = 100.0 }, { attribute = "flow", rate_above = 2, window_s = 60 }] }
"""


def written(folder: Path, text: str, name: str = "water.toml") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder


def test_a_rule_is_read_as_it_is_written(tmp_path: Path) -> None:
    (rule,) = load_rules(written(tmp_path, GOOD), zone="Asia/Seoul")
    serious, caution = rule.levels
    flow = Rate("flow", 1, 2.0, SECOND, 60 * SECOND)
    assert serious == LevelRule(Level.SERIOUS, All((Compare("pressure", "below", (100.0,)), flow)))
    assert caution.when == Compare("pressure", "below", (Other("design", 0.8),))
    assert (caution.for_us, caution.clear_for_us) == (30 * SECOND, 1_500_000)
    assert rule.hours.windows[0] == Window(time(22), time(6), frozenset({0}))
    assert (rule.hours.valid_from, rule.hours.zone) == (date(2026, 1, 1), "Asia/Seoul")
    assert rule.scope.covers("x", ("B",), ("/t/north/7",))
    assert not rule.scope.covers("x", ("B",), ("/t/northwest",))
    assert rule.attributes() == ("pressure", "flow", "design", "mode")
    assert (rule.any_quality, rule.maintenance, rule.playbook, rule.group) == (True, False, "burst", "refPipe")


def test_a_rule_of_silence_is_about_the_sensor(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("[rule.levels.caution]")] + "[rule.levels.attention]\nwhen = { silence_s = 60 }\n"
    (rule,) = load_rules(written(tmp_path, text))
    assert rule.levels[0].when == Silence("pressure", 60 * SECOND)
    assert rule.maintenance is True


def test_a_rule_of_the_city_replaces_the_domains_and_may_switch_it_off(tmp_path: Path) -> None:
    for name in ("domain", "city"):
        (tmp_path / name).mkdir()
    written(tmp_path / "domain", GOOD + GOOD.replace("water.low", "water.other"))
    changed = GOOD.replace('attribute = "pressure"', 'attribute = "flow"', 1)
    off = GOOD.replace("water.low", "water.other").replace("[[rule]]", "[[rule]]\nenabled = false")
    written(tmp_path / "city", changed + off)
    (rule,) = city_rules([(tmp_path / "domain", "water"), (tmp_path / "city", "")], "Asia/Seoul")
    assert (rule.id, rule.attribute) == ("water.low", "flow")


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ('id = "water.low"', 'id = "Water low"', 2, "Water low"),
        ('zh = "中", ', "", 3, "zh"),
        ("{value} {unit}", "{value} {colour}", 4, "{colour}"),
        ("{value} {unit}", "{value", 4, "text.zh"),
        ('domain = "water"\n', "", 1, "domain is missing"),
        ('type = ["A", "B"], scope', "scope", 5, "neither type nor ids"),
        ('scope = "/t/north"', 'scope = "north"', 6, "no path"),
        ('attribute = "pressure"\n', "", 1, "attribute is missing"),
        ('quality = "any"', 'quality = "some"', 8, "some"),
        ('from = "22:00"', 'from = "25:00"', 9, "hour"),
        ('days = ["mon"]', 'days = ["mo"]', 9, "mo"),
        ('equals = "test"', "equals = {}", 10, "equals is {}"),
        ("2026-01-01", '"soon"', 16, "soon"),
        ("levels.caution", "levels.orange", 18, "orange"),
        ("times = 0.8", "by = 0.8", 19, "below is"),
        ("at_least = 220", 'at_least = "x"', 20, "at_least is 'x'"),
        ("at_least = 220", "at_least = 220, at_most = 3", 20, "at_least and at_most"),
        ("at_least = 220", "epsilon = 3", 20, "none"),
        ("at_least = 220", "at_least = 220, window_s = 3", 20, "window_s means nothing"),
        ("at_least = 220", "between = [3, 1]", 20, "low is above high"),
        ("at_least = 220", "stuck_s = 0", 20, "stuck_s is 0"),
        ("at_least = 220", 'quality = ["bad"]', 20, "quality is"),
        ("for_s = 30", "for_s = -1", 21, "for_s is -1"),
        ("for_s = 30", "dwell_s = 30", 21, "no setting"),
        (", window_s = 60", "", 25, "window_s is missing"),
        ("when = { all = [{ below = 100.0 }", "when = { all = [5", 25, "a condition is 5"),
        ("[rule.levels.caution]", "[rule.levels.caution", 18, "TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_its_mend(
    tmp_path: Path, old: str, new: str, line: int, what: str
) -> None:
    assert old in GOOD
    found = problems(written(tmp_path, GOOD.replace(old, new, 1)))
    assert found, "the mistake went unseen"
    if "\n" in old and not new:
        assert what in found[0].what
        return
    first = next((one for one in found if what in str(one)), None)
    assert first is not None, [str(one) for one in found]
    assert first.mend
    assert first.file == str(tmp_path / "water.toml")
    if what not in {"neither type nor ids"}:
        assert first.line == line


def test_the_same_id_twice_is_a_mistake(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    (found,) = problems(written(tmp_path, GOOD, "zebra.toml"))
    assert "twice" in found.what
    assert "water.toml" in found.mend


def test_loading_refuses_with_every_mistake(tmp_path: Path) -> None:
    text = GOOD.replace("at_least = 220", "at_least = true").replace("for_s = 30", "for_s = -1")
    with pytest.raises(InvalidSettings) as refused:
        load_rules(written(tmp_path, text))
    assert len(str(refused.value).splitlines()) == 2


def test_a_folder_without_rules_has_none(tmp_path: Path) -> None:
    assert load_rules(tmp_path / "nothing") == []
