"""`haechi account` and `haechi quarantine`: what became of every sample. `haechi.app.commands.doctor` uses `behind`."""

import argparse
import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from haechi.app import settings as run_settings
from haechi.app.appending import city_log
from haechi.app.city import plans
from haechi.app.parts import account_store, load_city
from haechi.core.errors import InvalidSettings, NotFound, Unavailable
from haechi.core.times import format_iso
from haechi.plugins.stores.nats.log import NatsLog, close, connect
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.services.ingest.account import AccountProjection, Balance, balances
from haechi.services.ingest.replay import Replayed, chosen, replay_all

_HEAD = f"{'link':<16}{'received':>14}{'stored':>14}{'rejected':>12}{'quarantined':>13}{'missing':>9}"


def account(arguments: argparse.Namespace) -> int:
    """Prints the balance per link; 1 when one does not balance."""
    store = _store(arguments.data)
    lines = balances(store, recount=True)
    print(_HEAD)
    for one in lines:
        print(_line(one))
    waiting = _behind_or_stopped(arguments.data.resolve(), store)
    if waiting:
        print(f"{waiting} messages on the log are not in this account yet")
    wrong = [one.link for one in lines if one.missing]
    print(f"does not balance: {', '.join(wrong)}" if wrong else "balances: received = stored + rejected + quarantined")
    return 1 if wrong else 0


def _line(one: Balance) -> str:
    rejected = sum(one.rejected.values())
    reasons = (
        "  " + ", ".join(f"{reason} {count}" for reason, count in sorted(one.rejected.items())) if rejected else ""
    )
    counts = f"{one.received:>14,}{one.stored:>14,}{rejected:>12,}{one.in_quarantine:>13,}{one.missing:>9,}"
    return f"{one.link:<16}{counts}{reasons}"


def _behind_or_stopped(data: Path, store: SqliteRecords) -> int:
    try:
        return asyncio.run(behind(run_settings.load(data), store))
    except Unavailable:
        return 0  # the platform does not run: nothing arrives, and the log cannot be asked


async def behind(settings: run_settings.RunSettings, store: SqliteRecords) -> int:
    """Messages on the log after the account's position, 0 when none of them is its business (operators' commands);
    `Unavailable` when the platform does not run."""
    client = await connect(settings.log, "account")
    try:
        log, position = NatsLog(client, settings.log_limits), store.position()
        if await log.last_seq_of(AccountProjection.subjects) <= position:
            return 0
        return max(0, await log.last_seq() - position)
    finally:
        await close(client)


def _store(data: Path) -> SqliteRecords:
    if not (data / "account.db").exists():
        raise InvalidSettings(f"nothing has run in {data} yet; start it with `haechi run CITY_DIR --data {data}`")
    return account_store(data)


def quarantine_list(arguments: argparse.Namespace) -> int:
    """One line per message in quarantine, oldest first, however many there are."""
    count = 0
    for group in chosen(_store(arguments.data), None, arguments.link):
        for one in group:
            where = f"{one['link']} {one['device']} {one['channel']}"
            print(f"{one['id']}  {format_iso(one['received_at'])}  {where}  {one['reason']}: {one['detail']}")
        count += len(group)
    print(f"{count:,} messages in quarantine")
    return 0


def quarantine_show(arguments: argparse.Namespace) -> int:
    """One message, whole."""
    entry = _store(arguments.data).get("quarantine", arguments.id)
    if entry is None:
        raise NotFound(f"no message {arguments.id}; `haechi quarantine list` shows them")
    for name in ("id", "state", "link", "device", "channel", "reason", "detail", "count", "fields"):
        print(f"{name:<9} {entry[name]}")
    print(f"received  {format_iso(entry['received_at'])}")
    if entry["state"] == "replayed":
        print("payload   not kept: its values are in history since it was replayed")
    else:
        print("payload   " + base64.b64decode(entry["payload"]).decode("utf-8", "backslashreplace"))
    return 0


def quarantine_replay(arguments: argparse.Namespace) -> int:
    """Maps the messages again with the city as it is on disk now; 1 when some still cannot be understood."""
    settings = run_settings.load(arguments.data.resolve())
    groups = chosen(_store(arguments.data), arguments.ids or None, arguments.link)
    result = asyncio.run(_replay(settings, groups))
    print(f"{result.replayed} messages brought back, {result.still_quarantined} still in quarantine")
    return 1 if result.still_quarantined else 0


async def _replay(settings: run_settings.RunSettings, groups: Iterator[list[dict[str, Any]]]) -> Replayed:
    mappers = plans(load_city(Path(settings.city)))
    client = await connect(settings.log, "replay")
    try:
        return await replay_all(city_log(settings, client), mappers, groups)
    finally:
        await close(client)
