"""The exposition of the platform's own figures, read back by a strict parser."""

import math

import pytest

from exposition import parse
from haechi.faces.metrics import Metric, render


def test_every_family_has_help_and_type_before_its_samples() -> None:
    text = render([Metric("haechi_received_total", "counter", "Samples.", [({"link": "a"}, 3), ({"link": "b"}, 4.5)])])
    assert text == (
        "# HELP haechi_received_total Samples.\n"
        "# TYPE haechi_received_total counter\n"
        'haechi_received_total{link="a"} 3\n'
        'haechi_received_total{link="b"} 4.5\n'
    )


@pytest.mark.parametrize("hard", ['say "no"', "back\\slash", "two\nlines", "\\n is not a line", '},x="1"', "수위", ""])
def test_a_label_comes_back_as_it_was(hard: str) -> None:
    family = parse(render([Metric("a", "gauge", "h", [({"reason": hard, "link": "x"}, 1)])]))["a"]
    assert family.at(reason=hard, link="x") == 1


def test_help_of_two_lines_stays_one_line() -> None:
    assert parse(render([Metric("a", "gauge", "one\ntwo \\ three", [({}, 1)])]))["a"].help == "one\ntwo \\ three"


@pytest.mark.parametrize("value", [0, -1.5, 2.0**53, 1e300, 1e-9, math.inf, -math.inf, 1_795_338_000.25])
def test_a_value_comes_back_exactly(value: float) -> None:
    assert parse(render([Metric("a", "gauge", "h", [({}, value)])]))["a"].at() == value


def test_what_is_not_known_is_not_a_number() -> None:
    assert math.isnan(parse(render([Metric("a", "gauge", "h", [({}, math.nan)])]))["a"].at())


def test_a_family_without_samples_is_left_out() -> None:
    assert render([Metric("a", "gauge", "h", [])]) == ""


@pytest.mark.parametrize("wrong", ["a 1\n", "# HELP a h\na 1\n", "# HELP a h\n# TYPE a gauge\na 1\na 1\n", "x"])
def test_the_parser_refuses_what_prometheus_refuses(wrong: str) -> None:
    with pytest.raises(AssertionError):
        parse(wrong)
