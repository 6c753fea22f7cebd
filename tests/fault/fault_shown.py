"""What the platform shows of a run, through its API and commands as a person would look. Used by the fault runs."""

import base64
import time
import urllib.error
import urllib.parse
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from fault_checks import Command, Found, Row
from fault_city import RULE, attribute_of, entity_of

from haechi.core.times import parse_iso
from haechi.testing.platform import Platform

ROLES = frozenset({"gateway", "pipeline", "api", "nats-server"})
NO_ROOM_S = 30.0
KNOWN = {"clock"}  # what health goes on telling of a jump of the clock, and rightly
QUIET_S = 2.5  # longer than any counter of the doors waits before it is written


def settled(platform: Platform, look_s: float) -> bool:
    """Every role serves, every projection is at the end of the log, and nothing more comes. Looks slowly."""
    first = _end_of_log(platform)
    if first is None:
        time.sleep(look_s)
        return False
    time.sleep(QUIET_S)
    return _end_of_log(platform) == first


def why_not(platform: Platform) -> str:
    """For people: what keeps a platform from coming to rest."""
    told = [f"runs {sorted(platform.pids())}"]
    for path in ("/health", "/api/commands"):
        try:
            told.append(str(platform.request("GET", path))[:2_000])
        except (OSError, HTTPException) as error:
            told.append(f"{path}: {error!r}")
    return "; ".join(told)


def _end_of_log(platform: Platform) -> int | None:
    """Newest number on the log when everything is applied up to it."""
    if set(platform.pids()) != ROLES:
        return None
    try:
        health = platform.request("GET", "/health")
    except (OSError, HTTPException):
        return None
    if set(health["checks"].get("problems", ("down",))) - KNOWN or any(health["checks"]["behind"].values()):
        return None
    if any(one["open"] for one in asked(platform, "/api/commands")["commands"]):
        return None
    return int(health["checks"]["log"])


def asked(platform: Platform, path: str) -> Any:
    """The answer; whoever is told that there is no room now (429) comes again, for a while."""
    end = time.monotonic() + NO_ROOM_S
    while True:
        try:
            return platform.request("GET", path)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 429 or time.monotonic() > end:
                    raise
            time.sleep(1)


def look(platform: Platform, incident: str, series: Sequence[str]) -> Found:
    """Reads everything that is compared."""
    seen = [(entity_of(one), attribute_of(one)) for one in series]
    account = platform.command("account", "--data", str(platform.data))
    timeline = asked(platform, f"/api/incidents/{incident}")["timeline"]
    return Found(
        history=[row for entity, attribute in seen for row in history(platform, entity, attribute)],
        context={entity: shown for entity, attribute in seen if (shown := _context(platform, entity, attribute))},
        quarantine=_quarantine(platform),
        notes=[one["text"] for one in timeline if str(one["text"]).startswith("note ")],
        alarms=_alarms(platform),
        account=account.stdout + account.stderr,
        account_code=account.returncode,
        commands=_commands(platform),
        megabytes={role: _megabytes(pid) for role, pid in platform.pids().items()},
    )


def history(platform: Platform, entity: str, attribute: str) -> list[Row]:
    """Every row of a series."""
    span = "from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&limit=1000000"
    query = f"/api/history?entity={urllib.parse.quote(entity)}&attribute={attribute}&{span}"
    columns = asked(platform, query)["columns"]
    found = zip(columns["entity"], columns["attribute"], columns["observed_at"], columns["value"], strict=True)
    return [Row(entity, attribute, _ms(parse_iso(at)), value) for entity, attribute, at, value in found]


def _context(platform: Platform, entity: str, attribute: str) -> tuple[int, float] | None:
    shown = asked(platform, f"/api/entities/{entity}")["attributes"].get(attribute)
    return (_ms(parse_iso(shown["observed_at"])), shown["value"]) if shown else None


def _ms(at: int) -> int:
    """As history tells instants: in whole milliseconds."""
    return at - at % 1000


def _quarantine(platform: Platform) -> list[str]:
    held = asked(platform, "/api/quarantine?limit=10000")["messages"]
    return [base64.b64decode(one["payload"]).decode() for one in held]


def _alarms(platform: Platform) -> dict[str, list[list[tuple[str, str]]]]:
    """Alarms of the harness' rule by entity, each as its moves."""
    ids: dict[str, Any] = {}
    for state in ("active", "history", "shelved", "suppressed", "out_of_service"):
        for one in asked(platform, f"/api/alarms?state={state}&limit=1000")["alarms"]:
            if one["rule"] == RULE:
                ids[one["id"]] = one["entity"]
    found: dict[str, list[list[tuple[str, str]]]] = {}
    for id, entity in ids.items():
        moves = asked(platform, f"/api/alarms/{urllib.parse.quote(id, safe='')}")["transitions"]
        found.setdefault(entity, []).append([(str(one["from"]), str(one["to"])) for one in moves])
    return found


def _commands(platform: Platform) -> list[Command]:
    found = asked(platform, "/api/commands?limit=10000")["commands"]
    return [_command(one) for one in found]


def _command(shown: Mapping[str, Any]) -> Command:
    previous = None if shown["previous"] is None else round(shown["previous"])
    undoing = any("written back" in str(one["why"]) for one in shown["steps"])
    return Command(str(shown["id"]), round(shown["value"]), str(shown["state"]), shown["open"], previous, undoing)


def _megabytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS:"))) // 1024
