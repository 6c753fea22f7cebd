"""`haechi device` and `haechi user` from the command line: secrets are written down before they count, for one pair of
eyes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from haechi.app.commands import people
from haechi.app.parts import device_registry_in
from haechi.cli import main

GIMPO = Path(__file__).parents[2] / "cities" / "gimpo"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def issue(folder: Path, *devices: str) -> int:
    return main(["device", "issue", str(GIMPO), *devices, "--data", str(folder), "--out", str(folder / "out.json")])


def two_devices(folder: Path) -> list[str]:
    assert issue(folder) == 0
    return list(json.loads((folder / "out.json").read_text("utf-8")))[:2]


def test_what_the_platform_writes_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert main(["user", "add", "kim", "--data", str(folder)]) == 0
    assert issue(folder) == 0
    for path in [folder, *folder.iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_secrets_written_later_leave_those_in_the_file(tmp_path: Path) -> None:
    first, second = two_devices(tmp_path)
    before = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert issue(tmp_path, first) == 0
    after = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert after[second] == before[second]
    assert after[first] != before[first]
    for link, secret in after[first].items():
        assert device_registry_in(tmp_path).verify(first, secret, link)


def test_a_file_of_something_else_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out.json").write_text("[1]", "utf-8")
    assert issue(tmp_path) == 2
    assert "--out" in capsys.readouterr().err
    assert device_registry_in(tmp_path).all() == []


def test_a_secret_that_could_not_be_written_down_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = two_devices(tmp_path)
    before = json.loads((tmp_path / "out.json").read_text("utf-8"))

    def killed(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(people, "_write_private", killed)
    assert issue(tmp_path, first) == 130
    for link, secret in before[first].items():
        assert device_registry_in(tmp_path).verify(first, secret, link)
