"""What the writer of history says of the upkeep of its files."""

import pytest

from haechi.core.times import to_us
from haechi.services.history.upkeep import Upkeep
from haechi.testing.clock import StandingClock

NOW = StandingClock().now()


class Time:
    """Seconds a test lets pass."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def test_the_last_step_that_did_something_is_told_with_its_time() -> None:
    time = Time()
    upkeep = Upkeep(time)
    assert upkeep.told() == {"at": None, "took_s": 0.0, "running_s": 0.0, "failing_s": 0.0}
    with upkeep.step(NOW) as done:
        time.s += 3
        assert upkeep.told()["running_s"] == 3
        done.append(True)
    with upkeep.step(NOW) as done:
        time.s += 1
        done.append(False)
    assert upkeep.told() == {"at": to_us(NOW), "took_s": 3.0, "running_s": 0.0, "failing_s": 0.0}


def test_steps_that_fail_are_told_since_the_first_until_one_goes_well() -> None:
    time = Time()
    upkeep = Upkeep(time)
    for _ in range(3):
        with pytest.raises(OSError, match="full"), upkeep.step(NOW):
            time.s += 10
            raise OSError("full")
    assert upkeep.told()["failing_s"] == 30
    with upkeep.step(NOW) as done:
        done.append(False)
    assert upkeep.told()["failing_s"] == 0
