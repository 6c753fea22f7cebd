"""Which faults a seed brings: what dies or hangs, what the disk and the clock do, which file is locked. Pure; used by
the plan."""

import random
from dataclasses import dataclass

KILLED = ("gateway", "pipeline", "api", "nats-server")
LOCKED = ("context.db", "watch.db", "incidents.db", "commands.db", "account.db")
DISK = ("full", "slow", "freeze", "read_only", "unplug")
BACK_S_MAX = 600  # no further: devices more than ten seconds ahead of our clock are rightly not believed
AHEAD_S_MAX = 6 * 3600


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """`kind` on `target`, for `for_ms` where it ends by itself.

    kill, kill_twice (again `for_ms` later, in the middle of its start) and hang of a role; full, slow, freeze,
    read_only and unplug of the disk; jump of the clock to `amount` seconds ahead; lock of a database; mute of the PLC,
    which obeys and does not answer.
    """

    at_ms: int
    kind: str
    target: str
    for_ms: int = 0
    amount: int = 0


def faults_of(rng: random.Random, burst_ms: int) -> tuple[Fault, ...]:
    """In their order."""
    early = burst_ms // 12
    found = [_process(rng, rng.randrange(early, burst_ms)) for _ in range(rng.randint(2, 5))]
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2))):
        found.append(_disk(rng, rng.randrange(early, burst_ms)))
    if rng.random() < 0.3:
        found.append(Fault(rng.randrange(early, burst_ms), "lock", rng.choice(LOCKED), rng.randint(1_000, 6_000)))
    if rng.random() < 0.3:
        found.append(Fault(rng.randrange(early, burst_ms), "mute", "plc", rng.randint(1_000, 4_000)))
    if rng.random() < 0.35:
        found += _jumps(rng, burst_ms)
    return tuple(sorted(found))


def _process(rng: random.Random, at_ms: int) -> Fault:
    role, dice = rng.choice(KILLED), rng.random()
    if dice < 0.5:
        return Fault(at_ms, "kill", role)
    if dice < 0.7:
        return Fault(at_ms, "kill_twice", role, rng.randint(150, 900))
    if dice < 0.93:
        return Fault(at_ms, "hang", role, rng.randint(200, 3_000))
    return Fault(at_ms, "kill", "supervisor")


def _disk(rng: random.Random, at_ms: int) -> Fault:
    kind = rng.choice(DISK)
    longest = {"full": 6_000, "slow": 8_000, "freeze": 3_000, "read_only": 3_000, "unplug": 0}[kind]
    return Fault(at_ms, kind, "disk", rng.randint(longest // 4, longest), rng.choice((8, 20, 50, 120)))


def _jumps(rng: random.Random, burst_ms: int) -> list[Fault]:
    """One to three, and back to the truth at the end: somebody mends it, else times would run for hours."""
    found = []
    for _ in range(rng.randint(1, 3)):
        spread = rng.choice((3, 60, BACK_S_MAX if rng.random() < 0.5 else AHEAD_S_MAX))
        amount = rng.randint(-min(spread, BACK_S_MAX), spread)
        found.append(Fault(rng.randrange(burst_ms // 12, burst_ms), "jump", "clock", 0, amount))
    return [*found, Fault(burst_ms, "jump", "clock", 0, 0)]
