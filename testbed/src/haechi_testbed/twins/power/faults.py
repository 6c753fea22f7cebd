"""What can go wrong with electricity, and the alarms that show it. Gathered by `haechi_testbed.faults`."""

from collections.abc import Mapping

from haechi_testbed.kinds import Kind

OUTAGE = ("power.feeder_outage", "power.transformer_outage", "energy.outage")
VOLTAGE = ("power.voltage_low", "energy.voltage_low")
AFTER_OUTAGE = ("power.voltage", "power.bus_voltage", "energy.meter_silent", "power.feeder_overload")
DRIFTS = ("power.", "energy.")
KINDS: Mapping[str, Kind] = {
    "feeder_overload": Kind("power", ("power.feeder_overload",), (*VOLTAGE, "power.bus_voltage", "power.transformer_")),
    "outage": Kind("power", OUTAGE, AFTER_OUTAGE),
    "voltage_drop": Kind("power", VOLTAGE, ("power.transformer_",)),
}
