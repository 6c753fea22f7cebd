"""What the platform shows of a run, through its API and commands as a person would look. Used by the fault runs."""

import base64
import time
import urllib.parse
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any

from fault_checks import Found, Row
from fault_city import RULE

from haechi.core.times import parse_iso
from haechi.testing.platform import Platform

ROLES = frozenset({"gateway", "pipeline", "api", "nats-server"})
QUIET_S = 2.5  # longer than any counter of the doors waits before it is written


def settled(platform: Platform) -> bool:
    """Every role serves, every projection is at the end of the log, and nothing more comes."""
    first = _end_of_log(platform)
    if first is None:
        return False
    time.sleep(QUIET_S)
    return _end_of_log(platform) == first


def _end_of_log(platform: Platform) -> int | None:
    """Newest number on the log when everything is applied up to it."""
    if set(platform.pids()) != ROLES:
        return None
    try:
        health = platform.request("GET", "/health")
    except (OSError, HTTPException):
        return None
    if health["status"] != "ok" or any(health["checks"]["behind"].values()):
        return None
    return int(health["checks"]["log"])


def look(platform: Platform, incident: str, entities: Sequence[str]) -> Found:
    """Reads everything that is compared."""
    account = platform.command("account", "--data", str(platform.data))
    timeline = platform.request("GET", f"/api/incidents/{incident}")["timeline"]
    return Found(
        history=_history(platform, entities),
        context={entity: shown for entity in entities if (shown := _context(platform, entity))},
        quarantine=_quarantine(platform),
        notes=[one["text"] for one in timeline if str(one["text"]).startswith("note ")],
        alarms=_alarms(platform),
        account=account.stdout + account.stderr,
        account_code=account.returncode,
    )


def _history(platform: Platform, entities: Sequence[str]) -> list[Row]:
    names = "&".join("entity=" + urllib.parse.quote(one) for one in entities)
    query = f"/api/history?{names}&attribute=pressure&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&limit=1000000"
    columns = platform.request("GET", query)["columns"]
    found = zip(columns["entity"], columns["attribute"], columns["observed_at"], columns["value"], strict=True)
    return [Row(entity, attribute, parse_iso(at), value) for entity, attribute, at, value in found]


def _context(platform: Platform, entity: str) -> tuple[int, float] | None:
    shown = platform.request("GET", f"/api/entities/{entity}")["attributes"].get("pressure")
    return (parse_iso(shown["observed_at"]), shown["value"]) if shown else None


def _quarantine(platform: Platform) -> list[str]:
    held = platform.request("GET", "/api/quarantine?limit=10000")["messages"]
    return [base64.b64decode(one["payload"]).decode() for one in held]


def _alarms(platform: Platform) -> dict[str, list[list[tuple[str, str]]]]:
    """Alarms of the harness' rule by entity, each as its moves."""
    ids: dict[str, Any] = {}
    for state in ("active", "history", "shelved", "suppressed", "out_of_service"):
        for one in platform.request("GET", f"/api/alarms?state={state}&limit=1000")["alarms"]:
            if one["rule"] == RULE:
                ids[one["id"]] = one["entity"]
    found: dict[str, list[list[tuple[str, str]]]] = {}
    for id, entity in ids.items():
        moves = platform.request("GET", f"/api/alarms/{urllib.parse.quote(id, safe='')}")["transitions"]
        found.setdefault(entity, []).append([(str(one["from"]), str(one["to"])) for one in moves])
    return found
