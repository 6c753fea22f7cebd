"""Roles load side by side; none takes up work before the pipeline has made its stores and looked at the log."""

import asyncio
import sys
from pathlib import Path

from haechi.app import order
from haechi.app.settings import RunSettings
from haechi.core.optional import without
from haechi.plugins.stores.nats.server import Address


def settings(folder: Path) -> RunSettings:
    made = RunSettings(city="", data=str(folder), log=Address(1, ""))
    made.run_folder.mkdir()
    return made


async def test_a_role_waits_for_the_pipeline_and_not_at_all_once_it_was_there(tmp_path: Path) -> None:
    where = settings(tmp_path)
    waiting = asyncio.create_task(order.wait_made(where))
    await asyncio.sleep(0)
    assert not waiting.done()
    order.made(where)
    await asyncio.wait_for(waiting, 30)
    await order.wait_made(where)


async def test_what_a_former_run_made_does_not_count_at_a_cold_start(tmp_path: Path) -> None:
    where = settings(tmp_path)
    order.made(where)
    order.forget(where, ())
    waiting = asyncio.create_task(order.wait_made(where))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


def test_a_hidden_package_is_there_again_afterwards() -> None:
    sys.modules.pop("this", None)
    with without("this", "sys"):
        assert sys.modules["this"] is None
        assert sys.modules["sys"] is sys
    assert "this" not in sys.modules
