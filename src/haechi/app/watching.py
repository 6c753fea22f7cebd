"""Where health looks, joined once for the api and the pipeline role."""

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from nats.aio.client import Client

from haechi.app import processes
from haechi.app.certificates import expiries
from haechi.app.health import Health, Sources
from haechi.app.parts import account_store
from haechi.app.settings import RunSettings
from haechi.app.unreadable import Unreadable
from haechi.app.vitals import Heard
from haechi.plugins.stores.nats.log import NatsLog
from haechi.plugins.stores.nats.state import log_state
from haechi.services.cities.model import City
from haechi.services.ingest.account import missing

Applied = Callable[[], Mapping[str, int]]


def health_of(settings: RunSettings, city: City, client: Client, applied: Applied, heard: Heard) -> Health:
    """`applied` gives the seq each projection has come to, as this role knows it."""
    account = account_store(settings.folder)

    async def log_fill() -> float:
        return (await log_state(client)).bytes / settings.log_limits.max_bytes

    return Health(
        Sources(
            last_seq=NatsLog(client, settings.log_limits).last_seq,
            applied=applied,
            heard=heard,
            disk_free=lambda: shutil.disk_usage(settings.folder).free,
            missing=lambda: missing(account),
            monotonic=time.monotonic,
            unreadable=Unreadable(settings.folder).count,
            log_fill=log_fill,
            certificates=lambda: expiries(settings, city),
            wall=time.time,
        )
    )


def neighbours(run_folder: Path) -> dict[str, dict[str, float]]:
    """The processes on this machine that say nothing on the bus, the supervisor and nats-server: memory in bytes and
    processor time in seconds. Empty where somebody else supervises, or where there is no /proc."""
    files = {"supervisor": run_folder / "supervisor.pid", "nats-server": run_folder / "nats-server.pid"}
    return {name: found for name, file in files.items() if (found := _of(file))}


def _of(file: Path) -> dict[str, float]:
    try:
        pid = int(file.read_text("ascii"))
    except (OSError, ValueError):  # not there, or gone meanwhile
        return {}
    cpu_s, rss_bytes = processes.cpu_s(pid), processes.rss_bytes(pid)
    return {} if cpu_s is None or rss_bytes is None else {"cpu_s": cpu_s, "rss_bytes": rss_bytes}
