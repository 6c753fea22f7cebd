"""What `haechi run` was asked for, kept in `DATA/run/run.json` so that every role and every later command sees the
same."""

import os
from pathlib import Path
from typing import Any

import msgspec

from haechi.core.errors import InvalidSettings
from haechi.plugins.stores.nats.server import Address, LogLimits

GIB = 1024**3
DURABILITY = ("disk", "os")


class DrillClock(msgspec.Struct, frozen=True):
    """Time that starts at `start_us` when the wall clock showed `anchor_us` and runs `speed` times as fast."""

    start_us: int
    anchor_us: int
    speed: float


class RunSettings(msgspec.Struct, frozen=True):
    """One running city. Paths are absolute. `overrides`: link -> setting -> value, over the city's own."""

    city: str
    data: str
    log: Address
    http_host: str = "127.0.0.1"
    http_port: int = 8026
    durability: str = "disk"
    overrides: dict[str, dict[str, Any]] = {}
    drill: DrillClock | None = None
    log_gib: int = 20  # the log refuses what is new beyond that
    retention_days: int = 0  # 0 keeps everything
    instances_most: int = 10_000  # of attributes in one answer of the temporal API

    @property
    def folder(self) -> Path:
        return Path(self.data)

    @property
    def log_limits(self) -> LogLimits:
        """Half of the log at most is kept for those who come later: the other half is room for a slow consumer."""
        return LogLimits(max_bytes=self.log_gib * GIB, keep_bytes=self.log_gib * GIB // 2)

    @property
    def run_folder(self) -> Path:
        return self.folder / "run"

    def save(self) -> None:
        """Writes `run/run.json`, readable by the owner alone: it holds the log's token."""
        self.run_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.run_folder / "run.json.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self))
        fresh.replace(self.run_folder / "run.json")


def load(data: Path) -> RunSettings:
    """The settings of the city that runs (or last ran) in this data folder."""
    file = data / "run" / "run.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=RunSettings)
    except FileNotFoundError as error:
        raise InvalidSettings(
            f"nothing has run in {data} yet; start it with `haechi run CITY_DIR --data {data}`"
        ) from error
    except msgspec.MsgspecError as error:
        raise InvalidSettings(f"{file} is of another version ({error}); start `haechi run` again") from error
