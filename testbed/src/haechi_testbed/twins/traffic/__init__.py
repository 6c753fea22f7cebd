"""The roads of a city as physics: a cell transmission model with signals. README.md: the format of traffic.toml."""
