"""`haechi-testbed replay`: sends a real data set through real sockets and counts what is acknowledged. For `cli`."""

from haechi_testbed.replay.command import add_parser, run

__all__ = ["add_parser", "run"]
