"""`haechi run`, once the city is checked: starts and watches the roles. Imports no engine, so that it stays small."""

import argparse
import asyncio
import signal

from haechi.app.events import configure
from haechi.app.settings import RunSettings, load
from haechi.app.supervisor import Supervisor


def supervise(arguments: argparse.Namespace) -> int:
    """Runs the city that `run/run.json` describes until Ctrl-C."""
    configure()
    return asyncio.run(_supervise(load(arguments.data)))


async def _supervise(settings: RunSettings) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Supervisor(settings).run(stop, lambda: print(settings.greeting, flush=True))
    print("haechi: stopped", flush=True)
    return 0
