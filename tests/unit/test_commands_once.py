"""A command reaches an adapter once, also when the gateway dies between its writing and its answer."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from haechi.services.commands.once import KEPT, Once
from haechi.testing.clock import StandingClock

Heard = Callable[[str, bytes], Awaitable[None]]
COMMAND = orjson.dumps({"id": "c1", "device": "PLC-1", "value": 4})


class Wire:
    """A bus with one listener."""

    def __init__(self) -> None:
        self.listeners: dict[str, Heard] = {}
        self.told: list[dict[str, Any]] = []

    async def publish(self, subject: str, payload: bytes) -> None:
        self.told.append(orjson.loads(payload))

    async def listen(self, pattern: str, heard: Heard) -> Callable[[], Awaitable[None]]:
        self.listeners[pattern] = heard

        async def stop() -> None:
            del self.listeners[pattern]

        return stop


async def gateway(folder: Path, wire: Wire) -> list[bytes]:
    """A gateway starts; what its adapter hears."""
    heard: list[bytes] = []

    async def adapter(subject: str, payload: bytes) -> None:
        heard.append(payload)

    await Once(wire, StandingClock(), folder).listen("command.plant", adapter)
    return heard


async def test_told_again_an_adapter_that_knows_the_command_answers_itself(tmp_path: Path) -> None:
    wire = Wire()
    heard = await gateway(tmp_path, wire)
    for _ in range(2):
        await wire.listeners["command.plant"]("command.plant", COMMAND)
    assert heard == [COMMAND, COMMAND] and not wire.told


async def test_a_gateway_that_came_back_passes_nothing_on_that_was_begun_before_and_says_that_it_is_unsure(
    tmp_path: Path,
) -> None:
    await gateway(tmp_path, wire := Wire())
    await wire.listeners["command.plant"]("command.plant", COMMAND)
    heard = await gateway(tmp_path, wire := Wire())
    await wire.listeners["command.plant"]("command.plant", COMMAND)
    assert heard == []
    (told,) = wire.told
    assert (told["id"], told["ok"], told["unsure"]) == ("c1", False, True)
    fresh = orjson.dumps({"id": "c1-undo"})
    await wire.listeners["command.plant"]("command.plant", fresh)
    assert heard == [fresh], "its undoing is another command"


async def test_what_cannot_be_noted_is_not_sent(tmp_path: Path) -> None:
    wire = Wire()
    heard = await gateway(tmp_path, wire)
    (tmp_path / "begun").mkdir()  # no file can be written there
    await wire.listeners["command.plant"]("command.plant", COMMAND)
    assert heard == []
    assert wire.told[0]["ok"] is False and wire.told[0]["unsure"] is False
    assert "nothing was sent" in wire.told[0]["detail"]


async def test_the_list_of_what_was_begun_does_not_grow_for_ever(tmp_path: Path) -> None:
    (tmp_path / "begun").write_text("".join(f"old-{number}\n" for number in range(2 * KEPT + 1)))
    await gateway(tmp_path, wire := Wire())
    assert len((tmp_path / "begun").read_text().split()) == KEPT
    await wire.listeners["command.plant"]("command.plant", orjson.dumps({"id": f"old-{2 * KEPT}"}))
    assert wire.told[0]["unsure"], "the newest are kept"
