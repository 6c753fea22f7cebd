"""In a drill, pollers ask as much more often as time runs faster; what listens is left as it is."""

from haechi.app.city import hastened

SETTINGS = {"port": 502, "period_s": 10.0, "device": [{"id": "A", "period_s": 20.0}, {"id": "B"}]}


def test_a_poller_in_a_drill_sees_the_same_course_as_in_real_time() -> None:
    assert hastened("modbus", SETTINGS, 60.0) == {
        "port": 502,
        "period_s": 10.0 / 60.0,
        "device": [{"id": "A", "period_s": 20.0 / 60.0}, {"id": "B"}],
    }


def test_in_real_time_and_for_what_listens_nothing_changes() -> None:
    assert hastened("modbus", SETTINGS, 1.0) == SETTINGS
    assert hastened("mqtt", SETTINGS, 60.0) == SETTINGS
