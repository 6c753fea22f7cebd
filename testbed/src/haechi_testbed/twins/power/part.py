"""Electricity of the running city: the twin, its relays and RTUs over Modbus, its smart meters over MQTT."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from haechi_testbed.clock import SECOND
from haechi_testbed.devices.carrier import Carrier, account, connect, entities, hang_up, rows
from haechi_testbed.devices.instrument import Instrument, Make
from haechi_testbed.devices.modbus.bank import Bank, Unit
from haechi_testbed.devices.mqtt import Gateway
from haechi_testbed.part import Address, Pace, Setting, Traffic
from haechi_testbed.twins.power import registers
from haechi_testbed.twins.power.ami import Meters
from haechi_testbed.twins.power.config import PowerConfig, load
from haechi_testbed.twins.power.registers import Field
from haechi_testbed.twins.power.twin import PowerTwin, Values

NEEDS = "power.toml"
LINK, METER_LINK = "power-modbus", "energy-mqtt"
SUBSTATION = "SUB-RTU"
# What an instrument adds to the truth, by field: spread, share of the value, digits, drift in its unit a second.
MAKES: Mapping[str, Make] = {
    "voltage": Make("voltage", 1.0, 0.25, 0.0, 1, 0.02),
    "bus": Make("bus", 1.0, 0.004, 0.0, 3, 0.0005),
    "current": Make("current", 1.0, 0.05, 0.002, 1, 0.1),
    "power": Make("power", 1.0, 0.02, 0.002, 2, 0.5),
    "reactive": Make("reactive", 1.0, 0.05, 0.002, 1, 0.5),
    "loading": Make("loading", 1.0, 0.05, 0.002, 1, 0.02),
    "oil": Make("oil", 1.0, 0.08, 0.0, 1, 0.02),
    "winding": Make("winding", 1.0, 0.08, 0.0, 1, 0.02),
}


class Shown:
    """One thing of the grid as its device shows it: where its registers are, what its instruments do to the truth."""

    def __init__(self, name: str, unit: Unit, fields: Sequence[Field], seed: int) -> None:
        """`name` is its id in the twin."""
        self.name, self.unit, self.fields = name, unit, fields
        self.instruments = {one.name: Instrument(name, MAKES[one.name], seed) for one in fields if one.name in MAKES}

    def fill(self, truth: Mapping[str, float | bool | int], dt_s: float) -> None:
        """Puts what it measures now into its registers; an instrument's gap leaves what stood there."""
        for field in self.fields:
            value = float(truth[field.name])
            if field.name in self.instruments and value:  # without supply it shows zero, not noise
                shown = self.instruments[field.name].show(value, dt_s)
                if shown is None:
                    continue
                value = shown
            words = [int(value)] if field.type == "bit" else registers.encode(field, value)
            self.unit.show(field.table, field.address, words)


async def join(setting: Setting) -> "PowerPart":
    """The electricity of this city: its Modbus units listen, its concentrators call."""
    part = PowerPart(setting.city, connect(setting, METER_LINK), setting.doors[LINK], setting.pace)
    await part.bank.start()
    return part


class PowerPart:
    """Steps the twin, fills the registers and sends what smart meters show."""

    name = "power"

    def __init__(self, city: Path, gateways: Mapping[str, Gateway], door: Address, pace: Pace) -> None:
        """`gateways` are the concentrators with credentials; `door` is where the Modbus units listen."""
        self.config = load(city / "testbed")
        self.twin = PowerTwin(self.config, pace.seed, pace.start_us)
        self._carriers = {name: Carrier(gateway, pace.seed) for name, gateway in gateways.items()}
        self.meters = Meters(self.twin, self._carriers, pace.start_us, pace.seed)
        self._fast = pace.fast
        self._entities = _named(city / "devices.csv", self.config)
        self.units = self._made_units()
        self.shown = {one.name: one for one in self._things(pace.seed)}
        self.bank = Bank(list(self.units.values()), *door)
        self._fill(self.twin.observe(), 10.0)

    # --- devices ----------------------------------------------------------------------------------------------------

    def _made_units(self) -> dict[str, Unit]:
        found = {}
        spans = {"FRTU": {"input": 120}, "SUB-": {"input": 80, "holding": 16}, "RLY-": {"input": 10}}
        for name, number in self.config.settings["unit"].items():
            found[name] = Unit(int(number), spans[name[:4]], partial(self._written, name))
        return found

    def _things(self, seed: int) -> list[Shown]:
        feeders = [
            Shown(name, self.units[one["relay"]], registers.RELAY, seed) for name, one in self.config.feeders.items()
        ]
        station = self.units[SUBSTATION]
        mains = [Shown(name, station, registers.main_fields(at), seed) for at, name in enumerate(self.config.mains)]
        banks = [Shown(name, station, registers.bank_fields(at), seed) for at, name in enumerate(self.config.banks)]
        stations = [
            Shown(one.id, self.units[one.rtu], registers.station_fields(one.slot), seed) for one in self.config.stations
        ]
        return [*feeders, *mains, *banks, *stations]

    def _written(self, device: str, table: str, address: int, words: Sequence[int]) -> None:
        """A setpoint from outside; it acts on the twin, and the registers show what became of it."""
        targets = {
            (one.table, one.address): (shown.name, one)
            for shown in self.shown.values()
            if shown.unit is self.units[device]
            for one in shown.fields
            if one.writable
        }
        name, field = targets.get((table, address), ("", None))
        if field is None or len(words) != field.size:
            raise ValueError(f"{device} has nothing to write at {table} {address}")
        if field.name == "breaker":
            self.twin.switch(name, bool(words[0]))
        elif field.name == "target":
            self.twin.set_target(name, round(registers.decode(field, list(words)), 3))
        else:
            self.twin.set_steps(name, int(registers.decode(field, list(words))))
        truth = self.twin.observe()[name]
        self.shown[name].unit.show(
            table,
            address,
            [int(truth["breaker"])] if table == "coil" else registers.encode(field, float(truth[field.name])),
        )

    def _fill(self, truth: Values, dt_s: float) -> None:
        for name, shown in self.shown.items():
            shown.fill(truth[name], dt_s)

    # --- time -------------------------------------------------------------------------------------------------------

    def step(self, now_us: int, dt_s: float) -> None:
        """One tick: current flows, the registers hold what is measured, meters that are due send."""
        self.twin.step(dt_s)
        if self._fast or now_us % (2 * SECOND) < dt_s * SECOND:  # the devices themselves look every two seconds
            self._fill(self.twin.observe(), max(dt_s, 2.0))
        self.meters.step(now_us, dt_s)

    # --- faults -----------------------------------------------------------------------------------------------------

    def targets(self, kind: str) -> Sequence[str]:
        """Feeders and transformers; instruments and meters; a device can only fall silent."""
        feeders, stations = list(self.config.feeders), [one.id for one in self.config.stations]
        measured = [*feeders, *stations]
        found = {
            "feeder_overload": feeders,
            "outage": [*feeders, *stations],
            "voltage_drop": stations,
            "stuck": [*measured, *self.meters.names],
            "drifting": [*measured, *self.meters.names],
            "silent": [*self.units, *self._carriers, *self.meters.names],
        }
        return found.get(kind, ())

    def apply(self, kind: str, target: str, on: bool, severity: float) -> tuple[str, ...]:
        """Begins or ends a fault at one of the `targets`; the entities that should show it."""
        if kind in ("feeder_overload", "outage", "voltage_drop"):
            self.twin.apply(kind, target, on, severity)
            return self._felt(kind, target)
        if target in self.units:
            self.units[target].silent = on
            return (*self._behind(target), self._entities[target])
        if target in self._carriers:
            self._carriers[target].hush(on)
            return (self._entities[target],)
        if target in self.shown:
            for instrument in self.shown[target].instruments.values():
                instrument.apply(kind, on, severity)
        else:
            self.meters.apply(kind, target, on)
        return (self._entities[target],)

    def _behind(self, unit: str) -> tuple[str, ...]:
        return tuple(self._entities[name] for name, one in self.shown.items() if one.unit is self.units[unit])

    def _felt(self, kind: str, target: str) -> tuple[str, ...]:
        """The feeder or transformer, and for what customers feel, everything that hangs on it."""
        if kind == "feeder_overload":
            return (self._entities[target],)
        stations = [one.id for one in self.config.stations if target in (one.id, one.feeder)]
        meters = [one.meter for one in self.config.loads if one.meter and one.station in stations]
        return tuple(self._entities[name] for name in dict.fromkeys([target, *stations, *meters]))

    # --- account ----------------------------------------------------------------------------------------------------

    def traffic(self) -> Traffic:
        """What concentrators sent and what Modbus units answered."""
        calls = account(one.gateway for one in self._carriers.values())
        answered = self.bank.answered
        refused = (*calls.refused, *((self.bank.trouble,) if self.bank.trouble else ()))
        return Traffic(calls.sent + answered, calls.acknowledged + answered, refused)

    async def finish(self, wait_s: float) -> int:
        """Waits for acknowledgements at most that long and hangs up everywhere; how many messages have none."""
        await self.bank.stop()
        return await hang_up((one.gateway for one in self._carriers.values()), wait_s)


def _named(devices: Path, config: PowerConfig) -> dict[str, str]:
    """The entity of everything by its id in the twin, of every meter, and of the devices themselves."""
    found = dict(entities(devices, METER_LINK))
    measured = [row["entity"] for row in rows(devices, LINK)]
    found |= {one.rpartition(":")[2]: one for one in measured}
    city = measured[0].split(":")[3]
    names = [*config.settings["unit"], *{one.concentrator for one in config.loads if one.concentrator}]
    return found | {name: f"urn:ngsi-ld:Device:{city}:{name}" for name in names}
