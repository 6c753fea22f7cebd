"""The water side of the running city: the twin, its instruments and the gateways that speak for them. For `running`."""

import csv
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haechi_testbed.clock import SECOND, format_instant, second_of_day
from haechi_testbed.devices.instrument import FLOW, LEVEL, POWER, PRESSURE, Instrument, Make
from haechi_testbed.devices.mqtt import Gateway
from haechi_testbed.runner import Pace
from haechi_testbed.twins.water.config import load
from haechi_testbed.twins.water.twin import WaterTwin

METERS_S = 3600
OUTAGE_EVERY_S = 6 * 3600.0
MAKES: Mapping[str, tuple[Make, ...]] = {"WP-": (PRESSURE,), "WF-": (FLOW,), "tank": (LEVEL,), "pump": (FLOW, POWER)}


class Carrier:
    """One gateway as the city has it: its clock is a little off, and now and then its network is gone for a while."""

    def __init__(self, gateway: Gateway, seed: int) -> None:
        """The same seed gives the same skew and outages."""
        self.gateway = gateway
        self._rng = random.Random(f"{gateway.device} {seed}")  # noqa: S311 - a simulation, not a secret
        self.skew_us = int(max(-1.5, min(1.5, self._rng.gauss(0.0, 0.4))) * SECOND)
        self.silent = False
        self._away_until = 0
        self._held: list[tuple[str, Mapping[str, Any]]] = []

    def hush(self, on: bool) -> None:
        """Falls silent and hangs up without a word, or calls again; what it measures meanwhile is lost."""
        self.silent = on
        (self.gateway.go_offline if on else self.gateway.start)()

    def tick(self, now_us: int, dt_s: float) -> None:
        """Loses its network at random, or has it again and sends what it kept."""
        if now_us < self._away_until:
            return
        held, self._held = self._held, []
        for channel, body in held:
            self.gateway.send(channel, body)
        if self._rng.random() < dt_s / OUTAGE_EVERY_S:
            self._away_until = now_us + int(self._rng.uniform(15, 60) * SECOND)

    def send(self, channel: str, at_us: int, body: Mapping[str, Any]) -> None:
        """Sends, or keeps until the network is back; nothing at all while it is silent."""
        if self.silent:
            return
        stamped = {"ts": format_instant(at_us + self.skew_us), **body}
        if at_us < self._away_until:
            self._held.append((channel, stamped))
        else:
            self.gateway.send(channel, stamped)


class WaterPart:
    """Steps the twin and sends what its instruments show."""

    name = "water"

    def __init__(self, city: Path, gateways: Mapping[str, Gateway], pace: Pace) -> None:
        """`gateways` are those of the city's water link that have credentials."""
        testbed = city / "testbed"
        self._config = load(testbed)
        self._entities = entities(city / "devices.csv")
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

    def owns(self, kind: str, target: str) -> bool:
        """Whether this part can apply the fault."""
        return kind in ("burst", "pump_failure") or target in self._instruments or target in self._carriers

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

    def close(self) -> None:
        """Gives the twin's memory back."""
        self.twin.close()


def _kind(name: str) -> str:
    return next(prefix for prefix in MAKES if name.startswith(prefix))


def entities(devices: Path) -> dict[str, str]:
    """Which entity each channel of the city's devices belongs to."""
    with devices.open(encoding="utf-8", newline="") as lines:
        return {row["channel"]: row["entity"] for row in csv.DictReader(lines)}
