"""The observation: its columns (shape of every batch in the process, on the log and in history) and its hand-made form.

A number travels in `value`; anything else (text, boolean, object, geometry) as JSON in `text` with `value` null.
"""

from typing import Any

import msgspec
import orjson
import pyarrow as pa

INSTANT = pa.timestamp("us", "UTC")

SCHEMA = pa.schema(
    [
        pa.field("entity", pa.string(), nullable=False),  # URN of the entity
        pa.field("attribute", pa.string(), nullable=False),  # internal attribute name (docs/reference/log.md)
        pa.field("observed_at", INSTANT, nullable=False),  # the device's clock
        pa.field("received_at", INSTANT, nullable=False),  # our socket
        pa.field("value", pa.float64()),
        pa.field("text", pa.string()),  # a JSON value where the observation is not a number
        pa.field("unit", pa.string()),  # UN/CEFACT common code, None for counts and words
        pa.field("quality", pa.uint8(), nullable=False),  # core.quality.Quality
        pa.field("link", pa.string(), nullable=False),  # which link of the city brought it; "api" for faces
    ]
)

# A row of history: what the log adds to an observation once it is stored.
STORED = SCHEMA.append(pa.field("stored_at", INSTANT, nullable=False)).append(
    pa.field("seq", pa.int64(), nullable=False)
)


class Observation(msgspec.Struct, frozen=True):
    """One value of one attribute of one entity at one instant. Instants in microseconds since the epoch, UTC."""

    entity: str
    attribute: str
    observed_at: int
    received_at: int
    value: float | None = None
    text: str | None = None
    unit: str | None = None
    quality: int = 0
    link: str = "api"

    @property
    def content(self) -> Any:
        """The value as Python has it: a float, or what the JSON in `text` says."""
        return self.value if self.text is None else orjson.loads(self.text)


def to_batch(observations: list[Observation]) -> pa.RecordBatch:
    """Columns of a list of observations, in `SCHEMA`, order kept."""
    rows = [msgspec.structs.astuple(one) for one in observations]
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def from_batch(batch: pa.RecordBatch) -> list[Observation]:
    """Hand-made observations of a batch; for edges and tests, never for the hot path."""
    instants = {"observed_at", "received_at"}
    columns = [
        batch.column(name).cast(pa.int64()).to_pylist() if name in instants else batch.column(name).to_pylist()
        for name in SCHEMA.names
    ]
    return [Observation(*row) for row in zip(*columns, strict=True)]
