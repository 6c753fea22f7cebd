"""Moves records from the log to projections and tells faces how far each has come."""
