"""The process that test_watch_kill kills: applies a log kept in a file to watch, from its durable position."""

import pickle
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from watch_city import describe

from haechi.core.times import from_us
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.services.watch import COLLECTIONS, WatchProjection, load_rules


def main(folder: Path, seed: int) -> None:
    log = pickle.loads((folder / "log.pickle").read_bytes())
    store = SqliteRecords(folder / "killed.db", COLLECTIONS)
    watch = WatchProjection(store, load_rules(folder / "rules", zone="Asia/Seoul"), describe)
    rng = random.Random(seed)
    print("ready", watch.position(), flush=True)
    start = watch.position()
    while start < len(log):
        batch = log[start : start + rng.choice([1, 3, 10])]
        watch.apply(batch, from_us(batch[-1].stored_at))
        if rng.random() < 0.3:
            watch.tick(from_us(batch[-1].stored_at))
        start += len(batch)
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
