"""The air side of the running city: the twin, its stations and stacks, and the HJ 212 devices that speak for them."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from haechi_testbed.clock import SECOND, second_of_day
from haechi_testbed.devices.hj212.device import PLAIN, Clock, Hj212Device
from haechi_testbed.devices.instrument import Instrument, Make
from haechi_testbed.part import Address, Pace, Setting, Traffic
from haechi_testbed.twins.air.config import Factor, Site, load
from haechi_testbed.twins.air.twin import AirTwin

NEEDS = "air.toml"
LINK = "air-hj212"
PERIOD_S = 60
DRIFT_SHARE_PER_S = 2e-5  # of its own value, at severity 1


@dataclass(frozen=True, slots=True)
class Post:
    """One site: what it measures, with what, and who sends it."""

    site: Site
    device: Hj212Device
    instruments: Mapping[str, tuple[Factor, Instrument]]  # by factor code
    phase_us: int


async def join(setting: Setting) -> "AirPart":
    """The air of this city, its stations and stacks calling."""
    return AirPart(setting.city, setting.secrets(LINK), setting.doors[LINK], setting.clock, setting.pace)


class AirPart:
    """Steps the twin and sends what stations, stacks and weather stations show, once a minute each."""

    name = "air"

    def __init__(self, city: Path, secrets: Mapping[str, str], door: Address, clock: Clock, pace: Pace) -> None:
        """`secrets` by MN; sites without one stay silent. Devices call `door` from the running loop."""
        config = load(city / "testbed" / "air.toml")
        self.twin = AirTwin(config, pace.seed, second_of_day(pace.start_us, config.utc_offset_h))
        rng = random.Random(f"air {pace.seed}")  # noqa: S311 - a simulation, not a secret
        manner = replace(PLAIN, offset_h=config.utc_offset_h, skew_s=0.5, outages_per_h=0.0 if pace.fast else 0.1)
        self.posts: dict[str, Post] = {}
        self._silent: set[str] = set()
        for name, (kind, site) in config.sites().items():
            if site.mn not in secrets:
                continue
            device = Hj212Device(site.mn, secrets[site.mn], *door, clock, random.Random(rng.random()))  # noqa: S311
            device.manner = replace(manner, st=site.st)
            phase_us = 0 if pace.fast else rng.randrange(PERIOD_S) * SECOND
            made = {one.code: (one, _instrument(name, one, pace.seed)) for one in config.factors[kind]}
            self.posts[name] = Post(site, device, made, phase_us)
            device.start()

    def step(self, now_us: int, dt_s: float) -> None:
        """One tick: the air moves, then every site whose minute it is sends."""
        self.twin.step(dt_s)
        due = [name for name, post in self.posts.items() if _is_due(now_us - post.phase_us, dt_s)]
        if not due:
            return
        truth = self.twin.observe()
        for name in due:
            post = self.posts[name]
            values: dict[str, float | str] = {}
            for code, (factor, instrument) in post.instruments.items():
                shown = instrument.show(truth[name][factor.quantity], PERIOD_S)
                if shown is not None:
                    values[code] = shown if factor.quantity == "temperature" else max(0.0, shown)
            if values and name not in self._silent:
                post.device.post(now_us, values)

    def targets(self, kind: str) -> Sequence[str]:
        """Stacks exceed; whatever has a device here can be stuck, drifting or silent."""
        if kind == "exceedance":
            return self.twin.stacks
        return tuple(self.posts) if kind in ("stuck", "drifting", "silent") else ()

    def apply(self, kind: str, target: str, on: bool, severity: float) -> tuple[str, ...]:
        """Begins or ends a fault; the entities that should show it. ValueError when there is no such target."""
        if kind == "exceedance":
            self.twin.apply(kind, target, on, severity)
        elif kind == "silent":
            (self._silent.add if on else self._silent.discard)(target)
        else:
            for _, instrument in self.posts[target].instruments.values():
                instrument.apply(kind, on, severity)
        return (self.posts[target].site.entity,) if target in self.posts else ()

    def traffic(self) -> Traffic:
        """Uploads handed over, answered, and the devices whose last one was turned away."""
        devices = [post.device for post in self.posts.values()]
        refused = (
            f"{post.site.mn} (QnRtn {post.device.refusal})" for post in self.posts.values() if post.device.refusal
        )
        return Traffic(sum(one.sent for one in devices), sum(one.acknowledged for one in devices), tuple(refused))

    async def finish(self, wait_s: float) -> int:
        """Waits for answers at most that long and hangs up; returns how many uploads have none."""
        return sum(await asyncio.gather(*(post.device.close(wait_s) for post in self.posts.values())))


def _instrument(site: str, factor: Factor, seed: int) -> Instrument:
    step = 10.0**-factor.decimals
    relative = 0.0 if factor.quantity in ("temperature", "pressure", "rain", "wind_direction") else 0.008
    spread = 0.0 if factor.quantity == "rain" else step
    drift = max(step, 40.0) * DRIFT_SHARE_PER_S * 10
    return Instrument(site, Make(factor.code, 1.0, spread, relative, factor.decimals, drift, PERIOD_S), seed)


def _is_due(at_us: int, dt_s: float) -> bool:
    period_us = PERIOD_S * SECOND
    return at_us // period_us != (at_us - int(dt_s * SECOND)) // period_us
