"""`make bench`: one table, rows a to h: ours, the peer or limit of the same run, the ratio, the goal; then the profile.

`python -m bench a c` measures these rows, `python -m bench profile` where the time goes, `python -m bench log` one of
the measurements of a single part. What is durable on each side stands under each row; docs/reference/performance.md.
"""

import argparse
import os
import platform
import runpy
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from bench._table import Line, heading, shown

HERE = Path(__file__).parent
ROWS = {
    "a": "door",
    "b": "through",
    "c": "batches",
    "d": "devices",
    "e": "start",
    "f": "alarm",
    "g": "ngsi_ld",
    "h": "hours",
}
MODULES = {path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_")}
SINGLE = {"profile": "stages"} | {name: name for name in sorted(MODULES - {*ROWS.values(), "stages"})}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    known = [*ROWS, *SINGLE]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: a to h and profile")
    chosen = parser.parse_args().names or [*ROWS, "profile"]
    if unknown := set(chosen) - set(known):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    print(machine())
    failed = table([one for one in chosen if one in ROWS])
    for name in (one for one in chosen if one in SINGLE):
        print(f"\n## {name}", flush=True)
        sys.argv = [name]
        runpy.run_module(f"bench.{SINGLE[name]}", run_name="__main__")
    return int(failed)


def table(rows: Sequence[str]) -> bool:
    """Prints the table as it grows; whether a measurement broke off (a goal missed is no failure)."""
    failed = False
    if rows:
        print(heading(), flush=True)
    for row in rows:
        try:
            for line in _lines(row):
                print(shown(line), flush=True)
        except Exception as error:  # one that breaks off must not hide the others; the exit code tells
            traceback.print_exc()
            print(shown(Line(row, "broke off", float("nan"), reached=False, note=repr(error))), flush=True)
            failed = True
    return failed


def _lines(row: str) -> Iterator[Line]:
    began = time.perf_counter()
    yield from import_module(f"bench.{ROWS[row]}").measure()
    print(f"      ({time.perf_counter() - began:.0f} s)", flush=True)


def machine() -> str:
    """What this runs on, for whoever reads the figures."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    what = (
        f"{os.cpu_count()} cores ({model or platform.machine()}), {memory:.0f} GB, Python {platform.python_version()}"
    )
    return f"{what}, {platform.system()} {platform.release()}; commit {commit.stdout.strip() or '?'}; load {load}"


if __name__ == "__main__":
    sys.exit(main())
