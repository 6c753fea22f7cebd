"""What the Iceberg tables look like: columns, partitions, properties. Used by whatever in this folder writes or
reads them.

`observations` holds every row; `hourly` holds partial sums per series and hour, which add up to the same answers;
`instances` holds what of the NGSI-LD API no observation can say, and what was taken back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import pyarrow as pa
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform, MonthTransform, Transform
from pyiceberg.types import DoubleType, IntegerType, LongType, NestedField, PrimitiveType, StringType, TimestamptzType

from haechi.core.instances import INSTANCES as INSTANCE_COLUMNS
from haechi.core.observation import INSTANT

HOUR = 3_600_000_000
POSITION = "haechi.position"
LINKS = "haechi.links"


@dataclass(frozen=True, slots=True)
class TableLayout:
    """One table. `time` is the column it is partitioned and pruned by, `flag` the one whose maximum says "has
    corrections".
    """

    name: str
    columns: pa.Schema
    time: str
    flag: str
    transform: Transform[int, int]
    folder: str
    order: tuple[str, ...]

    @property
    def schema(self) -> Schema:
        """The Iceberg schema; field ids are positions, starting at 1."""
        fields = [
            NestedField(number, field.name, _iceberg(field.type), required=not field.nullable)
            for number, field in enumerate(self.columns, start=1)
        ]
        return Schema(*fields)

    def field_id(self, name: str) -> int:
        """Iceberg id of a column, which keys the statistics of a file."""
        return int(self.columns.get_field_index(name)) + 1

    @property
    def partitions(self) -> PartitionSpec:
        return PartitionSpec(PartitionField(self.field_id(self.time), 1000, self.transform, self.folder))

    @property
    def sort_order(self) -> SortOrder:
        ascending = (SortDirection.ASC, NullOrder.NULLS_FIRST)
        return SortOrder(*(SortField(self.field_id(name), IdentityTransform(), *ascending) for name in self.order))

    @property
    def properties(self) -> dict[str, str]:
        return {
            "format-version": "2",
            "write.parquet.compression-codec": "zstd",
            "write.parquet.row-group-limit": "65536",  # what one series costs to read
            "write.metadata.metrics.column.entity": "full",  # URNs differ after the first 16 characters
            "write.metadata.metrics.column.text": "none",
            "commit.manifest-merge.enabled": "true",
            "commit.manifest.min-count-to-merge": "10",
            "commit.manifest.target-size-bytes": "262144",  # some 800 files: old days stay in manifests nobody opens
            "write.metadata.delete-after-commit.enabled": "true",
            "write.metadata.previous-versions-max": "20",
        }


def _iceberg(kind: pa.DataType) -> PrimitiveType:
    names = {pa.string(): StringType(), pa.float64(): DoubleType(), pa.int32(): IntegerType(), pa.int64(): LongType()}
    return TimestamptzType() if kind == INSTANT else names[kind]


def _columns(*fields: tuple[str, pa.DataType, bool]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=nullable) for name, kind, nullable in fields])


OBSERVATIONS = TableLayout(
    name="observations",
    columns=_columns(
        ("entity", pa.string(), False),
        ("attribute", pa.string(), False),
        ("observed_at", INSTANT, False),
        ("received_at", INSTANT, False),
        ("value", pa.float64(), True),
        ("text", pa.string(), True),
        ("unit", pa.string(), True),
        ("quality", pa.int32(), False),
        ("link", pa.string(), False),
        ("stored_at", INSTANT, False),
        ("seq", pa.int64(), False),
        (
            "revision",
            pa.int32(),
            False,
        ),  # 0: first value of its instant; the highest of an instant is the one that holds
    ),
    time="observed_at",
    flag="revision",
    transform=DayTransform(),
    folder="day",
    order=("entity", "attribute", "observed_at", "revision"),
)

HOURLY = TableLayout(
    name="hourly",
    columns=_columns(
        ("entity", pa.string(), False),
        ("attribute", pa.string(), False),
        ("hour_at", INSTANT, False),
        ("rows", pa.int64(), False),  # observations
        ("numbers", pa.int64(), False),  # those with a number
        ("total", pa.float64(), True),
        ("low", pa.float64(), True),
        ("high", pa.float64(), True),
        ("first_value", pa.float64(), True),
        ("first_at", INSTANT, True),
        ("last_value", pa.float64(), True),
        ("last_at", INSTANT, True),
        (
            "revised",
            pa.int64(),
            False,
        ),  # rows with revision > 0: the sums of this hour are then taken from observations
        ("seq", pa.int64(), False),  # highest seq summed up here
    ),
    time="hour_at",
    flag="revised",
    transform=MonthTransform(),
    folder="month",
    order=("entity", "attribute", "hour_at"),
)


INSTANCES = TableLayout(
    name="instances",
    columns=INSTANCE_COLUMNS,
    time="observed_at",
    flag="forgets",
    transform=DayTransform(),
    folder="day",
    order=("entity", "attribute", "observed_at", "seq", "place"),
)


def counters(properties: Mapping[str, str]) -> dict[str, tuple[int, int, int]]:
    """The counters per link as a commit carries them."""
    return {link: (one[0], one[1], one[2]) for link, one in orjson.loads(properties.get(LINKS, "{}")).items()}
