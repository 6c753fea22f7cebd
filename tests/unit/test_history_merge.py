"""Which files are merged: neighbours of similar size, never more than one step may write, in the end one file a day."""

from haechi.plugins.stores.iceberg.merge import Merge, choose
from haechi.plugins.stores.iceberg.plan import DataFile, file_set
from haechi.plugins.stores.iceberg.settings import HistorySettings

SETTINGS = HistorySettings(merge_files=4, merge_rows=100_000)


def file(partition: int, seq: int, rows: int) -> DataFile:
    at = partition * 86_400_000_000
    return DataFile(f"{partition}-{seq}", rows, rows * 5, partition, at, at + 1, "a", "z", seq, seq, False)


def chosen(files: list[DataFile], *, quiet: bool = False) -> list[str]:
    found = choose(file_set(files), SETTINGS, lambda _: quiet)
    return [] if found is None else [one.path for one in found.files]


def test_few_files_are_left_alone_until_nothing_arrives_any_more() -> None:
    files = [file(1, seq, 500) for seq in range(3)]
    assert chosen(files) == []
    assert len(chosen(files, quiet=True)) == 3


def test_small_files_are_merged_without_touching_the_large_one_beside_them() -> None:
    files = [file(1, 0, 45_000), *(file(1, seq, 500) for seq in range(1, 6))]
    assert chosen(files) == [f"1-{seq}" for seq in range(1, 6)]


def test_one_step_writes_no_more_than_it_may_and_full_files_are_never_rewritten() -> None:
    files = [file(1, seq, 30_000) for seq in range(12)]
    assert len(chosen(files)) == 0, "three fit in one step, four are asked for"
    assert len(chosen([file(1, seq, 20_000) for seq in range(12)])) == 5
    assert chosen([file(1, seq, 60_000) for seq in range(8)], quiet=True) == []


def test_a_backfill_of_many_days_is_merged_many_days_at_a_time() -> None:
    files = [file(day, seq, 100) for day in range(50) for seq in range(4)]
    assert len(chosen(files)) == 200


def test_a_day_that_need_not_be_merged_ends_the_run_of_days() -> None:
    files = [file(day, seq, 100) for day in (1, 2, 4) for seq in range(4)] + [file(3, 0, 100)]
    assert {path.split("-")[0] for path in chosen(files)} == {"1", "2"}


def test_files_whose_seqs_another_file_reaches_into_are_not_merged() -> None:
    long = DataFile("long", 90_000, 1, 1, 0, 1, "a", "z", 2, 9, False)
    files = [*(file(1, seq, 500) for seq in range(4)), long]
    assert not Merge(tuple(files[:4])).is_alone(file_set(files))
    assert chosen(files) == []
