"""The gateway role: how the adapters of a city start."""

import asyncio
from collections.abc import Mapping

import pytest

from haechi.app.gateway import _start_all
from haechi.core.errors import InvalidSettings, Unavailable


class Door:
    """An adapter whose start ends with these problems, one after the other, then succeeds."""

    def __init__(self, *problems: Exception) -> None:
        self._problems = list(problems)
        self.open = asyncio.Event()

    async def start(self) -> None:
        if self._problems:
            raise self._problems.pop(0)
        self.open.set()

    async def stop(self) -> None:
        self.open.clear()

    def health(self) -> Mapping[str, float]:
        return {}


async def test_a_link_that_cannot_start_yet_does_not_keep_the_others_closed() -> None:
    waiting, good = Door(Unavailable("127.0.0.1:1883 is taken")), Door()
    starting = asyncio.create_task(_start_all({"first": waiting, "second": good}))
    await asyncio.wait_for(good.open.wait(), 1)
    assert not starting.done()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)


async def test_a_wrong_setting_of_one_link_is_told() -> None:
    with pytest.raises(InvalidSettings, match="tls"):
        await _start_all({"first": Door(InvalidSettings("tls: no such file")), "second": Door()})
