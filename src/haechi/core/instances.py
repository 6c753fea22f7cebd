"""Instances of attributes as history keeps them where an observation cannot say all of it, and what was taken back.

The columns of the table `haechi.instances` and of what the temporal API reads; written by history, read by its readers.
"""

from dataclasses import dataclass

import pyarrow as pa

from haechi.core.observation import INSTANT

# What a row says happened. Only a `put` is an instance; the others say what became of earlier ones.
PUT, PATCH, DELETE, REPLACE, TYPE, FORGET = "put", "patch", "delete", "replace", "type", "forget"
ANY = "*"  # as dataset: all of them; "" is the default instance, as in the column

_SAID = (
    pa.field("entity", pa.string(), nullable=False),
    pa.field("attribute", pa.string(), nullable=False),  # "" where the row is about the entity
    pa.field("dataset", pa.string(), nullable=False),  # datasetId, "" for the default instance
    pa.field("observed_at", INSTANT, nullable=False),  # when it was said, where no observedAt was given
    pa.field("stated", pa.int32(), nullable=False),  # 1: observedAt was given
    pa.field("created_at", INSTANT, nullable=False),
    pa.field("modified_at", INSTANT, nullable=False),
    pa.field("kind", pa.string()),  # Property, Relationship, …
    pa.field("value", pa.float64()),
    pa.field("text", pa.string()),  # JSON where the content is no number
    pa.field("unit", pa.string()),
    pa.field("more", pa.string()),  # JSON: what else the stored instance holds (attributes of it, objectType, …)
    pa.field("instance", pa.string()),  # instanceId, where it does not follow from the rest
)
INSTANCES = pa.schema(
    [
        *_SAID,
        pa.field("act", pa.string(), nullable=False),
        pa.field("forgets", pa.int32(), nullable=False),  # 1 where `act` is FORGET: file statistics tell where
        pa.field("stored_at", INSTANT, nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("place", pa.int32(), nullable=False),  # order within a seq
    ]
)
NOTHING_SAID = INSTANCES.empty_table()
# What the temporal API reads: rows of observations and of instances as one.
EVOLUTION = pa.schema([*(one.with_nullable(True) for one in _SAID), pa.field("seq", pa.int64())])


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Rows taken back: of this entity, with a lower seq. Attribute "" means all; `observed_at` None: of any instant."""

    entity: str
    attribute: str
    dataset: str
    observed_at: int | None
    seq: int
