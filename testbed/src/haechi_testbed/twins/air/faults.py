"""What can go wrong with air, and the alarms that show it. Gathered by `haechi_testbed.faults`."""

from collections.abc import Mapping

from haechi_testbed.kinds import Kind

DRIFTS = ("air.", "weather.")
KINDS: Mapping[str, Kind] = {
    "exceedance": Kind("air", ("air.emission_",), ("air.emission_", "air.pm", "air.ozone")),
}
