"""The console's way to setpoints: who may, in which words, and what is answered."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from console_city import SENSOR, Console, build, client
from haechi.core.errors import Conflict

BODY = {"entity": SENSOR, "attribute": "pressure", "value": 250.0, "reason": "leak test"}


@pytest.fixture
async def console(tmp_path: Path, clock: Any) -> AsyncIterator[Console]:
    yield await build(tmp_path, clock)


async def ask(console: Console, user: str, method: str, path: str, body: Any = None) -> Any:
    async with client(console, await console.token(user)) as http:
        return await http.request(method, path, json=body)


async def test_a_viewer_may_look_and_not_touch(console: Console) -> None:
    answer = await ask(console, "viewer", "POST", "/api/commands", BODY)
    assert (answer.status_code, answer.json()["error"]) == (403, "Refused")
    assert "operator" in answer.json()["detail"]
    assert console.records.commands == []
    answer = await ask(console, "viewer", "GET", f"/api/commands?entity={SENSOR}")
    assert answer.json() == {"commands": [], "setpoints": []}


async def test_an_operators_setpoint_goes_to_the_log_in_his_name(console: Console) -> None:
    assert (await ask(console, "operator", "POST", "/api/commands", BODY)).status_code == 201
    (sent,) = console.records.commands
    assert sent | {"id": "", "at": 0} == {"id": "", "at": 0, "kind": "command.request", "user": "operator", **BODY}


@pytest.mark.parametrize("value", [True, "open", 3, -0.5])
async def test_switches_words_and_numbers_keep_their_kind(console: Console, value: Any) -> None:
    await ask(console, "operator", "POST", "/api/commands", {**BODY, "value": value})
    found = console.records.commands[0]["value"]
    assert found == value and isinstance(found, bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    "changes", [{"reason": ""}, {"value": None}, {"value": [1]}, {"value": "x" * 251}, {"entity": 5}, {"user": "boss"}]
)
async def test_a_body_that_says_too_little_or_too_much_is_refused(console: Console, changes: dict[str, Any]) -> None:
    answer = await ask(console, "operator", "POST", "/api/commands", {**BODY, **changes})
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidData")
    assert console.records.commands == []


async def test_a_conflict_is_told_and_a_command_nobody_gave_is_not_found(console: Console) -> None:
    console.records.refuse = Conflict("kim set it a moment ago")
    assert (await ask(console, "operator", "POST", "/api/commands", BODY)).status_code == 409
    answer = await ask(console, "viewer", "GET", "/api/commands/none")
    assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")
