"""The newest observations of many series as columns: what context gives the live model's store at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Values:
    """Observations as columns, each series once: the newest of each, for the default instance of its attribute.

    `entity` and `attribute` index the names. `content` holds a number, None, or JSON as text. Instants in microseconds.
    """

    entities: Sequence[str]
    attributes: Sequence[str]
    entity: NDArray[np.int64]
    attribute: NDArray[np.int64]
    observed_at: NDArray[np.int64]
    content: NDArray[np.object_]
    unit: NDArray[np.object_]
    quality: NDArray[np.int64]
    at: int  # when they became part of the live model

    def __len__(self) -> int:
        return len(self.entity)

    def where(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Values":
        """Only these rows."""
        return replace(
            self,
            entity=self.entity[rows],
            attribute=self.attribute[rows],
            observed_at=self.observed_at[rows],
            content=self.content[rows],
            unit=self.unit[rows],
            quality=self.quality[rows],
        )
