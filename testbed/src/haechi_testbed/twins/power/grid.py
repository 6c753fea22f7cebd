"""The electric network as physics: power-grid-model solves the balanced load flow of a state. Used by the twin, worlds.

Medium voltage 22.9 kV from the main transformers' bars, 22.9 kV / 398 V transformers, low voltage 380/220 V. Customers
draw constant current (their power follows the voltage), solar panels give constant power.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from power_grid_model import (
    CalculationMethod,
    ComponentType,
    DatasetType,
    LoadGenType,
    PowerGridModel,
    initialize_array,
)
from power_grid_model.errors import IterationDiverge, SparseMatrixError  # type: ignore[attr-defined]

from haechi_testbed.twins.power.config import PowerConfig

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
SOURCE_V, MV_V, LV_V = 154_000.0, 22_900.0, 380.0
PHASE_V = LV_V / math.sqrt(3)  # 219.4: a node's voltage over its rated one times this is what a socket has
SECONDARY_V = 230.0 * math.sqrt(3)  # of a distribution transformer without load
HERTZ = 60.0
NODE, LINE, TRANSFORMER = ComponentType.node, ComponentType.line, ComponentType.transformer
SOURCE, LOAD, GEN, SHUNT = ComponentType.source, ComponentType.sym_load, ComponentType.sym_gen, ComponentType.shunt
WANTED = [NODE, LINE, TRANSFORMER, SOURCE, LOAD, GEN, SHUNT]


@dataclass(slots=True)
class State:
    """What is switched and drawn. Arrays in the order of the configuration; watts and vars."""

    p: Floats  # by load node
    q: Floats
    pv: Floats
    closed: Flags  # breaker of each feeder
    whole: Flags  # fuse of each distribution transformer
    taps: NDArray[np.int8]  # of each main transformer, 0 in the middle; up lowers the voltage
    steps: NDArray[np.int64]  # of each capacitor bank
    foreign_w: Floats  # load taken over from elsewhere at the end of each feeder


@dataclass(frozen=True, slots=True)
class Flow:
    """The solution. Arrays in the order of the configuration; powers in watts as they leave the bar or the station."""

    load_pu: Floats  # voltage at each load node over 380 V; 0 without supply
    feeder: Mapping[str, Floats]  # amps, p, q, kv
    main: Mapping[str, Floats]  # amps, p, q, kv (of its bar), load
    station: Mapping[str, Floats]  # volts (phase), amps, p, q, load
    bank_q: Floats
    source_w: float
    drawn_w: float  # by customers, and what the feeders took over
    given_w: float  # by solar panels
    worst_line: float  # highest current of a line over its rated one


class Grid:
    """One network. `weak`: resistance in the terminals of a distribution transformer, per unit of its rating."""

    def __init__(self, config: PowerConfig, weak: Mapping[str, float] | None = None) -> None:
        """Builds the model; the configuration's nodes are those that its lines and transformers name."""
        self._config = config
        self._next = 0
        mains, stations = config.mains, config.stations
        self.feeders, self.banks = tuple(config.feeders), tuple(config.banks)
        names = ["grid", *(one["node"] for one in mains.values())]
        low = {one.lv_node for one in stations} | {one.end for one in config.lines if one.kv < 1}
        for line in config.lines:
            names += [line.start, line.end]
        names += [one.lv_node for one in stations]
        self._names = list(dict.fromkeys(names))
        self._at = {name: index for index, name in enumerate(self._names)}
        rated = [SOURCE_V] + [LV_V if name in low else MV_V for name in self._names[1:]]
        self.load_nodes = tuple(dict.fromkeys(one.node for one in config.loads))
        arrays = {NODE: self._made(NODE, u_rated=rated), LINE: self._lines()}
        arrays[TRANSFORMER] = self._transformers(weak or {})
        arrays[SOURCE] = self._sources()
        at = [self._at[name] for name in self.load_nodes]
        ends = [self._at[one["end"]] for one in config.feeders.values()]
        current, power = LoadGenType.const_current, LoadGenType.const_power
        kinds = [current] * len(at) + [power] * len(ends)
        arrays[LOAD] = self._made(LOAD, node=at + ends, status=1, type=kinds, p_specified=0.0, q_specified=0.0)
        arrays[GEN] = self._made(GEN, node=at, status=1, type=power, p_specified=0.0, q_specified=0.0)
        at = [self._at[one["node"]] for one in config.banks.values()]
        arrays[SHUNT] = self._made(SHUNT, node=at, status=1, g1=0.0, b1=0.0)
        self._ids = {kind: one["id"] for kind, one in arrays.items()}
        self._model = PowerGridModel(arrays, system_frequency=HERTZ)
        self._places()

    def _made(self, kind: ComponentType, **columns: Any) -> NDArray[Any]:
        size = max(len(one) for one in columns.values() if isinstance(one, Sequence))
        found = initialize_array(DatasetType.input, kind, size)
        found["id"] = np.arange(self._next, self._next + size)
        self._next += size
        for name, values in columns.items():
            found[name] = values
        return found

    def _lines(self) -> NDArray[Any]:
        lines = self._config.lines
        return self._made(
            LINE,
            from_node=[self._at[one.start] for one in lines],
            to_node=[self._at[one.end] for one in lines],
            from_status=1,
            to_status=1,
            r1=[one.r_ohm for one in lines],
            x1=[one.x_ohm for one in lines],
            c1=0.0,
            tan1=0.0,
            i_n=[one.rated_a for one in lines],
        )

    def _transformers(self, weak: Mapping[str, float]) -> NDArray[Any]:
        mains, stations = list(self._config.mains.values()), self._config.stations
        watts = [1e6 * one["mva"] for one in mains] + [1e3 * one.kva for one in stations]
        losses = [1e3 * one["pk_kw"] / 1e6 / one["mva"] for one in mains]
        losses += [0.011 + weak.get(one.id, 0.0) for one in stations]
        reactive = [math.sqrt(one["uk"] ** 2 - share**2) for one, share in zip(mains, losses, strict=False)]
        reactive += [0.0485] * len(stations)
        return self._made(
            TRANSFORMER,
            from_node=[0] * len(mains) + [self._at[one.mv_node] for one in stations],
            to_node=[self._at[one["node"]] for one in mains] + [self._at[one.lv_node] for one in stations],
            from_status=1,
            to_status=1,
            u1=[SOURCE_V] * len(mains) + [MV_V] * len(stations),
            u2=[MV_V] * len(mains) + [SECONDARY_V] * len(stations),
            sn=watts,
            uk=[math.hypot(r, x) for r, x in zip(losses, reactive, strict=True)],
            pk=[share * one for share, one in zip(losses, watts, strict=True)],
            p0=[1e3 * one["p0_kw"] for one in mains] + [0.0018 * 1e3 * one.kva for one in stations],
            i0=[one["i0"] for one in mains] + [0.006] * len(stations),
            winding_from=1,
            winding_to=1,
            clock=0,
            tap_side=0,
            tap_pos=0,
            tap_nom=0,
            tap_min=[-one["taps"] for one in mains] + [0] * len(stations),
            tap_max=[one["taps"] for one in mains] + [0] * len(stations),
            tap_size=[one["tap_size"] * SOURCE_V for one in mains] + [0.0] * len(stations),
        )

    def _sources(self) -> NDArray[Any]:
        one = self._config.settings["source"]
        shown = {"u_ref": one["u_ref"], "sk": 1e6 * one["short_circuit_mva"], "rx_ratio": one["rx"]}
        return self._made(SOURCE, node=[0], status=1, **shown)

    def _places(self) -> None:
        """Where in the solver's arrays what is asked for stands."""
        lines = {one.id: index for index, one in enumerate(self._config.lines)}
        heads = list(self._config.feeders.values())
        self._head = np.array([lines[one["line"]] for one in heads])
        mains = list(self._config.mains)
        bars = [self._at[one["node"]] for one in self._config.mains.values()]
        self._bar_of = np.array([bars[mains.index(one["main"])] for one in heads])
        self._bars = np.array(bars)
        self._main, self._stations = slice(0, len(bars)), slice(len(bars), None)
        self._boards = np.array([self._at[one.lv_node] for one in self._config.stations])
        self._loads = np.array([self._at[name] for name in self.load_nodes])
        self._mva = np.array([1e6 * one["mva"] for one in self._config.mains.values()])
        self._kva = np.array([1e3 * one.kva for one in self._config.stations])
        self._step_b = np.array([1e3 * one["step_kvar"] / MV_V**2 for one in self._config.banks.values()])

    # --- solving ----------------------------------------------------------------------------------------------------

    def solve(self, state: State) -> Flow:
        """The flow of a state; where no operating point exists (voltage collapse) what linear loads would draw."""
        self._model.update(update_data=self._update(state))
        try:
            found = self._model.calculate_power_flow(output_component_types=WANTED)
        except (IterationDiverge, SparseMatrixError):  # loads would stall and drop off; nearest: constant impedances
            found = self._model.calculate_power_flow(
                calculation_method=CalculationMethod.linear, output_component_types=WANTED
            )
        return self._flow(found, state)

    def _update(self, state: State) -> dict[Any, Any]:
        zero = np.zeros(len(self.feeders))
        loads = self._changed(LOAD, p_specified=np.r_[state.p, state.foreign_w], q_specified=np.r_[state.q, zero])
        lines = initialize_array(DatasetType.update, LINE, len(self._head))
        lines["id"], lines["from_status"] = self._ids[LINE][self._head], state.closed
        transformers = self._changed(TRANSFORMER)
        transformers["tap_pos"][self._main] = state.taps
        transformers["from_status"][self._stations] = state.whole
        return {
            LOAD: loads,
            GEN: self._changed(GEN, p_specified=state.pv, q_specified=0.0),
            LINE: lines,
            TRANSFORMER: transformers,
            SHUNT: self._changed(SHUNT, b1=self._step_b * state.steps),
        }

    def _changed(self, kind: ComponentType, **columns: Any) -> NDArray[Any]:
        found = initialize_array(DatasetType.update, kind, len(self._ids[kind]))
        found["id"] = self._ids[kind]
        for name, values in columns.items():
            found[name] = values
        return found

    def _flow(self, found: Mapping[Any, Any], state: State) -> Flow:
        node, line, transformer = found[NODE], found[LINE], found[TRANSFORMER]
        pu = np.where(node["energized"] == 1, node["u_pu"], 0.0)
        heads = line[self._head]
        mains, stations = transformer[self._main], transformer[self._stations]
        closed_kv = pu[self._bar_of] * MV_V / 1e3 * state.closed
        rated_a = self._kva / SECONDARY_V / math.sqrt(3)
        return Flow(
            load_pu=pu[self._loads],
            feeder={"amps": heads["i_from"], "p": heads["p_from"], "q": heads["q_from"], "kv": closed_kv},
            main={
                "amps": mains["i_to"],
                "p": -mains["p_to"],
                "q": -mains["q_to"],
                "kv": pu[self._bars] * MV_V / 1e3,
                "load": mains["s_to"] / self._mva,
            },
            station={
                "volts": pu[self._boards] * PHASE_V,
                "amps": stations["i_to"],
                "p": -stations["p_to"],
                "q": -stations["q_to"],
                "load": stations["i_to"] / rated_a,
            },
            bank_q=np.abs(found[SHUNT]["q"]),
            source_w=float(found[SOURCE]["p"].sum()),
            drawn_w=float(found[LOAD]["p"].sum()),
            given_w=float(found[GEN]["p"].sum()),
            worst_line=float(line["loading"].max()),
        )

    def course(self, states: Sequence[State]) -> dict[str, Floats]:
        """Many states at once (a batch over all cores): voltage at the load nodes and load of stations, by state."""
        kinds = (LOAD, GEN)
        updates = [self._update(one) for one in states]
        batch = {kind: np.stack([one[kind] for one in updates]) for kind in kinds}
        self._model.update(update_data={kind: one for kind, one in updates[0].items() if kind not in kinds})
        found = self._model.calculate_power_flow(update_data=batch, output_component_types=[NODE, TRANSFORMER, LINE])
        rated_a = self._kva / SECONDARY_V / math.sqrt(3)
        return {
            "load_pu": found[NODE]["u_pu"][:, self._loads],
            "station_load": found[TRANSFORMER]["i_to"][:, self._stations] / rated_a,
            "main_load": found[TRANSFORMER]["s_to"][:, self._main] / self._mva,
            "feeder_amps": found[LINE]["i_from"][:, self._head],
        }
