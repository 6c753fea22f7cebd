"""History on Apache Iceberg and DuckDB: `IcebergStore` for the one process that writes, `IcebergFiles` for all that read."""

from haechi.plugins.stores.iceberg.reader import IcebergFiles
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.iceberg.store import IcebergStore

__all__ = ["HistorySettings", "IcebergFiles", "IcebergStore"]
