"""Entities asked for in one turn of the event loop are read at once; each request gets its own."""

import asyncio
from collections.abc import Sequence

import pytest

from haechi.core.errors import Unavailable
from haechi.faces.ngsi_ld.lookups import TOGETHER, Lookups


class Store:
    """What was asked, in order."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.fails = False

    def load(self, ids: Sequence[str]) -> dict[str, bytes]:
        self.asked.append(list(ids))
        if self.fails:
            raise Unavailable("the disk is away; put it back")
        return {id: id.encode() for id in ids if not id.startswith("no")}


async def test_what_one_turn_asks_for_is_one_question_with_each_entity_once() -> None:
    store = Store()
    lookups = Lookups(store.load)
    wanted = [["a", "b"], ["b", "c"], ["none"]]
    assert await asyncio.gather(*map(lookups.of, wanted)) == [{"a": b"a", "b": b"b"}, {"b": b"b", "c": b"c"}, {}]
    assert store.asked == [["a", "b", "c", "none"]]


async def test_a_later_turn_asks_again() -> None:
    store = Store()
    lookups = Lookups(store.load)
    await lookups.of(["a"])
    await lookups.of(["a"])
    assert store.asked == [["a"], ["a"]], "nothing is remembered: it may have changed"


async def test_many_are_asked_for_in_portions() -> None:
    store = Store()
    lookups = Lookups(store.load)
    found = await asyncio.gather(*(lookups.of([f"e{number}"]) for number in range(2 * TOGETHER + 1)))
    assert [list(one) for one in found] == [[f"e{number}"] for number in range(2 * TOGETHER + 1)]
    assert [len(one) for one in store.asked] == [TOGETHER, TOGETHER, 1]


async def test_each_is_told_of_the_error_and_the_next_may_succeed() -> None:
    store = Store()
    lookups = Lookups(store.load)
    store.fails = True
    failed = await asyncio.gather(lookups.of(["a"]), lookups.of(["b"]), return_exceptions=True)
    assert [str(one) for one in failed] == ["the disk is away; put it back"] * 2
    store.fails = False
    assert await lookups.of(["a"]) == {"a": b"a"}


async def test_a_client_that_goes_away_takes_nothing_from_the_others() -> None:
    lookups = Lookups(Store().load)
    gone, stays = asyncio.create_task(lookups.of(["a"])), asyncio.create_task(lookups.of(["b"]))
    await asyncio.sleep(0)  # both have asked
    gone.cancel()
    assert await stays == {"b": b"b"}
    with pytest.raises(asyncio.CancelledError):
        await gone
