"""The opcua adapter: servers of OPC UA, subscribed to. `adapter.create` is found through manifest.toml."""
