"""`haechi new` writes folders that say themselves what is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from haechi.app.commands.new import write
from haechi.app.parts import around
from haechi.cli import main
from haechi.services.cities.city import check


def test_a_new_city_is_a_folder_whose_mistakes_are_named(tmp_path: Path) -> None:
    assert main(["new", "city", "yangzhou", "--into", str(tmp_path)]) == 0
    problems = check(tmp_path / "yangzhou", around())
    assert {"city.toml"} <= {Path(one.file).name for one in problems}
    assert all(one.mend for one in problems)


def test_a_new_adapter_is_refused_by_its_own_case_until_it_is_filled(tmp_path: Path) -> None:
    package = tmp_path / "plug"
    write("adapter", "acme", package / "acme")
    (package / "__init__.py").write_text('"""Outside plug-ins."""')
    text = (package / "acme" / "adapter.py").read_text()
    (package / "acme" / "adapter.py").write_text(text.replace("haechi.plugins.adapters.acme", "plug.acme"))
    info = tmp_path / "plug-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[haechi.plugins]\nadapter.acme = plug.acme.adapter\n")
    suite = Path(__file__).parents[1] / "conformance" / "test_adapters.py"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite), "-k", "acme"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        cwd=suite.parents[2],
    )
    failed = [line for line in ran.stdout.splitlines() if line.startswith("FAILED")]
    assert any("acme-first" in line for line in failed), ran.stdout
    assert not any("starts_twice" in line for line in failed), ran.stdout


@pytest.mark.parametrize("name", ["Bad", "1st", "a b", "x"])
def test_a_name_that_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    assert main(["new", "domain", name, "--into", str(tmp_path)]) == 2
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    assert main(["new", "detector", "drift", "--into", str(tmp_path)]) == 0
    assert main(["new", "detector", "drift", "--into", str(tmp_path)]) == 2
