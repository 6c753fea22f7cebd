"""The command `haechi`: reads arguments and hands them to `haechi.app.commands`. Every command says what to do when
it cannot."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from haechi.core.errors import HaechiError

DATA = Path("data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code (0 good, 1 the answer is bad news, 2 wrong use or a clear error)."""
    chosen = parser().parse_args(arguments)
    module, _, function = chosen.handler.partition(":")
    if hasattr(chosen, "data"):
        os.umask(0o077)  # what the platform writes holds secrets and people's names: its owner's alone
    try:
        handler = getattr(import_module(f"haechi.app.commands.{module}"), function)
        return int(handler(chosen))
    except HaechiError as error:
        print(f"haechi: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="haechi", description="The integrated safety and big-data platform of a smart city."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    check = _add(commands, "check", "check:check", "name every mistake of a city package")
    check.add_argument("city", type=Path, metavar="CITY_DIR")
    for name, text in (
        ("account", "the balance of received, stored, rejected, quarantined"),
        ("doctor", "what is wrong and what to do"),
    ):
        _add_data(_add(commands, name, f"{name}:{name}", text))
    _add_quarantine(commands)
    _add_device(commands)
    _add_user(commands)
    _add_token(commands)
    new = _add(
        commands,
        "new",
        "new:new",
        "write the folder of a new plug-in or city, with a case that fails until it is filled",
    )
    new.add_argument("kind", choices=("adapter", "detector", "domain", "city"))
    new.add_argument("name")
    new.add_argument("--into", type=Path, help="folder to write into (default: where that kind lives)")
    return top


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, handler: str, text: str
) -> argparse.ArgumentParser:
    one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    one.set_defaults(handler=handler)
    return one


def _add_data(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--data", type=Path, default=DATA, metavar="DIR", help="holds everything the platform writes (default: data)"
    )


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = _add(commands, "run", "run:run", "run a city")
    run.add_argument("city", type=Path, nargs="?", metavar="CITY_DIR")
    _add_data(run)
    run.add_argument(
        "--http", default="127.0.0.1:8026", metavar="HOST:PORT", help="console and APIs (default: 127.0.0.1:8026)"
    )
    run.add_argument(
        "--role",
        choices=("gateway", "pipeline", "api"),
        help="run only this role of the city that runs in --data",
    )
    run.add_argument(
        "--durability",
        choices=("disk", "os"),
        default="disk",
        help="what an acknowledgement survives (docs/operate/durability.md)",
    )
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="LINK.KEY=VALUE",
        help="change one setting of a link, e.g. water.port=1884",
    )
    run.add_argument(
        "--temporal-instances",
        type=int,
        default=10_000,
        help="attribute instances in one answer of the temporal API; longer ones come in parts (default: 10000)",
    )
    run.add_argument(
        "--retention-days", type=int, default=0, help="history older than this is deleted (default: 0, nothing is)"
    )
    run.add_argument(
        "--log-gib", type=int, default=20, metavar="N", help="the log refuses what is new beyond that (default: 20)"
    )
    run.add_argument("--clock-start", metavar="ISO", help="drill: the platform's clock starts here")
    run.add_argument("--clock-speed", type=float, default=1.0, metavar="N", help="drill: and runs N times as fast")


def _add_quarantine(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    top = commands.add_parser("quarantine", help="messages that could not be understood")
    actions = top.add_subparsers(required=True, metavar="ACTION")
    listing = _add(actions, "list", "account:quarantine_list", "the messages in quarantine")
    show = _add(actions, "show", "account:quarantine_show", "one message, whole")
    replay = _add(
        actions, "replay", "account:quarantine_replay", "bring messages back with the city's mapping as it is now"
    )
    show.add_argument("id")
    replay.add_argument("ids", nargs="*", metavar="ID", help="default: all")
    for one in (listing, replay):
        one.add_argument("--link", help="only messages of this link")
    for one in (listing, show, replay):
        _add_data(one)


def _add_device(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    top = commands.add_parser("device", help="the credentials of devices")
    actions = top.add_subparsers(required=True, metavar="ACTION")
    issue = _add(
        actions, "issue", "people:device_issue", "make secrets for the city's devices; they are shown this once"
    )
    issue.add_argument("city", type=Path, metavar="CITY_DIR")
    issue.add_argument("devices", nargs="*", metavar="DEVICE", help="default: every device of the city that has none")
    issue.add_argument(
        "--out", type=Path, metavar="FILE", help="write them as JSON, readable by you alone, instead of printing"
    )
    listing = _add(actions, "list", "people:device_list", "the registered devices")
    switch = _add(actions, "disable", "people:device_disable", "shut a device out")
    again = _add(actions, "enable", "people:device_enable", "let a device in again")
    for one in (switch, again):
        one.add_argument("device")
    for one in (issue, listing, switch, again):
        _add_data(one)


def _add_user(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    top = commands.add_parser("user", help="the people who work with the console")
    actions = top.add_subparsers(required=True, metavar="ACTION")
    add = _add(actions, "add", "people:user_add", "add a person; the password is made and printed once")
    add.add_argument("user")
    add.add_argument("--role", choices=("viewer", "operator", "supervisor", "admin"), default="operator")
    add.add_argument("--name", default="")
    listing = _add(actions, "list", "people:user_list", "the people")
    password = _add(actions, "password", "people:user_password", "make a new password and print it once")
    password.add_argument("user")
    for one in (add, listing, password):
        _add_data(one)


def _add_token(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    top = commands.add_parser("token", help="tokens of programs that may see one thing, e.g. Prometheus")
    actions = top.add_subparsers(required=True, metavar="ACTION")
    create = _add(actions, "create", "people:token_create", "make a token; it is shown this once")
    create.add_argument("name")
    create.add_argument("--scope", choices=("metrics",), default="metrics", help="what it opens (default: metrics)")
    create.add_argument("--days", type=int, default=365, help="how long it holds (default: 365)")
    create.add_argument("--out", type=Path, metavar="FILE", help="write it there, readable by you alone")
    listing = _add(actions, "list", "people:token_list", "the tokens")
    revoke = _add(actions, "revoke", "people:token_revoke", "end a token at once")
    revoke.add_argument("name")
    for one in (create, listing, revoke):
        _add_data(one)


if __name__ == "__main__":
    sys.exit(main())
