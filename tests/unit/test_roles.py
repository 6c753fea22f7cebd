"""A role's exit code tells the supervisor whether trying again is any use."""

import asyncio
import resource
from pathlib import Path

import pytest

from haechi.app.roles import run_role
from haechi.app.settings import RunSettings
from haechi.app.supervisor import INVALID
from haechi.core.errors import InvalidSettings, Unavailable
from haechi.plugins.stores.nats.server import Address


def code(problem: Exception, folder: Path) -> int:
    async def body(settings: RunSettings, ready: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    async def fail() -> None:
        raise problem

    return run_role("pipeline", body, RunSettings("city", str(folder), Address(1, "x")))


def test_what_trying_again_cannot_mend_is_not_tried_again(tmp_path: Path) -> None:
    assert code(InvalidSettings("no such city"), tmp_path) == INVALID


def test_what_is_away_is_tried_again(tmp_path: Path) -> None:
    assert code(Unavailable("the disk is full"), tmp_path) == 1


def test_a_bug_is_shown_whole(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup):
        code(ZeroDivisionError(), tmp_path)


def test_a_role_takes_all_the_descriptors_it_may_have(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        assert code(Unavailable("enough seen"), tmp_path) == 1
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
