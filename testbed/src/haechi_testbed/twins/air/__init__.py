"""The air over a city as physics: Gaussian puffs from stacks in changing wind. README.md: the format of air.toml."""
