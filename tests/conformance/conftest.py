"""Fixtures of more than one file of conformance tests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mqtt_kit import Door


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable["Door"]]]:
    from mqtt_kit import Door  # only where it is wanted

    started: list[Door] = []

    async def start(**settings: Any) -> Door:
        door = Door(tmp_path / "mqtt", **settings)
        started.append(door)
        await door.adapter.start()
        return door

    yield start
    for door in started:
        door.intake.open.set()
        await door.adapter.stop()
