"""Row g: the NGSI-LD interface under the load shapes other brokers publish, beside another broker in the same run.

Run with `python -m bench g`; the variable `NGSI_LD_PEER` (http://user:password@127.0.0.1:3999/ngsi-ld/v1) names the
other broker, measured in turn with ours. Ours: all roles, every 2xx of a change after the log synced it to disk.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import _shapes
from bench._running import scratch
from bench._shapes import Broker, Rate
from bench._table import Line, alone
from haechi.testing.platform import Platform

TINY = Path(__file__).parents[1] / "tests" / "cities" / "tiny"
SECONDS = float(os.environ.get("SECONDS", "6"))
FEW = 1_000
MANY = tuple(int(one) for one in os.environ.get("ENTITIES", "10000,100000").split(","))
SUBSCRIPTIONS = 1_000
LIVES = 20  # changes a second beside: a city of devices commits as often
Shape = tuple[str, str, float, Callable[[Broker], Rate]]


def measure() -> Iterator[Line]:
    """The shapes at 1,000 entities against the peer, then ours as the city grows, then under subscriptions."""
    with scratch() as folder, Platform(TINY, folder) as platform:
        token = {"Authorization": f"Bearer {platform.token()}"}
        ours, other = Broker("haechi", platform.http_port, "/ngsi-ld/v1", token), _shapes.peer()
        for one in (ours, *([other] if other else [])):
            _fill(one, 0, FEW)
        for what, goal, reach, shape in _each():
            yield from _compared(what, goal, reach, shape, ours, other)
        yield from _two_thousand(ours, other)
        yield from _growth(ours)
        yield from _subscribed(ours)


def _fill(broker: Broker, first: int, last: int) -> None:
    """Entities are there before; those a peer has already are brought up to date."""
    made = _shapes.upsert(broker, first, 250)
    _shapes.send(broker, [next(made) for _ in range((last - first) // 250)], 2)


def _each() -> Iterator[Shape]:
    fresh = iter(range(10_000_000, 2_000_000_000, 1_000_000))
    yield "retrieve by id, 50 connections", "≥ 10,000/s", 10_000, _shape(lambda one: _shapes.retrieve(one, FEW), 50)
    yield "query of 20 five-attribute entities, 50 connections", "≥ 4,000/s", 4_000, _shape(_shapes.query, 50)
    yield "query of 20 five-attribute entities, 200 connections", "", 0, _shape(_shapes.query, 200)
    yield (
        "update of one attribute, 64 connections",
        "≥ 5,000/s",
        5_000,
        _shape(lambda one: _shapes.update(one, FEW), 64),
    )
    yield "create, 64 connections", "", 0, _shape(lambda one: _shapes.create(one, next(fresh)), 64)
    yield "entities in batch upserts of 100, 8 connections", "≥ 20,000/s", 20_000, _batches(fresh)


def _shape(requests: Callable[[Broker], Iterator[bytes]], connections: int) -> Callable[[Broker], Rate]:
    return lambda broker: _shapes.load(broker, requests(broker), connections, SECONDS)


def _batches(fresh: Iterator[int]) -> Callable[[Broker], Rate]:
    def run(broker: Broker) -> Rate:
        rate = _shapes.load(broker, _shapes.upsert(broker, next(fresh), 100), 8, SECONDS)
        return Rate(rate.per_s * 100, rate.p50_ms, rate.p99_ms, rate.errors)

    return run


def _compared(
    what: str, goal: str, reach: float, shape: Callable[[Broker], Rate], ours: Broker, other: Broker | None
) -> Iterator[Line]:
    mine = shape(ours)
    theirs = shape(other) if other else None
    note = f"p50 {mine.p50_ms:.1f} ms, p99 {mine.p99_ms:.1f} ms, {mine.errors} errors"
    if other and theirs:
        note += f"; {other.name} p50 {theirs.p50_ms:.1f} ms, p99 {theirs.p99_ms:.1f} ms, {theirs.errors} errors"
    elif not other:
        note += "; no other broker: NGSI_LD_PEER names none"
    ratio_held = theirs is None or mine.per_s >= 5 * theirs.per_s
    reached = mine.per_s >= reach and not mine.errors and ratio_held if goal else None
    goal = f"{goal}, ≥ 5 ×" if goal else "≥ 5 ×"
    yield Line("g", what, mine.per_s, "/s", theirs.per_s if theirs else None, goal, reached, note)


def _two_thousand(ours: Broker, other: Broker | None) -> Iterator[Line]:
    spans = []
    for one in (ours, *([other] if other else [])):
        begun = time.perf_counter()
        _shapes.send(one, [next(_shapes.upsert(one, 5_000_000, 2_000))], 1)
        spans.append(time.perf_counter() - begun)
    theirs = spans[1] if other else None
    yield Line("g", "one batch upsert of 2,000 entities", spans[0], "s", theirs, "≤ 0.3 s", spans[0] <= 0.3)


def _growth(ours: Broker) -> Iterator[Line]:
    """The same shapes while the city lives: what is asked twice is remembered until something is committed, so that
    a thousand entities nobody changes say nothing about a million."""
    rates: dict[str, list[float]] = {}
    first = 0
    for many in (FEW, *MANY):
        _fill(ours, first, many)
        first = many
        for what, shape in _shapes_of(many):
            with _shapes.living(ours, LIVES):
                rate = shape(ours)
            rates.setdefault(what, []).append(rate.per_s)
            note = f"p50 {rate.p50_ms:.1f} ms, p99 {rate.p99_ms:.1f} ms, {rate.errors} errors; {LIVES} commits/s beside"
            yield Line("g", f"{what}, {many:,} entities", rate.per_s, "/s", note=note)
    for what, found in rates.items():
        ratio = max(found) / min(found)
        yield Line("", f"  {what}: fastest against slowest", ratio, "×", None, "≤ 1.5 ×", ratio <= 1.5)


def _shapes_of(many: int) -> Sequence[tuple[str, Callable[[Broker], Rate]]]:
    return (
        ("retrieve by id", _shape(lambda one: _shapes.retrieve(one, many), 50)),
        ("query of 20", _shape(_shapes.query, 50)),
        ("update of one attribute", _shape(lambda one: _shapes.update(one, many), 64)),
    )


def _subscribed(ours: Broker) -> Iterator[Line]:
    """Every update matches a thousand subscriptions whose receiver nobody is (their deliveries wait and are tried)."""
    before = _shape(lambda one: _shapes.update(one, FEW), 64)(ours)
    _shapes.send(ours, [ours.ask("POST", "/subscriptions", _subscription(one)) for one in range(SUBSCRIPTIONS)])
    rate = _shape(lambda one: _shapes.update(one, FEW), 64)(ours)
    note = f"p50 {rate.p50_ms:.1f} ms, p99 {rate.p99_ms:.1f} ms, {rate.errors} errors; the other side: without them"
    held = rate.per_s > before.per_s / 2 and not rate.errors
    what = f"update of one attribute, {SUBSCRIPTIONS:,} matching subscriptions"
    yield Line("g", what, rate.per_s, "/s", before.per_s, "> 0.5 ×", held, note)


def _subscription(number: int) -> dict[str, object]:
    return {
        "id": f"urn:ngsi-ld:Subscription:bench:{number}",
        "type": "Subscription",
        "entities": [{"type": "Building"}],
        "watchedAttributes": ["temperature"],
        "notification": {"endpoint": {"uri": "http://127.0.0.1:9/nobody", "accept": "application/json"}},
    }


if __name__ == "__main__":
    alone(measure)
