"""History on Apache Iceberg and DuckDB: `store.IcebergStore` for the one process that writes, `reader.IcebergFiles`
for all that read. Imports nothing here: a process that needs only the settings does without pyiceberg and DuckDB."""
