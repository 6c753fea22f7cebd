"""`haechi run`: becomes the supervisor of a city, or one of its roles. Imports no engine before it has said how little
memory that may take."""

import argparse
from importlib import import_module

from haechi.app import thrift
from haechi.app.events import configure


def run(arguments: argparse.Namespace) -> int:
    """Runs a city until Ctrl-C, or one role of it."""
    configure()
    thrift.spare()
    name = "role" if arguments.role else "start"
    return int(import_module(f"haechi.app.commands.{name}").run(arguments))
