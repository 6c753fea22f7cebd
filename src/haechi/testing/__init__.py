"""The public test kit: a clock that stands, and a whole platform started as a user would start it."""
