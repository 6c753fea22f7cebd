"""Setpoints from people to devices and back, verified. Used by the pipeline and gateway roles and the console face."""

from haechi.services.commands.bus import to_log
from haechi.services.commands.once import Once
from haechi.services.commands.projection import COLLECTIONS, CommandProjection
from haechi.services.commands.setpoints import Setpoint, setpoints
from haechi.services.commands.views import CommandReader, shown_command

__all__ = [
    "COLLECTIONS",
    "CommandProjection",
    "CommandReader",
    "Once",
    "Setpoint",
    "setpoints",
    "shown_command",
    "to_log",
]
