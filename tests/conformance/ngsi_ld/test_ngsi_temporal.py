"""Temporal evolution of entities (clauses 5.6.11 to 5.6.16, 5.7.3, 5.7.4), from the tail of history and from files."""

from typing import Any

import pytest
from conftest_temporal import Evolving, at, values

BUS = "urn:ngsi-ld:Bus:1"


def plain(instances: list[dict[str, Any]]) -> list[tuple[Any, str]]:
    """Value and instant of each."""
    return [(one["value"], one["observedAt"]) for one in instances]


@pytest.mark.parametrize("settled", [False, True])
async def test_what_is_recorded_is_read_back_in_order_of_time_007_01_020_01(evolving: Evolving, settled: bool) -> None:
    await evolving.record(
        BUS,
        speed=values((80, 5), (120, 3)),
        name=[{"type": "LanguageProperty", "languageMap": {"ko": "버스"}, "observedAt": at(1)}],
    )
    if settled:
        evolving.settle()
    found = await evolving.get(f"/{BUS}")
    assert plain(found["speed"]) == [(120, at(3)), (80, at(5))]
    assert found["name"][0]["languageMap"] == {"ko": "버스"}
    assert len({one["instanceId"] for one in found["speed"]}) == 2
