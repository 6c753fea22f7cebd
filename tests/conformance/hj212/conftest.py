"""An hj212 adapter on a free port."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hj212_kit import MemoryIntake, Registered

from haechi.plugins.adapters.hj212.adapter import Hj212Adapter, create
from haechi.ports import AdapterContext


@pytest.fixture
async def intake() -> MemoryIntake:
    return MemoryIntake()


@pytest.fixture
def context(intake: MemoryIntake, clock: Any, tmp_path: Path) -> AdapterContext:
    return AdapterContext("air", intake, Registered(), None, clock, str(tmp_path))  # type: ignore[arg-type]


@pytest.fixture
async def adapter(context: AdapterContext) -> AsyncIterator[Hj212Adapter]:
    adapter = create({"port": 0, "gather_ms": 2, "window": 50, "pending_max": 100}, context)
    await adapter.start()
    yield adapter
    await adapter.stop()
