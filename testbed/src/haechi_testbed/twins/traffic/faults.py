"""What can go wrong on the roads, and the alarms that show it. Gathered by `haechi_testbed.faults`."""

from collections.abc import Mapping

from haechi_testbed.kinds import Kind

JAM = ("traffic.incident", "traffic.congestion", "traffic.spillback")
DRIFTS: tuple[str, ...] = ()  # a loop counts or does not; what it counts does not drift
KINDS: Mapping[str, Kind] = {
    "accident": Kind("traffic", ("traffic.incident",), JAM),
    "signal_failure": Kind("traffic", ("traffic.signal_flashing",), JAM),
    "detector_dead": Kind("device", ("traffic.detector_dead",), ()),
}
