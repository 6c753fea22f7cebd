"""`make soak`: fresh seeds for SOAK_S seconds (an hour), SOAK_JOBS at a time; exits with 1 when one broke a promise.

`python tests/fault/soak.py SEED...` repeats these seeds and leaves their folders to be looked at; set BURST_MS to what
the failed run printed (the tests of CI are shorter). With `--seeds N` it runs N fresh ones. The sums of everything that
was done and kept are printed at the end and kept in artefacts/soak.json.
"""

import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from fault_plan import BURST_MS, describe, plan_of
from fault_run import left_out, run

REPORT = Path(__file__).parents[2] / "artefacts" / "soak.json"


def main(arguments: list[str]) -> int:
    """Runs the seeds; the number of those that failed decides the exit code."""
    count = int(arguments.pop(1)) if arguments[:1] == ["--seeds"] else 0
    asked = [int(one) for one in arguments if one != "--seeds"]
    end = time.monotonic() + float(os.environ.get("SOAK_S", "3600"))
    seeds = iter(asked) if asked else _fresh(end, count)
    sums, failed = Counter[str](), list[int]()
    for seed, found in _spread(int(os.environ.get("SOAK_JOBS", "1")), seeds, keep=bool(asked)):
        sums.update({"seeds": 1, **found})
        failed += [] if found else [seed]
        _keep(sums, failed)  # a soak that is stopped has counted what it ran
    _report(sums, failed)
    return 1 if failed else 0


def _fresh(end: float, count: int) -> Iterator[int]:
    ran = 0
    while ran < count if count else time.monotonic() < end:
        ran += 1
        yield secrets.randbelow(1_000_000_000)


def _spread(jobs: int, seeds: Iterator[int], keep: bool) -> Iterator[tuple[int, Mapping[str, int]]]:
    """As many at a time as there are jobs: an hour's seeds are not known beforehand."""
    running: dict[Future[Mapping[str, int]], int] = {}
    with ProcessPoolExecutor(jobs, max_tasks_per_child=1, mp_context=get_context("spawn")) as pool:
        while True:
            while len(running) < jobs and (seed := next(seeds, None)) is not None:
                running[pool.submit(_one, seed, keep)] = seed
            if not running:
                return
            for one in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(one), one.result()


def _one(seed: int, keep: bool) -> Mapping[str, int]:
    """Sums of the run; empty when a promise was broken."""
    plan = plan_of(seed, int(os.environ.get("BURST_MS", BURST_MS)))
    folder = Path(tempfile.mkdtemp(prefix=f"haechi-fault-{seed}-"))
    sums: Mapping[str, int] = {}
    try:
        outcome = run(plan, folder)
        good, report, sums = not outcome.problems, outcome.report(), outcome.sums()
    except Exception as error:  # the platform did not come back or did not settle: as bad as a lost observation
        good, report = False, f"{describe(plan)}\n{type(error).__name__}: {error}"
    lacking = "".join(f"; {one}" for one in left_out(plan))
    print(f"seed {seed}: kept{lacking}" if good else f"{report}\nseed {seed}: FAILED; see {folder}", flush=True)
    if good and not keep:
        shutil.rmtree(folder)
    return sums if good else {}


def _report(sums: Mapping[str, int], failed: list[int]) -> None:
    print("\n".join(f"{count:>9,} {what}" for what, count in sums.items()))
    print(f"{len(failed)} failed{': ' + ' '.join(map(str, failed)) if failed else ''}")


def _keep(sums: Mapping[str, int], failed: list[int]) -> None:
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({**sums, "failed": failed}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
