"""The links of a generated city's traffic: detectors over MQTT, signal controllers over Modbus. Used by `worlds`."""

from collections.abc import Sequence

from haechi_testbed.twins.traffic.registers import CONTROLLER, Register

LOOP_LINK, SIGNAL_LINK = "traffic-mqtt", "traffic-modbus"
LOOP_PORT, SIGNAL_PORT = 1885, 5021
LOOPS = f"""\
# Detectors: once a minute each roadside gateway publishes on city/<gateway>/minute what its loops counted
# ("samples": a loop has vehicles, km/h and occupancy in %, a road what both its loops and the probes on it say).
adapter = "mqtt"
codec = "json"
unmapped = "quarantine"

[settings]
host = "127.0.0.1"
port = {LOOP_PORT}
topic = "city/{{device}}/{{channel}}"

[codec_settings]
time = "ts"
samples = "samples"
channel = "id"

[[map]]
field = "count"
attribute = "intensity"
types = ["TrafficFlowObserved"]

[[map]]
field = "speed"
attribute = "averageVehicleSpeed"
unit = "KMH"
types = ["TrafficFlowObserved", "RoadSegment"]

[[map]]
field = "occupancy"
attribute = "occupancy"
unit = "P1"
types = ["TrafficFlowObserved"]

[[map]]
field = "up"
attribute = "occupancyUpstream"
unit = "P1"
types = ["RoadSegment"]

[[map]]
field = "down"
attribute = "occupancyDownstream"
unit = "P1"
types = ["RoadSegment"]

[[map]]
field = "time"
attribute = "travelTime"
unit = "SEC"
types = ["RoadSegment"]
"""
SIGNALS = f"""\
# Signal controllers: Modbus TCP units behind the traffic centre's gateway. Written by `haechi-testbed world`; the
# registers are those of testbed twins/traffic/registers.py. Setpoints act at the end of the running cycle.
adapter = "modbus"
codec = "json"
unmapped = "quarantine"

[settings]
host = "127.0.0.1"
port = {SIGNAL_PORT}
period_s = 20.0
timeout_s = 3.0
reconnect_s_max = 10.0
"""


def modbus(signals: Sequence[str]) -> str:
    """links/traffic-modbus.toml."""
    text = SIGNALS
    for number, name in enumerate(signals, 1):
        text += f'\n[[settings.device]]\nid = "{name}"\nunit = {number}\n'
    return text + "".join(_register(one) for one in CONTROLLER) + "".join(_map(one) for one in CONTROLLER)


def _register(one: Register) -> str:
    text = f'\n[[settings.register]]\nfield = "{one.field}"\naddress = {one.address}\n'
    text += 'type = "u16"\n' if one.bit is None else f'type = "bit"\nbit = {one.bit}\n'
    return text + ("writable = true\n" if one.writable else "")


def _map(one: Register) -> str:
    text = f'\n[[map]]\nfield = "{one.field}"\nattribute = "{one.attribute}"\n'
    text += f'unit = "{one.unit}"\n' if one.unit else ""
    text += 'types = ["TrafficSignal"]\n'
    return text + ("writable = true\ntimeout_s = 30.0\nundo = true\n" if one.writable else "")
