"""`haechi doctor`: looks at everything a running city needs and says what is wrong and what to do."""

import argparse
import asyncio
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from haechi.app import settings as run_settings
from haechi.app.bottleneck import verdicts
from haechi.app.commands.account import behind
from haechi.app.events import configure
from haechi.app.look import look
from haechi.app.parts import account_store, load_city
from haechi.app.settings import RunSettings
from haechi.app.supervisor import ROLES, running_supervisor
from haechi.core.errors import HaechiError
from haechi.plugins.stores.nats.server import binary
from haechi.services.ingest.account import balances

LOW_DISK = 2 * 1024**3
FAR_BEHIND = 1_000
UI = Path(__file__).parents[2] / "faces" / "console" / "ui" / "index.html"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `move` says what to do when it is not well."""

    well: bool
    what: str
    move: str = ""


def doctor(arguments: argparse.Namespace) -> int:
    """Prints every finding; 1 when something is wrong."""
    configure()  # a log that does not answer is a finding, not lines of debugging
    findings = [_installed(), _console(), _disk(arguments.data)]
    try:
        settings = run_settings.load(arguments.data.resolve())
    except HaechiError as error:
        findings.append(Finding(False, "no city has run here", str(error)))
    else:
        findings += [_try(one, settings) for one in (_city, _running, _roles, _log, _balance, _quarantine)]
        findings += _bottlenecks(settings)
    for one in findings:
        print(f"{'ok   ' if one.well else 'WRONG'} {one.what}" + ("" if one.well else f"\n      {one.move}"))
    return 0 if all(one.well for one in findings) else 1


def _try(look: Callable[[RunSettings], Finding], settings: RunSettings) -> Finding:
    try:
        return look(settings)
    except HaechiError as error:
        return Finding(False, look.__name__.strip("_"), str(error))


def _installed() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    try:
        return Finding(True, f"Python {version}, {binary()}")
    except HaechiError as error:
        return Finding(False, f"Python {version}, no nats-server", str(error))


def _console() -> Finding:
    return Finding(UI.exists(), "console built", "run `make setup`: it builds the console with Node 20")


def _disk(data: Path) -> Finding:
    free = shutil.disk_usage(data if data.exists() else Path()).free
    what = f"{free / 1024**3:.1f} GiB free where {data} lies"
    return Finding(free > LOW_DISK, what, "make room or move --data: below 2 GiB the log soon refuses appends")


def _city(settings: RunSettings) -> Finding:
    city = load_city(Path(settings.city))
    return Finding(True, f"city {city.id}: {len(city.facilities)} facilities, {len(city.links)} links")


def _running(settings: RunSettings) -> Finding:
    pid = running_supervisor(settings.folder)
    move = f"start it: haechi run {settings.city} --data {settings.data}"
    return Finding(pid is not None, f"platform runs (process {pid})" if pid else "platform does not run", move)


def _roles(settings: RunSettings) -> Finding:
    missing = [name for name in ROLES if not (settings.run_folder / f"{name}.ready").exists()]
    what = "all roles serve" if not missing else f"not serving: {', '.join(missing)}"
    return Finding(not missing, what, "read the platform's messages for `role_died` and `invalid_settings`")


def _log(settings: RunSettings) -> Finding:
    count = asyncio.run(behind(settings, account_store(settings.folder)))
    move = "the pipeline is the bottleneck: look at its processor time, at the disk, and for `projection_waits`"
    return Finding(count < FAR_BEHIND, f"{count} messages on the log wait for the pipeline", move)


def _bottlenecks(settings: RunSettings) -> list[Finding]:
    """Who holds the others up, measured for some seconds; nothing when the platform does not run."""
    supervisor = running_supervisor(settings.folder)
    if supervisor is None:
        return []
    found = verdicts(asyncio.run(look(settings, supervisor)))
    return [
        Finding(not one.part, f"bottleneck {one.part}: {one.what}" if one.part else one.what, one.move) for one in found
    ]


def _balance(settings: RunSettings) -> Finding:
    wrong = [one.link for one in balances(account_store(settings.folder), recount=True) if one.missing]
    return Finding(
        not wrong, "account balances", f"links {', '.join(wrong)}: see `haechi account`; keep the log and report it"
    )


def _quarantine(settings: RunSettings) -> Finding:
    held = {one.link: one.in_quarantine for one in balances(account_store(settings.folder)) if one.in_quarantine}
    what = "quarantine is empty" if not held else "in quarantine: " + ", ".join(f"{k} {v:,}" for k, v in held.items())
    return Finding(
        not held, what, "`haechi quarantine list` gives the reasons; mend the mapping, then `haechi quarantine replay`"
    )
