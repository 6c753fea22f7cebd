"""`make soak`: fresh seeds for SOAK_S seconds (an hour), one after the other; exits with 1 when one broke a promise.

`python tests/fault/soak.py SEED...` repeats these seeds and leaves their folders to be looked at; set BURST_MS
to what the failed run printed (the tests of CI are shorter).
"""

import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fault_plan import BURST_MS, describe, plan_of
from fault_run import run


def main(arguments: list[str]) -> int:
    """Runs the seeds; the number of those that failed decides the exit code."""
    asked = [int(one) for one in arguments]
    seconds = float(os.environ.get("SOAK_S", "3600"))
    ran, failed = 0, list[int]()
    for seed in asked or _fresh(time.monotonic() + seconds):
        ran += 1
        if not _one(seed, keep=bool(asked)):
            failed.append(seed)
    print(f"{ran} seeds, {len(failed)} failed{': ' + ' '.join(map(str, failed)) if failed else ''}")
    return 1 if failed else 0


def _fresh(end: float) -> Iterator[int]:
    while time.monotonic() < end:
        yield secrets.randbelow(1_000_000_000)


def _one(seed: int, keep: bool) -> bool:
    plan = plan_of(seed, int(os.environ.get("BURST_MS", BURST_MS)))
    folder = Path(tempfile.mkdtemp(prefix=f"haechi-fault-{seed}-"))
    try:
        outcome = run(plan, folder)
        good, report = not outcome.problems, outcome.report()
    except Exception as error:  # the platform did not come back or did not settle: as bad as a lost observation
        good, report = False, f"{describe(plan)}\n{error!r}"
    print(f"seed {seed}: kept" if good else f"{report}\nFAILED; see {folder}", flush=True)
    if good and not keep:
        shutil.rmtree(folder)
    return good


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
