"""What one trade of the running city is and what it joins. For the runner and every `twins/<twin>/part.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from haechi_testbed.clock import VirtualClock

FAST = 10  # from this speed on a tick is ten seconds, below it is one
Address = tuple[str, int]
Credentials = Mapping[str, Mapping[str, str]]  # device -> link -> secret


@dataclass(frozen=True, slots=True)
class Pace:
    """Where time begins, how fast it goes, and the seed of everything that is random."""

    start_us: int
    speed: float
    seed: int

    @property
    def fast(self) -> bool:
        """Whether ticks are ten seconds and gateways send in batches."""
        return self.speed >= FAST


@dataclass(frozen=True, slots=True)
class Setting:
    """What a part joins. `doors`: by link, where the platform listens (or, for Modbus, where our devices do)."""

    city: Path
    credentials: Credentials
    doors: Mapping[str, Address]
    clock: VirtualClock
    pace: Pace

    def secrets(self, link: str) -> dict[str, str]:
        """The secret of each device that may speak on this link."""
        return {device: links[link] for device, links in self.credentials.items() if link in links}


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a part's devices have sent, what of it the platform took, and who was turned away (and why)."""

    sent: int = 0
    acknowledged: int = 0
    refused: tuple[str, ...] = ()


class Part(Protocol):
    """One trade of the city."""

    name: str

    def step(self, now_us: int, dt_s: float) -> None:
        """Moves on and sends what is due."""

    def targets(self, kind: str) -> Sequence[str]:
        """The names this kind of fault can strike here; none when it is no business of this part."""

    def apply(self, kind: str, target: str, on: bool, severity: float) -> tuple[str, ...]:
        """Begins or ends a fault at one of the `targets`; the entities that should show it."""

    def traffic(self) -> Traffic:
        """The account of its devices so far."""

    async def finish(self, wait_s: float) -> int:
        """Waits for answers at most that long, hangs up and closes; how many messages have none."""
