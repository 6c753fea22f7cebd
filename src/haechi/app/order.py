"""What comes first when a city starts: roles load side by side and take up work once the pipeline has made its stores.

Used by the roles and the supervisor. Nobody may append before the pipeline has seen that the log forgot nothing.
"""

import asyncio

from haechi.app.settings import RunSettings

FLAG = "pipeline.made"
LOOK_S = 0.02


def forget(settings: RunSettings) -> None:
    """At a cold start, before any role: what a former run said counts no more."""
    (settings.run_folder / FLAG).unlink(missing_ok=True)


def made(settings: RunSettings) -> None:
    """Says that the stores are there and that the log goes on where they are. Called by the pipeline."""
    (settings.run_folder / FLAG).touch()


async def wait_made(settings: RunSettings) -> None:
    """Returns once `made` was said, at once where it was before: a role that starts again does not depend on others."""
    while not (settings.run_folder / FLAG).exists():  # noqa: ASYNC110 - a file: another process makes it
        await asyncio.sleep(LOOK_S)
