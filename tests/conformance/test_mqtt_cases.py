"""Recorded conversations of real MQTT clients: the door answers byte for byte the same, with the same samples."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from haechi import registry
from haechi.core.times import format_iso
from mqtt_kit import Door, until

FILES = sorted((registry.ROOT / "adapters" / "mqtt" / "cases").glob("*.json"))
CASES: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text("utf-8")) for path in FILES}


@pytest.mark.parametrize("name", CASES)
async def test_a_recorded_conversation_goes_as_it_went(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    door = Door(tmp_path, **case["settings"])
    await door.adapter.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    for at, (speaker, said) in enumerate(case["conversation"]):
        if speaker == "client":
            writer.write(bytes.fromhex(said))
        else:
            if at == len(case["conversation"]) - 2:
                await tell(door, case["bus"])
            answer = await asyncio.wait_for(reader.readexactly(len(said) // 2), 20)
            assert answer.hex() == said
    assert await asyncio.wait_for(reader.read(), 20) == b"", "nothing more is said"
    await until(lambda: len(door.intake.messages) == len(case["messages"]))
    assert [{"channel": one.channel, "payload": one.payload.decode()} for one in door.intake.messages] == case[
        "messages"
    ]
    assert door.intake.rejected == case["rejected"]
    decode = registry.create("codec", case["codec"])(case["codec_settings"]).decode
    assert [shown(sample) for one in door.intake.messages for sample in decode(one)] == case["samples"]
    writer.close()
    await door.adapter.stop()


async def tell(door: Door, notices: list[list[str]]) -> None:
    for subject, payload in notices:
        await until(lambda: bool(door.adapter.hub.sessions[("P-017", "gw-1")].filters))
        await door.bus.publish(subject, payload.encode())


def shown(sample: Any) -> dict[str, Any]:
    at = sample.observed_at
    found = {"field": sample.field, "value": sample.value, "observed_at": at and format_iso(at), "unit": sample.unit}
    return {name: value for name, value in found.items() if value is not None}


def test_there_are_cases_of_both_versions_and_all_qos() -> None:
    names = " ".join(CASES)
    assert all(part in names for part in ["311_qos0", "311_qos1", "311_qos2", "5_qos1", "5_qos2", "will", "command"])
