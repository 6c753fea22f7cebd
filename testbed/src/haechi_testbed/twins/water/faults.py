"""What can go wrong with water, and the alarms that show it. Gathered by `haechi_testbed.faults`."""

from collections.abc import Mapping

from haechi_testbed.kinds import Kind

SIGNS = ("water.pressure_low", "water.pressure_drop", "water.inflow_", "water.night_flow")
PLANT = ("water.pump_failure", "water.tank_low", *SIGNS)
DRIFTS = ("water.",)
KINDS: Mapping[str, Kind] = {
    "burst": Kind("water", SIGNS, ("water.tank_low",)),
    "pump_failure": Kind("water", ("water.pump_failure",), PLANT),
}
