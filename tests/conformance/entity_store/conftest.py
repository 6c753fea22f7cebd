"""Every test of a store runs with each of `STORES`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from stored_kit import STORES, SqliteCase

from haechi.plugins.stores.sqlite.entities import SqliteEntities


@pytest.fixture(params=sorted(STORES))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> SqliteCase:
    return STORES[request.param](tmp_path)


@pytest.fixture
def store(case: SqliteCase) -> Iterator[SqliteEntities]:
    opened = case.writer()
    yield opened
    opened.close()
