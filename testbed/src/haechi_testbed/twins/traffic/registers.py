"""What a signal controller holds, register by register. Used by the part, which fills them, and by worlds.

Addresses count from 0, as on the wire. Setpoints are holding registers: what is written there acts at the end of the
running cycle, what runs is shown by the input registers.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Register:
    """One register of 16 bits, or one bit. `attribute` and `unit`: what it is in the city's terms."""

    field: str
    table: str  # input, holding or coil
    address: int
    attribute: str
    unit: str = ""
    writable: bool = False


CONTROLLER = (
    Register("flashing", "coil", 0, "flashing"),
    Register("stage", "input", 0, "stage"),
    Register("plan", "input", 1, "plan"),
    Register("cycle", "input", 2, "cycleTime", "SEC"),
    Register("offset", "input", 3, "offset", "SEC"),
    Register("plan_set", "holding", 0, "planSetpoint", "", True),
    Register("cycle_set", "holding", 1, "cycleTimeSetpoint", "SEC", True),
    Register("offset_set", "holding", 2, "offsetSetpoint", "SEC", True),
)
AS_PLANNED = 999  # an offset setpoint that leaves it to the plan
