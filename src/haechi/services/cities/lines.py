"""The entities of a city as the bytes of their lines, so that a million of them take little more than their files do.
Filled by `facilities.py`; read by whoever walks through the facilities of a city."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, overload

import orjson

Entity = dict[str, Any]


class Lines(Sequence[Entity]):
    """Entities in NGSI-LD concise form, in the order they were added; each is parsed anew when it is asked for."""

    def __init__(self) -> None:
        self._files: list[bytes] = []
        self._firsts: list[int] = []  # number of the first entity of each file
        self._starts, self._ends = array("Q"), array("Q")

    def file(self, content: bytes) -> None:
        """What is added from now on lies in these bytes."""
        self._files.append(content)
        self._firsts.append(len(self._starts))

    def add(self, start: int, end: int) -> None:
        """One entity, by where it lies in the bytes of the last file."""
        self._starts.append(start)
        self._ends.append(end)

    def where(self, number: int) -> tuple[int, int]:
        """The file, counted from 0, and the line, counted from 1, of an entity."""
        file = bisect_right(self._firsts, number) - 1
        return file, self._files[file].count(b"\n", 0, self._starts[number]) + 1

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> Entity: ...

    @overload
    def __getitem__(self, place: slice) -> list[Entity]: ...

    def __getitem__(self, place: int | slice) -> Entity | list[Entity]:
        if isinstance(place, slice):
            return [self._parsed(number) for number in range(*place.indices(len(self)))]
        return self._parsed(range(len(self))[place])

    def _parsed(self, number: int) -> Entity:
        content = self._files[bisect_right(self._firsts, number) - 1]
        entity: Entity = orjson.loads(content[self._starts[number] : self._ends[number]])
        return entity
