"""Quality of one observation as a set of flags; 0 is good. Set by ingest, read by watch, history and the console."""

from enum import IntFlag


class Quality(IntFlag):
    """Doubts about an observation; several may hold at once. Stored as one byte in the log and in history."""

    GOOD = 0
    OUT_OF_RANGE = 1  # outside the plausible range of its attribute
    CLOCK_SKEW = 2  # the device's clock is ahead of ours: observed_at was set to received_at
    DEVICE_DOUBT = 4  # the device itself says so: calibration, maintenance, fault, over-range
    STUCK = 8  # unchanged for longer than its attribute allows

    @property
    def words(self) -> list[str]:
        """Names of the flags that hold, in lower case; empty when good."""
        return [str(flag.name).lower() for flag in Quality if flag in self and flag]
