"""Who decides about an entity has it alone; who gives up waiting holds nobody up."""

import asyncio

import pytest

from haechi.faces.ngsi_ld.holds import Holds


async def test_entities_are_decided_about_one_after_the_other_in_order_of_arrival() -> None:
    holds, seen = Holds(), list[int]()

    async def decide(number: int) -> None:
        async with holds.of(["urn:x:b", "urn:x:a"] if number % 2 else ["urn:x:a", "urn:x:b", "urn:x:a"]):
            seen.append(number)
            await asyncio.sleep(0)
            assert seen[-1] == number

    await asyncio.gather(*map(decide, range(20)))
    assert seen == list(range(20))
    assert not holds._held


async def test_others_are_not_held_up() -> None:
    holds = Holds()
    async with holds.of(["urn:x:a"]), holds.of(["urn:x:b"]):
        assert set(holds._held) == {"urn:x:a", "urn:x:b"}
    assert not holds._held


async def test_who_gives_up_waiting_leaves_the_entities_to_the_next() -> None:
    holds, seen = Holds(), list[str]()

    async def decide(name: str) -> None:
        async with holds.of(["urn:x:a", "urn:x:b"]):
            seen.append(name)

    async with holds.of(["urn:x:b"]):
        tasks = [asyncio.create_task(decide(name)) for name in ("one", "two", "three")]
        await asyncio.sleep(0.001)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.gather(*tasks[:2], return_exceptions=True)
    await tasks[2]
    assert seen == ["three"]
    assert not holds._held


async def test_a_turn_that_comes_while_its_request_is_given_up_goes_to_the_next() -> None:
    holds = Holds()
    first = holds.of(["urn:x:a"])
    await first.__aenter__()

    async def decide() -> str:
        async with holds.of(["urn:x:a"]):
            return "decided"

    late, next_one = asyncio.create_task(decide()), asyncio.create_task(decide())
    await asyncio.sleep(0)
    await first.__aexit__(None, None, None)
    late.cancel()  # its turn has come, and it has not seen it yet
    with pytest.raises(asyncio.CancelledError):
        await late
    assert await next_one == "decided"
    assert not holds._held


async def test_an_error_gives_everything_back() -> None:
    holds = Holds()
    with pytest.raises(ValueError, match="no"):
        async with holds.of(["urn:x:a", "urn:x:b"]):
            raise ValueError("no")
    assert not holds._held
