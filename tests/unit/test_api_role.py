"""The api role: what goes wrong in one part leaves the others serving."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from haechi.app import api
from haechi.app.settings import Address, RunSettings
from haechi.core.errors import Unavailable


async def test_files_that_cannot_be_taken_over_now_are_taken_over_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "REFRESH_S", 0.01)
    loop, again, tries = asyncio.get_running_loop(), asyncio.Event(), []

    def refresh() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise Unavailable("its metadata files keep disappearing")
        loop.call_soon_threadsafe(again.set)

    async def listen(pattern: str, heard: Callable[[str, bytes], Awaitable[None]]) -> None:
        assert pattern == "history.committed"

    core: Any = SimpleNamespace(bus=SimpleNamespace(listen=listen), history=SimpleNamespace(refresh=refresh))
    refreshing = asyncio.create_task(api._refresh(core))
    await asyncio.wait_for(again.wait(), 5)
    assert not refreshing.done()
    refreshing.cancel()
    await asyncio.gather(refreshing, return_exceptions=True)


def test_an_address_that_somebody_took_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = RunSettings("", "", Address(0, ""), http_port=taken.getsockname()[1])
        with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{settings.http_port}: .*in use; .* --http"):
            api._door(settings)
