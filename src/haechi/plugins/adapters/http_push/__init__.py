"""The http_push adapter: devices and gateways that POST. `adapter.create` is found through manifest.toml."""
