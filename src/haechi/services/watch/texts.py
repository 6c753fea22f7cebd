"""What an alarm says: its text in three languages, the limit it speaks of, and its condition in words. Used by
`alarms`."""

import math
from typing import Any

from haechi.core.alarm import LEVEL_NAMES, Level
from haechi.core.quality import Quality
from haechi.core.times import SECOND
from haechi.core.units import UNITS
from haechi.services.watch.described import Described
from haechi.services.watch.rules import (
    All,
    AnyOf,
    Compare,
    Condition,
    Flagged,
    LevelRule,
    Other,
    Rate,
    Scalar,
    Silence,
    Stuck,
    leaves,
)  # fmt: skip
from haechi.services.watch.watcher import Watcher

_SIGNS = {"above": ">", "below": "<", "at_least": "≥", "at_most": "≤", "equals": "=", "differs": "≠"}


def shown(value: Any) -> str:
    """A value for people: two decimals at most, more only where the number is small; a dash when there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if value and abs(value) < 0.1:
        return f"{value:.2g}"
    text = f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def symbol(unit: str | None) -> str:
    """The sign of a UN/CEFACT code; the code itself when it is not known, nothing for counts."""
    if unit is None:
        return ""
    return UNITS[unit].symbol if unit in UNITS else unit


def value_limit_of(watcher: Watcher, level: LevelRule) -> Scalar | None:
    """The limit in the unit of the value, for a line in its trend; None where the level is about a rate or a span, or
    only about other attributes."""
    leaf = _leaf(watcher, level)
    return limit_of(watcher, level) if isinstance(leaf, Compare) and leaf.attribute == watcher.rule.attribute else None


def limit_of(watcher: Watcher, level: LevelRule) -> Scalar | None:
    """The number (or word) a level is about: that of the first condition on the rule's own attribute."""
    leaf = _leaf(watcher, level)
    match leaf:
        case Compare(op="equals" | "differs"):
            return leaf.limits[0] if len(leaf.limits) == 1 and not isinstance(leaf.limits[0], Other) else None
        case Compare():
            return _crossed(watcher, leaf)
        case Rate():
            return leaf.limit
        case Silence() | Stuck():
            return leaf.for_us / SECOND
        case Flagged():
            return None


def _leaf(watcher: Watcher, level: LevelRule) -> Compare | Rate | Silence | Stuck | Flagged:
    found = list(leaves(level.when))
    return next((one for one in found if one.attribute == watcher.rule.attribute), found[0])


def _crossed(watcher: Watcher, leaf: Compare) -> float | None:
    """Of two limits the one that the value is beyond, else the lower."""
    limits = [watcher.limit(one) for one in leaf.limits]
    value, high = watcher.series[leaf.attribute].value, limits[-1]
    over = leaf.op == "outside" and isinstance(value, float) and high is not None and value > high
    return high if over else limits[0]


def rate_of(watcher: Watcher, level: LevelRule) -> float | None:
    """The rate of change where the level is about one."""
    for leaf in leaves(level.when):
        if isinstance(leaf, Rate):
            series = watcher.series[leaf.attribute]
            return series.slope(leaf.window_us, leaf.per_us) if isinstance(series.value, float) else None
    return None


def texts(watcher: Watcher, level: LevelRule, entity: Described) -> dict[str, str]:
    """The rule's text filled in, per language."""
    series = watcher.series[watcher.rule.attribute]
    common = {
        "value": shown(series.value),
        "unit": symbol(series.unit),
        "limit": shown(limit_of(watcher, level)),
        "rate": shown(rate_of(watcher, level)),
    }
    return {
        language: _filled(template, language, level.level, entity, common)
        for language, template in watcher.rule.text.items()
    }


def _filled(template: str, language: str, level: Level, entity: Described, common: dict[str, str]) -> str:
    place = entity.place or {}
    return template.format(
        name=entity.name.get(language, ""), place=place.get(language, ""), level=LEVEL_NAMES[level][language], **common
    )


def formula(condition: Condition) -> str:
    """The condition in signs, the same in every language: `pressure < 200`, `(a > 1 and b = open)`."""
    match condition:
        case All() | AnyOf():
            word = " and " if isinstance(condition, All) else " or "
            return f"({word.join(formula(one) for one in condition.parts)})"
        case Compare() | Rate():
            return _numeric(condition)
        case Silence():
            return f"{condition.attribute} silent ≥ {condition.for_us / SECOND:g} s"
        case Stuck():
            return f"{condition.attribute} unchanged ≥ {condition.for_us / SECOND:g} s"
        case Flagged():
            return f"{condition.attribute} quality: {', '.join(Quality(condition.mask).words)}"


def _numeric(condition: Compare | Rate) -> str:
    if isinstance(condition, Rate):
        sign = ">" if condition.sign > 0 else "<"
        per, window = condition.per_us / SECOND, condition.window_us / SECOND
        return f"Δ{condition.attribute}/{per:g} s {sign} {condition.limit:g} ({window:g} s)"
    limits = [_limit(one) for one in condition.limits]
    if condition.op in {"between", "outside"}:
        return f"{condition.attribute} {'in' if condition.op == 'between' else 'not in'} [{', '.join(limits)}]"
    return f"{condition.attribute} {_SIGNS[condition.op]} {' | '.join(limits)}"


def _limit(limit: Scalar | Other) -> str:
    if not isinstance(limit, Other):
        return shown(limit)
    times = "" if math.isclose(limit.times, 1) else f" × {limit.times:g}"
    plus = "" if not limit.plus else f" + {limit.plus:g}"
    return f"{limit.attribute}{times}{plus}"
