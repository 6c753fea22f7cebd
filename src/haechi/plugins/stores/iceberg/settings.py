"""Settings of history, each with the default the embedded platform runs with. Filled by the application from the
city.
"""

from dataclasses import dataclass

from haechi.core.errors import InvalidSettings


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """`retention_days` 0 keeps everything. `synced` False trusts the page cache: for tests."""

    retention_days: int = 0
    snapshots_kept: int = 20  # states that time travel can go back to; each makes every commit a little slower
    files_kept_s: int = 900  # how long files no state names any more stay for queries that are reading them
    rollup_rows: int = 1_000_000  # hourly sums are brought up to date after this many rows …
    rollup_s: int = 600  # … or this long
    merge_files: int = 8  # files of similar size side by side that are worth merging
    merge_rows: int = 2_000_000  # one step of upkeep writes no more, and a file of this size is left alone
    synced: bool = True
    memory: str = "1GB"
    threads: int = 2

    def __post_init__(self) -> None:
        if self.retention_days < 0:
            raise InvalidSettings(f"history.retention_days is {self.retention_days}; give days, or 0 to keep all")
        if self.files_kept_s < 60 or self.snapshots_kept < 1:
            kept = f"files_kept_s is {self.files_kept_s}, snapshots_kept {self.snapshots_kept}"
            raise InvalidSettings(f"history.{kept}; give at least 60 and 1: running queries read those files")
        if self.merge_files < 2 or self.merge_rows < 1 or self.rollup_rows < 1:
            raise InvalidSettings("history.merge_files must be at least 2, merge_rows and rollup_rows at least 1")
