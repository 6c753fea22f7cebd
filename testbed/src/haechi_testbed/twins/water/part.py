"""The water side of the running city: the twin, its instruments and the gateways that speak for them. For `running`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haechi_testbed.clock import SECOND, second_of_day
from haechi_testbed.devices.carrier import Carrier, account, connect, entities, hang_up
from haechi_testbed.devices.instrument import FLOW, LEVEL, POWER, PRESSURE, Instrument, Make
from haechi_testbed.devices.mqtt import Gateway
from haechi_testbed.part import Pace, Setting, Traffic
from haechi_testbed.twins.water.config import load
from haechi_testbed.twins.water.twin import WaterTwin

NEEDS = "water.toml"
LINK = "water-mqtt"
METERS_S = 3600
MAKES: Mapping[str, tuple[Make, ...]] = {"WP-": (PRESSURE,), "WF-": (FLOW,), "tank": (LEVEL,), "pump": (FLOW, POWER)}


async def join(setting: Setting) -> "WaterPart":
    """The water of this city, its gateways calling."""
    return WaterPart(setting.city, connect(setting, LINK), setting.pace)


class WaterPart:
    """Steps the twin and sends what its instruments show."""

    name = "water"

    def __init__(self, city: Path, gateways: Mapping[str, Gateway], pace: Pace) -> None:
        """`gateways` are those of the city's water link that have credentials."""
        testbed = city / "testbed"
        self._config = load(testbed)
        self._entities = entities(city / "devices.csv", LINK)
        offset = float(self._config["utc_offset_h"])
        self.twin = WaterTwin(testbed / "water.inp", self._config, pace.seed, second_of_day(pace.start_us, offset))
        self._batches = pace.fast  # one payload a gateway and tick instead of one an instrument
        self._carriers = {name: Carrier(gateway, pace.seed) for name, gateway in gateways.items()}
        self._instruments = {
            name: tuple(Instrument(name, make, pace.seed) for make in MAKES[_kind(name)])
            for carried in self._config["gateways"].values()
            for name in carried
        }
        self._meters: dict[str, list[str]] = {}
        for meter, one in self._config["meters"].items():
            self._meters.setdefault(one["concentrator"], []).append(meter)
        self._meters_at = {name: pace.start_us + (5 + 2 * index) * SECOND for index, name in enumerate(self._meters)}

    def step(self, now_us: int, dt_s: float) -> None:
        """One tick: the water moves, then everything that is due is sent."""
        self.twin.step(dt_s)
        truth = self.twin.observe()
        for name, carrier in self._carriers.items():
            carrier.tick(now_us, dt_s)
            if name in self._config["gateways"]:
                self._telemetry(carrier, self._config["gateways"][name], truth, now_us, dt_s)
            elif now_us >= self._meters_at[name]:
                self._meters_at[name] += METERS_S * SECOND
                volumes = self.twin.consumption()
                samples = [{"id": meter, "volume": round(volumes[meter], 3)} for meter in self._meters[name]]
                carrier.send("meters", now_us, {"samples": samples})

    def _telemetry(
        self, carrier: Carrier, carried: list[str], truth: Mapping[str, Mapping[str, Any]], now_us: int, dt_s: float
    ) -> None:
        samples: list[dict[str, Any]] = []
        for name in carried:
            shown = self._shown(name, truth[name], now_us, dt_s)
            if shown and self._batches:
                samples.append({"id": name, **shown})
            elif shown:
                carrier.send(name, now_us, shown)
        if samples:
            carrier.send("batch", now_us, {"samples": samples})

    def _shown(self, name: str, truth: Mapping[str, Any], now_us: int, dt_s: float) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for instrument in self._instruments[name]:
            period_us = instrument.make.period_s * SECOND
            since_us = now_us - (0 if self._batches else instrument.phase_us)
            if since_us // period_us == (since_us - int(dt_s * SECOND)) // period_us:
                continue
            value = instrument.show(float(truth[instrument.make.field]), max(dt_s, instrument.make.period_s))
            if value is not None:
                shown[instrument.make.field] = max(0.0, value) if name.startswith("pump") else value
        if shown and name.startswith("pump"):
            shown |= {"running": truth["running"], "commanded": truth["commanded"]}
        return shown

    # --- faults -----------------------------------------------------------------------------------------------------

    def targets(self, kind: str) -> Sequence[str]:
        """Pipes for a burst, pumps, instruments; a gateway can only fall silent."""
        if kind == "burst":
            return self.twin.pipes
        if kind == "pump_failure":
            return tuple(self._config["pumps"])
        if kind in ("stuck", "drifting", "silent"):
            return (*self._instruments, *(self._carriers if kind == "silent" else ()))
        return ()

    def apply(self, kind: str, target: str, on: bool, severity: float) -> tuple[str, ...]:
        """Begins or ends a fault; the entities that should show it. ValueError when there is no such target."""
        if kind in ("burst", "pump_failure"):
            self.twin.apply(kind, target, on, severity)
            return self._near(target) if kind == "burst" else (self._entities[target],)
        if target in self._carriers and kind == "silent":
            self._carriers[target].hush(on)
            return tuple(self._entities[name] for name in self._config["gateways"].get(target, ()))
        if target not in self._instruments:
            raise ValueError(f"{kind} needs an instrument such as WP-001 or WF-01, not {target!r}")
        for instrument in self._instruments[target]:
            instrument.apply(kind, on, severity)
        return (self._entities[target],)

    def _near(self, pipe: str) -> tuple[str, ...]:
        """Instruments of the pipe's district; all of them for a trunk main."""
        area = self.twin.area_of(pipe)
        members = {**self._config["pressure"], **self._config["flow"]}
        return tuple(self._entities[name] for name, one in members.items() if area in ("", one["area"]))

    def traffic(self) -> Traffic:
        """The account of its gateways."""
        return account(one.gateway for one in self._carriers.values())

    async def finish(self, wait_s: float) -> int:
        """Waits for acknowledgements at most that long, hangs up and closes; how many messages have none."""
        left = await hang_up((one.gateway for one in self._carriers.values()), wait_s)
        self.close()
        return left

    def close(self) -> None:
        """Gives the twin's memory back."""
        self.twin.close()


def _kind(name: str) -> str:
    return next(prefix for prefix in MAKES if name.startswith(prefix))
