"""Asks a running Haechi for its alarms over its HTTP API, as any client would. Used by `haechi-testbed score`."""

from typing import Any

import httpx

PAGE = 10_000


class NotAnswered(Exception):
    """The platform is not there or refuses; the message says what to do."""


def alarms(url: str, user: str, password: str) -> list[dict[str, Any]]:
    """Every alarm, current and past, once each."""
    found: dict[str, dict[str, Any]] = {}
    try:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            login = client.post("/api/login", json={"user": user, "password": password})
            _good(login)
            client.headers["Authorization"] = f"Bearer {login.json()['token']}"
            for state in ("active", "shelved", "suppressed", "out_of_service", "history"):
                answer = client.get("/api/alarms", params={"state": state, "limit": PAGE})
                _good(answer)
                found.update({one["id"]: one for one in answer.json()["alarms"]})
    except httpx.HTTPError as error:
        raise NotAnswered(f"{url} does not answer ({error}); is `haechi run` up?") from error
    return sorted(found.values(), key=lambda one: (one["raised_at"], one["id"]))


def _good(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        raise NotAnswered(f"{answer.request.url} answered {answer.status_code}: {answer.text[:200]}")
