"""What comes first when a city starts: roles load side by side and take up work once the pipeline has made its stores.

Used by the roles and the supervisor. Nobody may append before the pipeline has seen that the log forgot nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

from haechi.app.settings import RunSettings

FLAG = "pipeline.made"
LOG = "log.up"
SUPERVISOR = "supervisor.pid"
LOOK_S = 0.02


def advance(settings: RunSettings, role: str, what: str) -> None:
    """Says how far a role has come: while that changes the supervisor waits for it, however large the city is."""
    with contextlib.suppress(OSError):  # a full disk: the role goes on and is waited for as long as for any
        (settings.run_folder / f"{role}.progress").write_text(what, "utf-8")


def advanced(settings: RunSettings, roles: Iterable[str]) -> Mapping[str, str]:
    """What each role said last of how far it has come."""
    files = {role: settings.run_folder / f"{role}.progress" for role in roles}
    return {role: file.read_text("utf-8") for role, file in files.items() if file.exists()}


def forget(settings: RunSettings, roles: Iterable[str]) -> None:
    """At a cold start, before any role: what a former run said counts no more."""
    for name in (FLAG, LOG, *(f"{role}.{what}" for role in roles for what in ("ready", "progress"))):
        (settings.run_folder / name).unlink(missing_ok=True)


def log_answers(settings: RunSettings) -> None:
    """Says that nats-server answers. Called by the supervisor."""
    (settings.run_folder / LOG).touch()


async def wait_log(settings: RunSettings) -> None:
    """Returns once nats-server has answered, at once without a supervisor: roles load while it reads its files."""
    while not (settings.run_folder / LOG).exists() and (settings.run_folder / SUPERVISOR).exists():  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)


def made(settings: RunSettings) -> None:
    """Says that the stores are there and that the log goes on where they are. Called by the pipeline."""
    (settings.run_folder / FLAG).touch()


async def wait_made(settings: RunSettings) -> None:
    """Returns once `made` was said, at once where it was before: a role that starts again does not depend on others."""
    while not (settings.run_folder / FLAG).exists():  # noqa: ASYNC110 - a file: another process makes it
        await asyncio.sleep(LOOK_S)
