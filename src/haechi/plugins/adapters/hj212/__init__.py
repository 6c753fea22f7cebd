"""The hj212 adapter: pollution monitors over TCP. `adapter.create` is found through manifest.toml."""
