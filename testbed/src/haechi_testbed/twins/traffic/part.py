"""Traffic of the running city: the twin, its detectors behind roadside gateways and its signal controllers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haechi_testbed.devices.carrier import Carrier, account, connect, entities, hang_up
from haechi_testbed.devices.modbus.bank import Bank
from haechi_testbed.devices.mqtt import Gateway
from haechi_testbed.part import Address, Pace, Setting, Traffic
from haechi_testbed.twins.traffic.config import load
from haechi_testbed.twins.traffic.demand import local_s
from haechi_testbed.twins.traffic.devices import Cabinet, Loop
from haechi_testbed.twins.traffic.twin import TrafficTwin

NEEDS = "traffic.toml"
LOOP_LINK, SIGNAL_LINK = "traffic-mqtt", "traffic-modbus"


async def join(setting: Setting) -> "TrafficPart":
    """The traffic of this city: its gateways call, its signal controllers listen."""
    part = TrafficPart(setting.city, connect(setting, LOOP_LINK), setting.doors[SIGNAL_LINK], setting.pace)
    await part.bank.start()
    return part


class TrafficPart:
    """Steps the twin, sends what detectors counted each minute and fills the controllers' registers."""

    name = "traffic"

    def __init__(self, city: Path, gateways: Mapping[str, Gateway], door: Address, pace: Pace) -> None:
        """`gateways` are the roadside ones with credentials; `door` is where the controllers listen."""
        self.config = load(city / "testbed")
        self.twin = TrafficTwin(self.config, pace.seed, local_s(pace.start_us, self.config.model.utc_offset_h))
        self._loops = entities(city / "devices.csv", LOOP_LINK)
        self._signals = _by_device(city / "devices.csv")
        self._carriers = {name: Carrier(gateway, pace.seed) for name, gateway in gateways.items()}
        self.loops = {name: Loop(name, pace.seed) for name in self.config.detectors}
        self.cabinets = {
            name: Cabinet(name, number, self.twin.signals) for number, name in enumerate(self.config.signals, 1)
        }
        self.bank = Bank([one.unit for one in self.cabinets.values()], *door)
        self._told = self.twin.periods - 1  # the minute before the start is sent at once: a console shows something
        self._fill()

    def step(self, now_us: int, dt_s: float) -> None:
        """One tick: the traffic moves, a full minute is sent, the registers follow."""
        self.twin.step(dt_s)
        for carrier in self._carriers.values():
            carrier.tick(now_us, dt_s)
        if self.twin.periods != self._told:
            self._told = self.twin.periods
            shown = {name: self.loops[name].show(truth) for name, truth in self.twin.observe().items()}
            for name, carrier in self._carriers.items():
                samples = [sample for road in self.config.gateways[name] for sample in self._samples(road, shown)]
                if samples:
                    carrier.send("minute", now_us, {"samples": samples})
        self._fill()

    def _samples(self, road: str, shown: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
        """What a station says of its loops and of its road."""
        up, down = self.config.stations[road]
        samples: list[dict[str, Any]] = [{"id": loop, **shown[loop]} for loop in (up, down) if shown[loop]]
        seen = self.twin.road(road)
        speed = max(1.0, seen["speed"])
        about = {"speed": round(seen["speed"], 1), "time": round(self.config.roads[road].length * 3.6 / speed, 1)}
        about |= {part: shown[loop]["occupancy"] for part, loop in (("up", up), ("down", down)) if shown[loop]}
        return [*samples, {"id": f"RS-{road}", **about}]

    def _fill(self) -> None:
        for cabinet in self.cabinets.values():
            cabinet.fill(self.twin.now_s)

    # --- faults -------------------------------------------------------------------------------------------------------

    def targets(self, kind: str) -> Sequence[str]:
        """Roads for an accident, signals, detectors; gateways and controllers can fall silent."""
        if kind == "accident":
            return tuple(f"RS-{name}" for name in self.config.roads)
        if kind == "signal_failure":
            return tuple(self.cabinets)
        if kind in ("stuck", "silent", "detector_dead"):
            return (*self.loops, *((*self.cabinets, *self._carriers) if kind == "silent" else ()))
        return ()

    def apply(self, kind: str, target: str, on: bool, severity: float) -> tuple[str, ...]:
        """Begins or ends a fault at one of the `targets`; the entities that should show it."""
        if kind == "accident":
            self.twin.apply(kind, target.removeprefix("RS-"), on, severity)
            return (self._loops[target],) if target in self._loops else ()
        if target in self.cabinets:
            if kind == "silent":
                self.cabinets[target].unit.silent = on
            else:
                self.twin.apply(kind, target, on, severity)
            return (self._signals[target],)
        if target in self._carriers:
            self._carriers[target].hush(on)
            roads = self.config.gateways[target]
            return tuple(self._loops[loop] for road in roads for loop in self.config.stations[road])
        (self.loops[target].faults.add if on else self.loops[target].faults.discard)(kind)
        return (self._loops[target],)

    # --- the account --------------------------------------------------------------------------------------------------

    def traffic(self) -> Traffic:
        """The account of its gateways; controllers only answer."""
        return account(one.gateway for one in self._carriers.values())

    async def finish(self, wait_s: float) -> int:
        """Waits for acknowledgements at most that long, hangs up and closes; how many messages have none."""
        await self.bank.stop()
        return await hang_up((one.gateway for one in self._carriers.values()), wait_s)


def _by_device(devices: Path) -> dict[str, str]:
    rows = [line.split(",") for line in devices.read_text("utf-8").splitlines()]
    return {row[0]: row[3] for row in rows if row[2] == SIGNAL_LINK}
