"""`haechi run --role`: runs one role of the city that runs in a data folder, in this process."""

import argparse
from collections.abc import Callable
from importlib import import_module

from haechi.app import settings as run_settings
from haechi.app.processes import take_name
from haechi.app.roles import Body, run_role
from haechi.app.settings import RunSettings
from haechi.core.optional import without

with without("aiohttp"):
    import nats.aio.client  # noqa: F401 - before a role does


def run(arguments: argparse.Namespace) -> int:
    """Runs until SIGTERM; returns what the supervisor understands."""
    return runs(arguments.role, run_settings.load(arguments.data.resolve()))()


def body_of(role: str) -> Body:
    """What the role does; imports everything it needs."""
    body: Body = import_module(f"haechi.app.{role}").run
    return body


def runs(role: str, settings: RunSettings) -> Callable[[], int]:
    """The whole life of a role's process."""

    def live() -> int:
        take_name(role)
        return run_role(role, body_of(role), settings)

    return live
