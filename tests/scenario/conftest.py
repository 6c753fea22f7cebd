"""A whole platform on the small test city, started as a user starts it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from haechi.testing.platform import Platform

TINY = Path(__file__).parents[1] / "cities" / "tiny"


@pytest.fixture
def tiny_city(tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))


@pytest.fixture
def platform(tiny_city: Path, tmp_path: Path) -> Iterator[Platform]:
    with Platform(tiny_city, tmp_path / "data") as running:
        yield running
