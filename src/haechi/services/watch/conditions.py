"""Reads one condition as written in TOML (docs/reference/rules.md, "Conditions"). Used by `parse`."""

from collections.abc import Callable, Mapping
from typing import Any

from haechi.core.quality import Quality
from haechi.core.times import SECOND
from haechi.services.watch.rules import All, AnyOf, Compare, Condition, Flagged, Other, Rate, Silence, Stuck

NUMERIC = ("above", "below", "at_least", "at_most")
PAIRS = ("between", "outside")
EXACT = ("equals", "differs")
RATES = {"rate_above": 1, "rate_below": -1}
KINDS = (*NUMERIC, *PAIRS, *EXACT, *RATES, "silence_s", "stuck_s", "quality", "all", "any")
_MORE = {"rate_above": ("per_s", "window_s"), "rate_below": ("per_s", "window_s"), "stuck_s": ("epsilon",)}
FLAGS = {
    "out_of_range": Quality.OUT_OF_RANGE,
    "clock_skew": Quality.CLOCK_SKEW,
    "device_doubt": Quality.DEVICE_DOUBT,
    "stuck": Quality.STUCK,
}


class Wrong(Exception):
    """What is wrong with a condition and how to mend it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.what, self.mend = what, mend


def read_condition(written: Any, attribute: str) -> Condition:
    """The condition; `attribute` is the one it speaks of unless it names another. Raises `Wrong`."""
    if not isinstance(written, Mapping):
        raise Wrong(f"a condition is {written!r}", "write a table such as { above = 5.0 }")
    kinds = [one for one in KINDS if one in written]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        raise Wrong(
            f"a condition has exactly one of {', '.join(KINDS)}; this one has {found}",
            "split it with all = [{…}, {…}]" if kinds else "add one",
        )
    kind = kinds[0]
    own = {kind, "attribute", *_MORE.get(kind, ())} if kind not in {"all", "any"} else {kind}
    if extra := sorted(set(written) - own):
        raise Wrong(f"{', '.join(extra)} means nothing beside {kind}", f"remove it or use {', '.join(sorted(own))}")
    named = written.get("attribute", attribute)
    if not isinstance(named, str) or not named:
        raise Wrong(f"attribute is {named!r}", "name an attribute of the entity")
    return _reader(kind)(kind, written, named)


def _reader(kind: str) -> Callable[[str, Mapping[str, Any], str], Condition]:
    if kind in {"all", "any"}:
        return _composed
    if kind in RATES:
        return _rate
    return {"silence_s": _silence, "stuck_s": _stuck, "quality": _flagged}.get(kind, _compare)


def _composed(kind: str, written: Mapping[str, Any], attribute: str) -> Condition:
    parts = written[kind]
    if not isinstance(parts, list) or not parts:
        raise Wrong(f"{kind} is {parts!r}", f"write {kind} = [{{…}}, {{…}}]")
    read = tuple(read_condition(one, attribute) for one in parts)
    return All(read) if kind == "all" else AnyOf(read)


def _compare(kind: str, written: Mapping[str, Any], attribute: str) -> Condition:
    value = written[kind]
    if kind in PAIRS:
        if not isinstance(value, list) or len(value) != 2:
            raise Wrong(f"{kind} is {value!r}", f"write {kind} = [low, high]")
        low, high = (_limit(kind, one) for one in value)
        if isinstance(low, float) and isinstance(high, float) and low > high:
            raise Wrong(f"{kind} is {value!r}: low is above high", "swap them")
        return Compare(attribute, kind, (low, high))
    if kind in EXACT:
        options = value if isinstance(value, list) else [value]
        if not options or not all(isinstance(one, bool | int | float | str) for one in options):
            raise Wrong(f"{kind} is {value!r}", "write a number, a text, true, false or a list of them")
        return Compare(attribute, kind, tuple(one if isinstance(one, bool | str) else float(one) for one in options))
    return Compare(attribute, kind, (_limit(kind, value),))


def _limit(kind: str, value: Any) -> float | Other:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if (
        isinstance(value, Mapping)
        and isinstance(value.get("attribute"), str)
        and set(value) <= {"attribute", "times", "plus"}
    ):
        return Other(value["attribute"], _number(value, "times", 1.0), _number(value, "plus", 0.0))
    raise Wrong(f"{kind} is {value!r}", 'write a number or { attribute = "…", times = 1.0, plus = 0.0 }')


def _number(written: Mapping[str, Any], key: str, default: float | None, positive: bool = False) -> float:
    value = written.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or (positive and value <= 0):
        shown = f"{key} is {value!r}" if key in written else f"{key} is missing"
        raise Wrong(shown, f"write {key} = a number{' above 0' if positive else ''}")
    return float(value)


def _rate(kind: str, written: Mapping[str, Any], attribute: str) -> Condition:
    window = _number(written, "window_s", None, positive=True)
    per = _number(written, "per_s", 1.0, positive=True)
    return Rate(attribute, RATES[kind], _number(written, kind, None), int(per * SECOND), int(window * SECOND))


def _silence(kind: str, written: Mapping[str, Any], attribute: str) -> Condition:
    return Silence(attribute, int(_number(written, kind, None, positive=True) * SECOND))


def _stuck(kind: str, written: Mapping[str, Any], attribute: str) -> Condition:
    span = _number(written, kind, None, positive=True)
    return Stuck(attribute, int(span * SECOND), abs(_number(written, "epsilon", 0.0)))


def _flagged(kind: str, written: Mapping[str, Any], attribute: str) -> Condition:
    flags = written[kind]
    if not isinstance(flags, list) or not flags or not all(isinstance(one, str) and one in FLAGS for one in flags):
        raise Wrong(f"quality is {flags!r}", f"write a list of {', '.join(FLAGS)}")
    mask = 0
    for one in flags:
        mask |= FLAGS[one]
    return Flagged(attribute, int(mask))
