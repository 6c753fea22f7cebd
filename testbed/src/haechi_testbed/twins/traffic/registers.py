"""What a signal controller holds, register by register. Used by the part, which fills them, and by worlds.

All are holding registers of 16 bits, side by side, so that one request reads them; addresses count from 0, as on the
wire. What is written to a setpoint acts at the end of the running cycle; what runs is shown by the others.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Register:
    """One register, or one bit of it. `attribute` and `unit`: what it is in the city's terms."""

    field: str
    address: int
    attribute: str
    unit: str = ""
    bit: int | None = None
    writable: bool = False


CONTROLLER = (
    Register("plan_set", 0, "planSetpoint", writable=True),
    Register("cycle_set", 1, "cycleTimeSetpoint", "SEC", writable=True),
    Register("offset_set", 2, "offsetSetpoint", "SEC", writable=True),
    Register("stage", 3, "stage"),
    Register("plan", 4, "plan"),
    Register("cycle", 5, "cycleTime", "SEC"),
    Register("offset", 6, "offset", "SEC"),
    Register("flashing", 7, "flashing", bit=0),
)
AS_PLANNED = 999  # an offset setpoint that leaves it to the plan
