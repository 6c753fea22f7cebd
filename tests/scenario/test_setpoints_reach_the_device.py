"""An operator sets a value; a real PLC and a real MQTT device take it, and what comes back proves it, or undoes it."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from haechi.app.supervisor import free_port
from haechi.testing.platform import Platform

PLC_SENSOR = "urn:ngsi-ld:WaterPressureSensor:tiny:P-2"
MQTT_SENSOR = "urn:ngsi-ld:WaterPressureSensor:tiny:P-1"
LINK = """\
adapter = "modbus"
codec = "json"

[settings]
host = "127.0.0.1"
port = {port}
period_s = 0.2
reconnect_s = 0.1
reconnect_s_max = 0.5

[[settings.device]]
id = "PLC-1"

[[settings.register]]
field = "target"
address = 0
scale = 0.01
writable = true

[[map]]
field = "target"
attribute = "pressure"
unit = "BAR"
writable = true
tolerance = 1.0
timeout_s = 8.0
undo = true
"""
needs_mosquitto = pytest.mark.skipif(not shutil.which("mosquitto_sub"), reason="mosquitto-clients is not installed")


class Plc:
    """pymodbus' server in a thread of its own. `stuck`: it acknowledges writes of more than 5 bar and forgets them."""

    def __init__(self) -> None:
        self.port, self.stuck, self._now = free_port(), False, 300
        self.writes: list[int] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    async def _act(
        self, function: int, start: int, address: int, count: int, now: list[int], values: Any
    ) -> ExcCodes | None:
        if function == 6 and values:
            self.writes.append(values[0])
            if self.stuck and values[0] > 500:
                values[0] = now[0]
        if function == 3:
            self._now = now[0]
        return None

    def value(self) -> float:
        """What it showed last, in kPa."""
        return float(self._now)

    async def _serve(self) -> None:
        holding = [SimData(0, values=[300], datatype=DataType.REGISTERS)]  # 3 bar
        device = SimDevice(1, simdata=holding, action=self._act)
        self._server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await self._server.serve_forever(background=True)
        self._ready.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._serving = self._loop.create_task(self._serve())
        self._loop.run_forever()
        self._loop.close()

    def __enter__(self) -> "Plc":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _end(self) -> None:
        await self._server.shutdown()
        await asyncio.sleep(0.05)


@pytest.fixture
def plc() -> Iterator[Plc]:
    with Plc() as running:
        yield running


@pytest.fixture
def platform(tiny_city: Path, tmp_path: Path, plc: Plc) -> Iterator[Platform]:
    (tiny_city / "links" / "push.toml").unlink()
    (tiny_city / "links" / "plant.toml").write_text(LINK.format(port=plc.port))
    devices = tiny_city / "devices.csv"
    devices.write_text(f"device,channel,link,entity\nRTU-1,,mqtt,{MQTT_SENSOR}\nPLC-1,,plant,{PLC_SENSOR}\n")
    mqtt = tiny_city / "links" / "mqtt.toml"
    text = mqtt.read_text().replace("port = 1883", 'port = 1883\nsubscribe = ["city/{device}/commands/#"]')
    commands = '[settings.commands]\ntopic = "city/{device}/commands/{field}"\n\n[[map]]'
    mqtt.write_text(text.replace("[[map]]", commands) + "writable = true\ntimeout_s = 20.0\n")
    running = Platform(tiny_city, tmp_path / "data")
    running.ports["plant"] = plc.port  # the adapter connects to it
    with running:
        yield running


def pressure(platform: Platform, entity: str = PLC_SENSOR) -> Any:
    return platform.request("GET", f"/api/entities/{entity}")["attributes"].get("pressure", {}).get("value")


def ask(platform: Platform, value: float, entity: str = PLC_SENSOR) -> dict[str, Any]:
    body = {"entity": entity, "attribute": "pressure", "value": value, "reason": "leak test"}
    found: dict[str, Any] = platform.request("POST", "/api/commands", body)
    return found


def ended(platform: Platform, id: str, within_s: float = 20.0) -> dict[str, Any]:
    def over() -> Any:
        shown = platform.request("GET", f"/api/commands/{id}")
        return None if shown["open"] else shown

    found: dict[str, Any] = platform.wait_for(over, within_s, "the command ends")
    return found


def states(command: dict[str, Any]) -> list[str]:
    return [one["state"] for one in command["steps"]]


def test_a_plc_takes_a_setpoint_and_the_value_it_shows_verifies_it(platform: Platform, plc: Plc) -> None:
    platform.wait_for(lambda: pressure(platform) == 300.0, 20, "the PLC is polled")
    asked = ask(platform, 450.0)
    assert asked["state"] == "requested" and asked["requested_by"] == "admin"
    done = ended(platform, asked["id"])
    assert states(done) == ["requested", "sent", "confirmed", "verified"]
    assert (done["previous"], done["last_value"], plc.writes) == (300.0, 450.0, [450])
    assert pressure(platform) == 450.0
    listed = platform.request("GET", f"/api/commands?entity={PLC_SENSOR}")
    assert [one["id"] for one in listed["commands"]] == [asked["id"]]
    assert listed["setpoints"][0]["attribute"] == "pressure"
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(platform, 5000.0)
    with refused.value:
        assert refused.value.code == 400
        assert "not plausible" in refused.value.read().decode()


def test_a_plc_that_forgets_what_it_acknowledged_gets_the_value_before(platform: Platform, plc: Plc) -> None:
    platform.wait_for(lambda: pressure(platform) == 300.0, 20, "the PLC is polled")
    plc.stuck = True
    done = ended(platform, ask(platform, 600.0)["id"])
    assert states(done) == ["requested", "sent", "confirmed", "failed", "undone"]
    assert plc.writes == [600, 300]


def test_a_setpoint_survives_the_death_of_every_role(platform: Platform, plc: Plc) -> None:
    platform.wait_for(lambda: pressure(platform) == 300.0, 20, "the PLC is polled")
    first = ask(platform, 310.0)["id"]
    platform.kill("pipeline")
    assert ended(platform, first)["state"] in {"verified", "undone", "failed"}, "it ended, whatever the time allowed"
    platform.kill("gateway")
    platform.wait_for(lambda: _well(platform), 30, "it is whole again")
    plc.writes.clear()

    def verified() -> Any:
        return ended(platform, ask(platform, 320.0)["id"])["state"] == "verified"

    platform.wait_for(verified, 40, "a gateway that came back takes commands")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 11])
def test_whoever_dies_while_setpoints_travel_each_one_ends_and_says_what_the_plc_holds(
    platform: Platform, plc: Plc, seed: int
) -> None:
    chance = random.Random(seed)
    platform.wait_for(lambda: pressure(platform) == 300.0, 20, "the PLC is polled")
    ends: list[str] = []
    for number in range(1, 9):
        value, held, before = 300.0 + 10 * number, plc.value(), len(plc.writes)
        role = chance.choice(["gateway", "pipeline", "nats-server"])
        victim = platform.wait_for(lambda role=role: platform.pids().get(role), 30, f"{role} is back")
        killing = threading.Timer(chance.uniform(0, 0.03), os.kill, [victim, signal.SIGKILL])
        killing.start()
        try:
            ask(platform, value)
        except urllib.error.HTTPError as error:  # not answered in time; it may be on the log all the same
            with error:
                assert error.code == 503
        finally:
            killing.join()
        platform.wait_for(lambda: _well(platform), 40, "it is whole again")
        found = platform.wait_for(lambda value=value: _asked(platform, value), 40, "an accepted command is there")
        done = ended(platform, found["id"], 40)
        ends.append(done["state"])
        wanted = {"verified": {value}, "undone": {held}, "failed": {value, held}}[done["state"]]
        assert plc.value() in wanted, done
        assert len(platform.request("GET", "/api/commands")["commands"]) == number, "none is lost, none doubled"
        assert set(plc.writes[before:]) <= {round(value), round(held)}
        platform.wait_for(lambda: pressure(platform) == plc.value(), 20, "what is shown is what the PLC holds")
    assert ends.count("verified") >= 4, ends


def _well(platform: Platform) -> bool:
    try:
        return bool(platform.request("GET", "/health")["status"] == "ok")
    except urllib.error.HTTPError as error:
        with error:
            return False


def _asked(platform: Platform, value: float) -> Any:
    found = platform.request("GET", f"/api/commands?entity={PLC_SENSOR}")["commands"]
    return next((one for one in found if one["value"] == value), None)


@needs_mosquitto
def test_an_mqtt_device_hears_its_setpoint_and_its_report_verifies_it(platform: Platform) -> None:
    who = ["-h", "127.0.0.1", "-p", str(platform.ports["mqtt"]), "-u", "RTU-1", "-P", platform.secret("RTU-1", "mqtt")]
    hearing = subprocess.Popen(
        ["mosquitto_sub", *who, "-q", "1", "-C", "1", "-W", "20", "-t", "city/RTU-1/commands/#", "-v"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        platform.wait_for(lambda: _online(platform), 10, "the device is there")
        asked = ask(platform, 250.0, MQTT_SENSOR)
        heard, _ = hearing.communicate(timeout=20)
    finally:
        hearing.kill()
        hearing.wait()
    topic, _, payload = heard.strip().partition(" ")
    assert topic == "city/RTU-1/commands/pressure"
    assert json.loads(payload) == {"id": asked["id"], "field": "pressure", "channel": "", "value": 250.0}
    shown = f"/api/commands/{asked['id']}"
    delivered = platform.wait_for(lambda: _delivered(platform.request("GET", shown)), 10, "it counts as delivered")
    assert delivered["state"] == "sent"
    publish = ["mosquitto_pub", *who, "-q", "1", "-t", "city/RTU-1/P-1", "-m", '{"pressure": 250.0}']
    assert subprocess.run(publish, check=False, timeout=20, capture_output=True).returncode == 0
    assert states(ended(platform, asked["id"])) == ["requested", "sent", "sent", "confirmed", "verified"]


def _delivered(command: dict[str, Any]) -> Any:
    return command if command["steps"][-1]["why"].startswith("delivered") else None


def test_an_mqtt_device_that_is_away_is_named_at_once_and_gets_nothing_later(platform: Platform) -> None:
    asked = ask(platform, 250.0, MQTT_SENSOR)
    shown = f"/api/commands/{asked['id']}"
    platform.wait_for(lambda: "RTU-1" in platform.request("GET", shown)["waiting"], 10, "what it waits for is said")
    done = ended(platform, asked["id"], 30)
    assert states(done) == ["requested", "failed"]
    assert done["steps"][-1]["why"].startswith("nothing was sent: RTU-1 does not listen")


def _online(platform: Platform) -> Any:
    try:
        found = platform.request("GET", "/api/entities/urn:ngsi-ld:Device:tiny:RTU-1")
    except urllib.error.HTTPError as error:
        error.close()
        return False
    return found["attributes"].get("online", {}).get("value")
