"""The observations of some records as columns: what the evaluator goes through and what its memory journals.

Used by the evaluator, one `Run` for all records that wait together: columns cost a call each however many rows they
hold.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from haechi.services.watch.series import STALE_US, Series

LAYOUT = np.dtype(
    [("index", "<u4"), ("at", "<i8"), ("received", "<i8"), ("seq", "<i8"), ("value", "<f8"), ("quality", "u1")]
)
NOT_OURS = -1  # index of a row that no rule reads
Columns = tuple[Series | None, int, int, float, int]  # what is known, observed_at, received_at, value, quality


class Run:
    """Rows of some records, those alone whose attribute a rule reads.

    `indexes` is filled while rows are fed: one number of a series for each row. `others` holds what is not a number.
    """

    def __init__(self, batches: Sequence[tuple[int, pa.RecordBatch]], names: pa.Array, fresh: int) -> None:
        """`batches`: (seq, rows of it, at least one); `fresh`: what was received until then may end a silence."""
        whole = batches[0][1] if len(batches) == 1 else pa.concat_batches([one for _, one in batches])
        self.seqs, self.fresh = [seq for seq, _ in batches], fresh
        sizes = np.array([one.num_rows for _, one in batches])
        ends, received = np.cumsum(sizes), _instants(whole, "received_at")
        self.came_at: list[int] = np.maximum.reduceat(received, ends - sizes).tolist()  # newest arrival by record
        mask = pc.is_in(whole.column("attribute"), value_set=names)
        if mask.true_count < whole.num_rows:
            whole = whole.filter(mask)
            ends = np.concatenate(([0], np.cumsum(mask.to_numpy(zero_copy_only=False))))[ends]
            received = _instants(whole, "received_at")
        self._whole, self._at, self._received = whole, _instants(whole, "observed_at"), received
        self._ends: list[int] = [0, *ends.tolist()]
        self._units: list[str | None] | None = None
        self._texts: list[str | None] = whole.column("text").to_pylist()
        self.entities: list[str] = whole.column("entity").to_pylist()
        self.attributes: list[str] = whole.column("attribute").to_pylist()
        self.known: list[Series | None] = []  # of each row, as far as known before any was fed
        self._lists = self._listed()
        self.indexes: list[int] = []
        self.others: dict[int, Any] = {}

    def _listed(self) -> tuple[list[Any], ...]:
        """Columns as lists. The value of a row that needs a closer look in any case is not a number there: a text,
        what is stale, and what came before `fresh`."""
        column = self._whole.column("value")
        values = column.to_numpy(zero_copy_only=False)
        apart = (self._received - self._at > STALE_US) | (self._received <= self.fresh)
        texts = self._whole.column("text")
        if texts.null_count < len(texts):
            apart |= texts.is_valid().to_numpy(zero_copy_only=False)
        return (
            self._at.tolist(),
            self._received.tolist(),
            (np.where(apart, np.nan, values) if apart.any() else values).tolist(),
            self._whole.column("quality").to_pylist(),
        )

    def rows(self, number: int) -> Iterator[Columns]:
        """The rows of record `number` (from 0 on) in order."""
        start, end = self._ends[number], self._ends[number + 1]
        return zip(self.known[start:end], *[one[start:end] for one in self._lists], strict=True)

    def named(self, row: int) -> tuple[str, str]:
        """Entity and attribute."""
        return self.entities[row], self.attributes[row]

    def content(self, row: int, value: float) -> Any:
        """What was observed; `value` as `rows` gave it."""
        text = self._texts[row]
        if text is None:
            return value if value == value else self._whole.column("value")[row].as_py()  # noqa: PLR0124 - NaN
        found = orjson.loads(text)
        return float(found) if isinstance(found, int) and not isinstance(found, bool) else found

    def is_apart(self, at: int, received: int) -> bool:
        """Whether it is stale or came before `fresh`."""
        return received - at > STALE_US or received <= self.fresh

    def unit(self, row: int) -> str | None:
        if self._units is None:
            self._units = self._whole.column("unit").to_pylist()
        return self._units[row]

    def fed(self) -> tuple[npt.NDArray[np.void], dict[int, Any]]:
        """The rows of our series in `LAYOUT`, and by row what is not a number (0 in the column)."""
        assert len(self.indexes) == len(self._at), "every record of a run is fed before it is journalled"
        indexes = np.array(self.indexes, np.int64)
        ours = indexes != NOT_OURS
        block = np.zeros(len(indexes), LAYOUT)
        values = self._whole.column("value").to_numpy(zero_copy_only=False).astype(np.float64)
        values[list(self.others)] = 0.0
        sizes = np.diff(self._ends)
        columns = indexes, self._at, self._received, np.repeat(self.seqs, sizes), values, self._lists[3]
        for name, column in zip(LAYOUT.names or (), columns, strict=True):
            block[name] = column
        places = np.cumsum(ours) - 1
        others = {int(places[row]): content for row, content in self.others.items()}
        return block[ours], others


def _instants(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = batch.column(name).view(pa.int64()).to_numpy()
    return found
