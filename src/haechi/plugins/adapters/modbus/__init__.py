"""The modbus adapter: PLCs over Modbus TCP and RTU over TCP. `adapter.create` is found through manifest.toml."""
