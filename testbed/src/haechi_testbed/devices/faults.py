"""What can go wrong with any instrument or gateway, and which alarms show it. Gathered by `haechi_testbed.faults`."""

from collections.abc import Mapping

from haechi_testbed.kinds import Kind

SILENT = ("_silent", "safety.gateway_offline")


def kinds(drifts: tuple[str, ...]) -> Mapping[str, Kind]:
    """`drifts`: rules that an instrument which shows wrong values may raise, as the twins name them."""
    return {
        "stuck": Kind("device", ("_stuck",), ()),
        "drifting": Kind("device", drifts, ()),
        "silent": Kind("device", SILENT, ("_stuck", *SILENT)),
    }
