"""The gateway dies after a PLC obeyed and before it answered: the setpoint is not written again, and ends verified."""

from pathlib import Path
from typing import Any

import pytest
from fault_city import PLC, build, entity_of
from fault_plc import Plc

from haechi.app.supervisor import free_port
from haechi.testing.platform import Platform


@pytest.mark.slow
def test_a_gateway_that_died_before_the_answer_does_not_write_the_setpoint_again(tmp_path: Path) -> None:
    with Plc(free_port()) as plc:
        platform = Platform(build(tmp_path / "city"), tmp_path / "data")
        platform.ports["plant"] = plc.port
        with platform:
            platform.wait_for(lambda: plc.count > 2, 30, "the PLC is polled")
            plc.mute_once_told = True
            body = {"entity": entity_of(PLC), "attribute": "pressure", "value": 450, "reason": "fault run"}
            platform.wait_for(lambda: _asked(platform, body), 30, "the command is taken")
            platform.wait_for(lambda: plc.writes, 10, "the PLC was told")
            platform.kill("gateway")
            plc.mute = plc.mute_once_told = False
            done = platform.wait_for(lambda: _ended(platform), 60, "the command does not end")
    assert plc.writes == [450], (plc.writes, done)
    assert done["state"] == "verified", done


def _asked(platform: Platform, body: dict[str, Any]) -> bool:
    return bool(platform.request("POST", "/api/commands", body)["id"])


def _ended(platform: Platform) -> Any:
    (found,) = platform.request("GET", "/api/commands")["commands"]
    return None if found["open"] else found
