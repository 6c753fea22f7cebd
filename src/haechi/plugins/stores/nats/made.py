"""The files a new log is made of reach the disk: nats-server syncs messages, and under `durability = "os"` not even the
file that says that there is a stream. Called by the supervisor once everything runs."""

import os
from pathlib import Path


def sync_tree(folder: Path) -> None:
    """Makes every file below the folder, and its name, durable; what is removed meanwhile is passed over."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
