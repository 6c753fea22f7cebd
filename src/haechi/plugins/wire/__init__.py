"""What speaks a protocol and would not fit beside the adapter or codec that uses it (docs/decisions/007)."""
