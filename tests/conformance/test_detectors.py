"""What every detector gets for free: one score per value in 0-1, pure, picklable, at home with gaps and constant
series."""

import math
import pickle

import pytest

from haechi import registry

NAMES = registry.names("detector")
SERIES = {
    "empty": ([], []),
    "constant": ([i * 60 for i in range(100)], [5.0] * 100),
    "gap": ([i * 60 if i < 50 else i * 60 + 86_400 for i in range(100)], [math.sin(i / 5) for i in range(100)]),
    "spike": ([i * 60 for i in range(100)], [0.0] * 99 + [1e9]),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
def test_a_detector_scores_every_value_and_survives_pickling(name: str, series: tuple[list[int], list[float]]) -> None:
    seconds, values = series
    observed_at = [one * 1_000_000 for one in seconds]
    detector = registry.create("detector", name)({})
    half = len(values) // 2
    scores = list(detector.score(observed_at[:half], values[:half]))
    again = pickle.loads(pickle.dumps(detector))
    scores += again.score(observed_at[half:], values[half:])
    assert len(scores) == len(values)
    assert all(0 <= one <= 1 for one in scores)
    whole = registry.create("detector", name)({}).score(observed_at, values)
    assert list(whole) == pytest.approx(scores), "the same series in two pieces scores the same"
