"""The links of a generated city's electricity: Modbus registers and smart meters over MQTT. Used by `worlds.power`."""

from collections.abc import Mapping, Sequence

from haechi_testbed.twins.power import registers
from haechi_testbed.twins.power.registers import Field

POWER_LINK, ENERGY_LINK = "power-modbus", "energy-mqtt"
MODBUS_PORT, METER_PORT = 5020, 1884
RTU_S = 20.0  # between two polls of a district's RTU; relays and the substation every ten seconds
MODBUS = f"""\
# Protection relays of the feeders, the substation's RTU and the RTUs of the transformers: Modbus TCP units behind the
# substation's gateway. Written by `haechi-testbed world`; the registers are those of testbed twins/power/registers.py.
adapter = "modbus"
codec = "json"
unmapped = "quarantine"

[settings]
host = "127.0.0.1"
port = {MODBUS_PORT}
period_s = 10.0
timeout_s = 3.0
reconnect_s_max = 10.0
"""
# field, attribute, unit, types, then what else the map says
MAPS = (
    ("breaker", "breakerClosed", "", ("Feeder",), "writable = true\ntimeout_s = 30.0\n"),
    ("bus", "busVoltage", "KVT", ("Feeder", "PowerTransformer"), ""),
    ("target", "targetVoltage", "KVT", ("PowerTransformer",), "writable = true\ntolerance = 0.01\ntimeout_s = 30.0\n"),
    ("tap", "tapPosition", "", ("PowerTransformer",), ""),
    ("steps", "steps", "", ("LinearShuntCompensator",), "writable = true\ntimeout_s = 30.0\n"),
    ("voltage", "voltage", "VLT", ("PowerTransformer",), ""),
    ("current", "current", "AMP", ("Feeder", "PowerTransformer"), ""),
    ("power", "activePower", "KWT", ("Feeder", "PowerTransformer"), ""),
    ("reactive", "reactivePower", "KVR", ("Feeder", "PowerTransformer", "LinearShuntCompensator"), ""),
    ("loading", "loading", "P1", ("PowerTransformer",), ""),
    ("oil", "topOilTemperature", "CEL", ("PowerTransformer",), ""),
    ("winding", "windingTemperature", "CEL", ("PowerTransformer",), ""),
)
METERS = f"""\
# Smart meters: a concentrator in each district publishes its meters' values every quarter of an hour on
# city/<concentrator>/profile, and at once, on city/<concentrator>/event, that a meter lost or has voltage again.
adapter = "mqtt"
codec = "json"
unmapped = "quarantine"

[settings]
host = "127.0.0.1"
port = {METER_PORT}
topic = "city/{{device}}/{{channel}}"

[codec_settings]
time = "ts"
samples = "samples"
channel = "id"

[[map]]
field = "import"
attribute = "totalActiveEnergyImport"
unit = "KWH"

[[map]]
field = "export"
attribute = "totalActiveEnergyExport"
unit = "KWH"

[[map]]
field = "power"
attribute = "totalActivePower"
unit = "KWT"

[[map]]
field = "voltage"
attribute = "voltage"
unit = "VLT"
"""


def modbus(units: Mapping[str, int], mains: Sequence[str], banks: Sequence[str], per_rtu: int) -> str:
    """links/power-modbus.toml: the channels of the substation's RTU have the names of what it measures."""
    text = MODBUS
    for name, number in units.items():
        text += f'\n[[settings.device]]\nid = "{name}"\nunit = {number}\n'
        text += f"period_s = {RTU_S}\n" if name.startswith("FRTU") else ""
    span = registers.STATION_SPAN * per_rtu
    for device, start, count in (("FRTU-*", 0, span), ("SUB-RTU", 0, registers.BANK_AT + 2 * len(banks))):
        text += f'\n[[settings.block]]\ndevice = "{device}"\ntable = "input"\nstart = {start}\ncount = {count}\n'
    text += '\n[[settings.block]]\ndevice = "SUB-RTU"\ntable = "holding"\nstart = 0\ncount = 12\n'
    for one in registers.RELAY:
        text += _register(one, "RLY-*", "")
    for index, name in enumerate(mains):
        text += "".join(_register(one, "SUB-RTU", name) for one in registers.main_fields(index))
    for index, name in enumerate(banks):
        text += "".join(_register(one, "SUB-RTU", name) for one in registers.bank_fields(index))
    for slot in range(per_rtu):
        text += "".join(_register(one, "FRTU-*", f"T{slot + 1:02d}") for one in registers.station_fields(slot))
    return text + "".join(_map(*one) for one in MAPS)


def _register(one: Field, device: str, channel: str) -> str:
    text = f'\n[[settings.register]]\nfield = "{one.name}"\ntable = "{one.table}"\naddress = {one.address}\n'
    text += f'type = "{one.type}"\ndevice = "{device}"\n' + (f'channel = "{channel}"\n' if channel else "")
    text += f"scale = {one.scale}\n" if one.scale != 1 else ""
    text += f'word_order = "{one.word_order}"\n' if one.word_order != "big" else ""
    return text + ("writable = true\n" if one.writable else "")


def _map(field: str, attribute: str, code: str, types: Sequence[str], more: str) -> str:
    text = f'\n[[map]]\nfield = "{field}"\nattribute = "{attribute}"\n' + (f'unit = "{code}"\n' if code else "")
    return text + "types = [" + ", ".join(f'"{one}"' for one in types) + "]\n" + more
