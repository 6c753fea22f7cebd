"""Killing the process (SIGKILL, a real process, a real database) loses or repeats no alarm."""

import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from watch_city import BUSY_RULES, City, busy_log, clock, command_for, outcome, rules

from haechi.core.times import from_us
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import Record
from haechi.services.watch import COLLECTIONS, WatchProjection


def prepare(folder: Path) -> City:
    """The log on disk, and what it leads to when nothing is killed."""
    city = City(folder / "whole", rules(folder / "rules", BUSY_RULES))
    log: list[Record] = []
    waiting: list[Record] = []
    for record in busy_log(random.Random(77), 1000):
        if record.subject == "ops" and waiting:  # what the operator sees when acting
            city.watch.apply(waiting, from_us(waiting[-1].stored_at))
            waiting = []
        waiting.append(command_for(city.store, record, 77) if record.subject == "ops" else record)
        log.append(waiting[-1])
    city.watch.apply(waiting, from_us(waiting[-1].stored_at))
    (folder / "log.pickle").write_bytes(pickle.dumps(log))
    return city


def run(folder: Path, seed: int, kill_after: float | None) -> bool:
    """Starts the child; kills it that long after it began to apply. True when it came to the end of the log."""
    command = [sys.executable, str(Path(__file__).with_name("watch_child.py")), str(folder), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("ready")
        if kill_after is None:
            return "done" in child.stdout.read()
        time.sleep(kill_after)
        child.kill()
        return "done" in child.stdout.read()


def test_killed_again_and_again_the_alarms_are_those_of_a_quiet_life(tmp_path: Path) -> None:
    whole = prepare(tmp_path)
    rng = random.Random(3)
    kills = 0
    for seed in range(8):
        if run(tmp_path, seed, rng.uniform(0.02, 0.25)):
            break
        kills += 1
    assert kills >= 3, "the log is too short for this machine: it came to its end before it was killed"
    assert run(tmp_path, 99, None)
    store = SqliteRecords(tmp_path / "killed.db", COLLECTIONS)
    watch = WatchProjection(store, whole.rules, whole.watch._describe)
    for now in (4000, 4003, 4006):
        whole.watch.tick(clock(now))
        watch.tick(clock(now))
    alarms, moves = outcome(whole.store)
    assert len(alarms) > 50
    assert outcome(store) == (alarms, moves)
