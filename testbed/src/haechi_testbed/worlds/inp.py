"""Writes a network as an EPANET 2 input file (litres a second, metres, Hazen-Williams). Used by a world's script."""

from collections.abc import Iterable

from haechi_testbed.worlds.network import CATEGORIES, Network

# Share of a day's mean use in each hour, local time.
HOURS = {
    "res": (0.42, 0.34, 0.30, 0.29, 0.34, 0.62, 1.12, 1.58, 1.52, 1.26, 1.12, 1.05,
            1.08, 1.04, 0.96, 0.95, 1.02, 1.20, 1.48, 1.62, 1.55, 1.36, 1.06, 0.72),
    "com": (0.25, 0.22, 0.20, 0.20, 0.22, 0.34, 0.55, 0.90, 1.30, 1.55, 1.60, 1.70,
            1.85, 1.72, 1.55, 1.50, 1.46, 1.45, 1.50, 1.42, 1.12, 0.75, 0.42, 0.23),
    "pub": (0.15, 0.15, 0.15, 0.15, 0.16, 0.25, 0.60, 1.50, 2.20, 2.10, 2.05, 2.10,
            2.30, 2.00, 1.85, 1.70, 1.30, 0.95, 0.70, 0.60, 0.45, 0.30, 0.18, 0.16),
}  # fmt: skip


# Where pressure falls below fifteen metres people get less than they ask for, and at zero nothing.
PRESSURE_DRIVEN = (
    "DEMAND MODEL\tPDA", "MINIMUM PRESSURE\t0", "REQUIRED PRESSURE\t15", "PRESSURE EXPONENT\t0.5",
)  # fmt: skip


def pattern_id(category: str, area: int) -> str:
    """Name of the pattern of one kind of customer in one district."""
    return f"{category}@D{area + 1:02d}"


def write(network: Network, title: str) -> str:
    """The file's text, sections in EPANET's order."""
    sections: list[tuple[str, Iterable[str]]] = [
        ("TITLE", [title]),
        ("JUNCTIONS", [f"{j.id}\t{j.elevation:.2f}" for j in network.junctions.values()]),
        ("RESERVOIRS", [f"source\t{network.plan.source_head:.2f}"]),
        ("TANKS", _tanks(network)),
        ("PIPES", _pipes(network)),
        ("PUMPS", [f"pump{number}\tsource\tps\tHEAD curve1" for number in (1, 2)]),
        ("DEMANDS", _demands(network)),
        ("STATUS", ["pump2\tCLOSED"]),
        ("PATTERNS", _patterns(network)),
        ("CURVES", [f"curve1\t{network.plan.pump_curve[0]:g}\t{network.plan.pump_curve[1]:g}"]),
        ("TIMES", ["DURATION\t24:00", "HYDRAULIC TIMESTEP\t0:05", "PATTERN TIMESTEP\t1:00", "REPORT TIMESTEP\t1:00"]),
        (
            "OPTIONS",
            [
                "UNITS\tLPS",
                "HEADLOSS\tH-W",
                "TRIALS\t60",
                "ACCURACY\t0.0005",
                "EMITTER EXPONENT\t0.5",
                *PRESSURE_DRIVEN,
            ],
        ),
        ("COORDINATES", _coordinates(network)),
        ("VERTICES", _vertices(network)),
    ]
    return "\n".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections) + "\n[END]\n"


def _tanks(network: Network) -> Iterable[str]:
    for tank in network.plan.tanks:
        levels = f"{tank.start:.2f}\t{tank.low:.2f}\t{tank.high:.2f}"
        yield f"{tank.id}\t{tank.elevation:.2f}\t{levels}\t{tank.diameter:.2f}\t0"


def _pipes(network: Network) -> Iterable[str]:
    for pipe in network.pipes.values():
        size = f"{pipe.length:.1f}\t{pipe.diameter_mm}\t{pipe.roughness}"
        yield f"{pipe.id}\t{pipe.start}\t{pipe.end}\t{size}\t0\t{'CLOSED' if pipe.closed else 'OPEN'}"


def _demands(network: Network) -> Iterable[str]:
    for junction in network.junctions.values():
        for category, litres_s in junction.demands.items():
            yield f"{junction.id}\t{litres_s:.5f}\t{pattern_id(category, junction.area)}"


def _patterns(network: Network) -> Iterable[str]:
    for area in range(len(network.plan.centres)):
        for category in CATEGORIES:
            hours = HOURS[category]
            for part in range(0, 24, 8):
                values = "\t".join(f"{value:.2f}" for value in hours[part : part + 8])
                yield f"{pattern_id(category, area)}\t{values}"


def _coordinates(network: Network) -> Iterable[str]:
    for junction in network.junctions.values():
        yield f"{junction.id}\t{junction.at[0]:.1f}\t{junction.at[1]:.1f}"
    yield f"source\t{network.plan.source[0]:.1f}\t{network.plan.source[1]:.1f}"
    for tank in network.plan.tanks:
        yield f"{tank.id}\t{tank.at[0]:.1f}\t{tank.at[1]:.1f}"


def _vertices(network: Network) -> Iterable[str]:
    for pipe in network.pipes.values():
        for x, y in pipe.path[1:-1]:
            yield f"{pipe.id}\t{x:.1f}\t{y:.1f}"
