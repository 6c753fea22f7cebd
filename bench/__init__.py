"""Benchmarks: one command each, a peer or a limit in the same run, ratios. Nothing here asserts a time."""
