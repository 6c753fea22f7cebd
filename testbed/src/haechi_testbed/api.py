"""Asks a running Haechi for its alarms over its HTTP API, as any client would. Used by `haechi-testbed score`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from haechi_testbed.clock import parse_instant

PAGE = 10_000
RAISED, BEFORE = "unacknowledged", (None, "", "normal", "returned_unacknowledged")  # ISA-18.2 states


class NotAnswered(Exception):
    """The platform is not there or refuses; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """A platform and who may ask it."""

    url: str
    user: str
    password: str


def alarms(account: Account) -> list[dict[str, Any]]:
    """Every time an alarm was raised, current and past: an alarm that came back before anyone acknowledged it is one
    alarm to the operator and two raisings here."""
    found: dict[str, dict[str, Any]] = {}
    with _session(account) as client:
        for state in ("active", "shelved", "suppressed", "out_of_service", "history"):
            answer = client.get("/api/alarms", params={"state": state, "limit": PAGE})
            _good(answer)
            found.update({one["id"]: one for one in answer.json()["alarms"]})
        raised = [again for one in found.values() for again in _raisings(client, one)]
    return sorted(raised, key=lambda one: (one["raised_at"], one["id"]))


def _raisings(client: httpx.Client, alarm: dict[str, Any]) -> list[dict[str, Any]]:
    if alarm.get("count", 1) <= 1:
        return [alarm]
    answer = client.get(f"/api/alarms/{alarm['id']}")
    _good(answer)
    moves = [one for one in answer.json()["transitions"] if one["to"] == RAISED and one["from"] in BEFORE]
    return [{**alarm, "raised_at": one["at"]} for one in moves]


def now_us(account: Account) -> int:
    """What the platform's clock shows."""
    with _session(account) as client:
        answer = client.get("/api/city")
        _good(answer)
        return parse_instant(answer.json()["now"])


@contextmanager
def _session(account: Account) -> Iterator[httpx.Client]:
    try:
        with httpx.Client(base_url=account.url, timeout=30, trust_env=False) as client:
            login = client.post("/api/login", json={"user": account.user, "password": account.password})
            _good(login)
            client.headers["Authorization"] = f"Bearer {login.json()['token']}"
            yield client
    except httpx.HTTPError as error:
        raise NotAnswered(f"{account.url} does not answer ({error}); is `haechi run` up?") from error


def _good(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        raise NotAnswered(f"{answer.request.url} answered {answer.status_code}: {answer.text[:200]}")
