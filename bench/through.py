"""Row b: all the way through context, history and rules, publish → visible in the API, at a rate that is held.

The limit beside it is the highest rate at which nothing falls behind. Durability "disk", everything as `haechi run`
starts it. Context is asked at `GET /api/entities/{id}`, history at `GET /api/history`.
"""

from collections.abc import Iterator

from bench import _city, _running
from bench._steady import CONCENTRATORS, Field, Held, caught_up
from bench._table import Line, alone
from haechi.testing.platform import Platform

SENSORS, RATE, SECONDS, HEADROOM = 10_000, 17_000.0, 60.0, 1.5
SEARCH_S = 12.0
STEPS = (1.5, 1.75, 2.0, 2.5, 3.0)
BELOW = (0.8, 0.65, 0.5, 0.35, 0.2)


def measure() -> Iterator[Line]:
    with _running.scratch() as folder:
        city = _city.make(folder / "city", SENSORS, CONCENTRATORS)
        with Platform(city, folder / "data") as platform:
            field = Field(platform, SENSORS)
            field.hold(2_000, 3)  # the first commit of history, caches
            held = field.hold(RATE, SECONDS)
            best = _most(field, held)
            stored = account(platform)
            assert stored >= field.sent, f"{field.sent} acknowledged, {stored} in the account"
    yield from lines(held, best)


def _most(field: Field, held: Held) -> float:
    """The highest rate of the steps that is held for SEARCH_S."""
    best = held.rate if held.kept_up else 0.0
    for step in STEPS if held.kept_up else BELOW:
        tried = field.hold(RATE * step, SEARCH_S)
        if tried.kept_up:
            best = tried.rate
        if tried.kept_up != held.kept_up:
            break
    return best


def account(platform: Platform) -> int:
    """Samples the account says are stored; it must balance."""
    caught_up(platform, 60)
    found = platform.request("GET", "/api/account")
    assert found["balanced"], found
    return int(found["links"]["mqtt"]["stored"])


def lines(held: Held, best: float) -> Iterator[Line]:
    took = held.context
    what = f"through context, history, rules: offered {RATE:,.0f}/s for {SECONDS:.0f} s, taken /s"
    drained = f"every projection had all of it {held.drained_s:.2f} s after the last acknowledgement"
    yield Line("b", what, held.sent_rate, "", RATE, "17,000 kept up", held.kept_up, drained)
    each = 1000 * took.asking_s / max(1, took.asked)
    polling = (
        f"{len(took.took_ms)} probes; asked every 20 ms, {took.asked} questions of {each:.1f} ms are in the figure"
    )
    p99 = took.quantile(0.99)
    yield Line("", "  publish → visible in context, p50", took.quantile(0.5), "ms", note=polling)
    yield Line("", "  publish → visible in context, p99", p99, "ms", None, "≤ 1,000 ms", p99 <= 1000)
    took = held.history
    p99 = took.quantile(0.99)
    yield Line("", "  publish → visible in history, p50", took.quantile(0.5), "ms", note="asked every 100 ms")
    yield Line("", "  publish → visible in history, p99", p99, "ms", None, "≤ 1,000 ms", p99 <= 1000)
    reached = best >= HEADROOM * RATE
    yield Line("", f"  highest rate held for {SEARCH_S:.0f} s, against 17,000/s", best, "/s", RATE, "≥ 1.5 ×", reached)


if __name__ == "__main__":
    alone(measure)
