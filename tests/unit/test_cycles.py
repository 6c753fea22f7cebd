"""Looks for cycles: what survived a long one, and what a large batch left, is not looked at again."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from haechi.services.stream import cycles


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    before, thresholds = list(gc.callbacks), gc.get_threshold()
    gc.collect()
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.callbacks[:] = before
    gc.set_threshold(*thresholds)


class Box:
    """Something that can be referred to weakly."""


@pytest.mark.parametrize(("took_s", "frozen"), [(cycles.LONG_S / 2, False), (cycles.LONG_S * 2, True)])
def test_what_survived_a_long_look_is_not_looked_at_again(took_s: float, frozen: bool) -> None:
    now = iter([100.0, 100.0 + took_s])
    looks = cycles.Looks(lambda: next(now))
    looks("start", {"generation": 1})
    looks("stop", {"generation": 1})
    assert (gc.get_freeze_count() > 0) is frozen


def test_python_tells_of_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycles, "LONG_S", -1.0)
    cycles.calm()
    cycles.calm()
    assert len([one for one in gc.callbacks if isinstance(one, cycles.Looks)]) == 1
    kept = [[] for _ in range(1_000)]
    before = gc.get_freeze_count()
    gc.collect(0)
    assert gc.get_freeze_count() - before >= len(kept)


@pytest.mark.parametrize(("many", "frozen"), [(10, False), (cycles.MUCH + 1_000, True)])
def test_a_batch_is_not_looked_at_while_it_runs_nor_when_it_left_much(many: int, frozen: bool) -> None:
    looked: list[int] = []
    gc.callbacks.append(lambda phase, info: looked.append(info["generation"]))
    with cycles.unwatched():
        assert not gc.isenabled()
        kept = [[one] for one in range(many)]
        at_the_end = list(looked)
    assert gc.isenabled()
    assert at_the_end == []
    assert (gc.get_freeze_count() >= len(kept)) is frozen


def test_what_is_frozen_still_goes_when_nothing_refers_to_it() -> None:
    box = Box()
    gone = weakref.ref(box)
    gc.freeze()
    del box
    assert gone() is None


def test_a_process_that_does_not_look_keeps_not_looking() -> None:
    gc.disable()
    try:
        with cycles.unwatched():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
