"""The facilities of a city are kept as the bytes of their lines and parsed when they are asked for."""

import pytest

from haechi.services.cities.lines import Lines
from haechi.services.cities.model import EntitiesOf

FIRST, SECOND = b'{"id":"a"}\n\n{"id":"b"}\n', b'{"id":"c"}'


@pytest.fixture
def lines() -> Lines:
    made = Lines()
    made.file(FIRST)
    made.add(0, 10)
    made.add(12, 22)
    made.file(SECOND)
    made.add(0, 10)
    return made


def test_each_entity_comes_from_its_own_file_by_number_by_slice_and_in_order(lines: Lines) -> None:
    assert len(lines) == 3
    assert [one["id"] for one in lines] == ["a", "b", "c"]
    assert (lines[1], lines[-1]) == ({"id": "b"}, {"id": "c"})
    assert [one["id"] for one in lines[1:9]] == ["b", "c"]
    with pytest.raises(IndexError):
        lines[3]


def test_an_entity_knows_its_file_and_line(lines: Lines) -> None:
    assert [lines.where(number) for number in range(3)] == [(0, 1), (0, 3), (1, 1)]


def test_what_is_changed_in_a_parsed_entity_changes_no_other(lines: Lines) -> None:
    lines[0]["id"] = "x"
    assert lines[0]["id"] == "a"


def test_a_link_sees_its_own_rows_of_the_devices() -> None:
    rows = {("air", "d", ""): "a", ("water", "d", "1"): "b", ("water", "e", "1"): "c"}
    water = EntitiesOf("water", rows)
    assert dict(water) == {("d", "1"): "b", ("e", "1"): "c"}
    assert len(water) == 2
    assert water.get(("d", "")) is None
