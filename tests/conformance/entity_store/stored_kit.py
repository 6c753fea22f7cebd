"""One live model for the tests of its store: how it is opened, and what is put in."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from haechi.core.values import Values
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.ports import EntityQuery


class SqliteCase:
    """Opens the writer and readers of one live model."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "entities.db"

    def writer(self) -> SqliteEntities:
        return SqliteEntities(self.path)

    def reader(self) -> SqliteEntities:
        return SqliteEntities(self.path, read_only=True)


STORES: dict[str, Callable[[Path], SqliteCase]] = {"sqlite": SqliteCase}


def entity(
    number: int, types: tuple[str, ...] = ("Sensor",), geometry: Any = None, **attributes: Any
) -> dict[str, Any]:
    attrs: dict[str, Any] = {name: [{"type": "Property", "value": value}] for name, value in attributes.items()}
    if geometry is not None:
        geometry = {"type": "Point", "coordinates": list(geometry)} if isinstance(geometry, tuple) else geometry
        attrs["location"] = [{"type": "GeoProperty", "value": geometry}]
    return {
        "id": f"urn:ngsi-ld:{types[0]}:{number}",
        "type": list(types),
        "createdAt": 1,
        "modifiedAt": 1,
        "attrs": attrs,
    }


def put(store: SqliteEntities, *entities: dict[str, Any], position: int = 1) -> None:
    store.apply({one["id"]: one for one in entities}, position)


def ids(store: SqliteEntities, **query: Any) -> list[str]:
    return [one["id"].rpartition(":")[2] for one in store.query(EntityQuery(**query)).entities]


def values(observed_at: int, numbers: Sequence[int], content: Any, attribute: str = "x") -> Values:
    """That content of that attribute of `Sensor` entities."""
    ids = [f"urn:ngsi-ld:Sensor:{number}" for number in numbers]
    count = len(ids)
    instants, none = np.full(count, observed_at), np.zeros(count, dtype=np.int64)
    contents, units = np.full(count, content, dtype=object), np.full(count, "CEL", dtype=object)
    return Values(ids, [attribute], np.arange(count), none, instants, contents, units, none, at=observed_at)


def value_of(store: SqliteEntities, number: int, attribute: str = "x") -> Any:
    id = f"urn:ngsi-ld:Sensor:{number}"
    return orjson.loads(store.load([id])[id])["attrs"][attribute][0]["value"]
