"""Processes, disk and clock fail in a burst; afterwards nothing acknowledged is lost and nothing is doubled."""

from pathlib import Path

import pytest
from fault_plan import plan_of, without_faults
from fault_run import left_out, run

SEEDS = (3, 19)  # with a frozen and a full disk and jumps of the clock; fresh ones: `make soak`
SHORT_MS = 5_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_of_a_burst_is_kept_whatever_was_killed(seed: int, tmp_path: Path) -> None:
    plan = plan_of(seed, SHORT_MS)
    outcome = run(plan, tmp_path)
    assert len(outcome.promise.acknowledged) > 100, outcome.report()
    assert not outcome.problems, outcome.report()
    if lacking := left_out(plan):
        pytest.skip(f"all else was kept; {'; '.join(lacking)}")


@pytest.mark.slow
def test_a_device_that_claims_an_acknowledgement_it_never_got_turns_the_run_red(tmp_path: Path) -> None:
    """The canary: if the platform lost one observation, this is how it would look."""
    plan = without_faults(plan_of(1, burst_ms=500, most_a_series=20))
    outcome = run(plan, tmp_path, lie=True)
    assert len(outcome.problems) == 1, outcome.report()
    assert outcome.problems[0].startswith("history: observation acknowledged and lost: ")
