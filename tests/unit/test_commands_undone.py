"""Setpoints that fail: told at once, undone, or made up for by what the device says later."""

from pathlib import Path
from typing import Any

import pytest
from desk_city import City

from haechi.core.times import SECOND


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path)


def test_a_refusal_of_the_device_fails_at_once_with_its_words_and_undoes_nothing(city: City) -> None:
    city.ask(250.0)
    city.take(city.outcome("c1", ok=False, detail="illegal value"))
    shown = city.command()
    assert (shown["state"], shown["open"], shown["steps"][-1]["why"]) == ("failed", False, "illegal value")
    city.wait(60)
    assert len(city.sent()) == 1


def test_what_is_not_verified_in_time_fails_and_the_value_before_is_written_back(city: City) -> None:
    city.ask(250.0)
    city.confirm()
    city.now += SECOND
    city.take(city.seen(280.0))
    city.wait(28)
    assert city.command()["state"] == "confirmed"
    city.wait(1)
    assert (city.command()["state"], city.command()["open"]) == ("failed", True)
    assert "last value 280.0" in city.command()["steps"][-1]["why"]
    assert city.sent()[-1] | {"expires_at": 0} == {
        "id": "c1-undo", "device": "PLC-1", "channel": "", "field": "p", "value": 3.0, "expires_at": 0
    }  # fmt: skip
    city.take(city.outcome("c1", ok=True, detail="late"))
    assert city.command()["open"], "an answer to the first writing is none to the second"
    city.take(city.outcome("c1-undo", ok=True, confirmed=True, detail="acknowledged"))
    assert (city.command()["state"], city.command()["open"]) == ("undone", False)
    assert city.states() == ["requested", "sent", "confirmed", "failed", "undone"]


@pytest.mark.parametrize("answer", [{"ok": False, "detail": "away"}, None])
def test_an_undoing_nobody_confirms_stays_failed_and_says_so(city: City, answer: dict[str, Any] | None) -> None:
    city.ask(250.0)
    city.take(city.outcome("c1", ok=False, unsure=True, detail="no answer"))
    assert city.command()["state"] == "sent", "nobody knows"
    city.wait(30)
    if answer:
        city.take(city.outcome("c1-undo", **answer))
    city.wait(30)
    shown = city.command()
    assert (shown["state"], shown["open"]) == ("failed", False)
    assert "written back" in shown["steps"][-1]["why"]


def test_without_undo_or_without_a_value_before_a_late_setpoint_just_fails(city: City) -> None:
    city.ask(2.0, attribute="level")
    city.confirm()
    city.wait(30)
    assert (city.command()["state"], city.command()["open"]) == ("failed", False)
    city.values.clear()
    city.ask(250.0)
    city.confirm("c2")
    city.wait(30)
    assert (city.command("c2")["state"], city.command("c2")["open"]) == ("failed", False)
    assert len(city.sent()) == 2


def test_a_notice_nobody_answered_is_told_again_until_its_time_is_over(city: City) -> None:
    city.ask(2.0, attribute="level")
    for _ in range(29):
        city.wait(1)
    assert {one["id"] for one in city.sent()} == {"c1"}
    assert len(city.sent()) == 1 + 29 // 3
    city.wait(1)
    assert "nobody answered" in city.command()["steps"][-1]["why"]
    count = len(city.sent())
    city.wait(60)
    assert (len(city.sent()), city.command()["state"]) == (count, "failed")


def test_an_answer_that_was_lost_is_made_up_for_by_the_value_that_changed(city: City) -> None:
    city.ask(250.0)
    city.wait(5)
    city.take(city.seen(250.2))
    assert city.command()["state"] == "requested", "nobody said yet that the device was told"
    city.wait(25)
    assert (city.command()["state"], len(city.told) > 0) == ("verified", True)
    assert "answer was lost" in city.command()["steps"][-1]["why"]


@pytest.mark.parametrize("seen", [300.0, None])
def test_a_device_nobody_answered_for_is_brought_back_to_the_value_before(city: City, seen: float | None) -> None:
    city.ask(250.0)
    city.wait(5)
    if seen:
        city.take(city.seen(seen))
    city.wait(25)
    assert city.sent()[-1]["id"] == "c1-undo" and city.command()["open"]
    city.take(city.outcome("c1-undo", ok=True, confirmed=True, detail="acknowledged"))
    assert city.command()["state"] == "undone"


def test_a_value_that_was_there_all_along_makes_up_for_no_lost_answer(city: City) -> None:
    city.ask(300.2)
    city.wait(5)
    city.take(city.seen(300.0))
    city.wait(25)
    assert city.command()["state"] == "failed"
