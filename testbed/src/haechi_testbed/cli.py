"""The command `haechi-testbed`: runs the simulated city, breaks it on purpose and scores what the platform noticed."""

import argparse
import asyncio
import getpass
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from haechi_testbed import api, control, running
from haechi_testbed.clock import format_instant, parse_instant, parse_span
from haechi_testbed.faults import parse_name, read_truth
from haechi_testbed.part import Address
from haechi_testbed.scenario import read
from haechi_testbed.score import score
from haechi_testbed.worlds import gimpo

WORLDS = {"gimpo": gimpo.write}
RUNTIME = Path(tempfile.gettempdir()) / f"haechi-testbed-{getpass.getuser()}.json"
PASSWORD_VARIABLE = "HAECHI_PASSWORD"  # noqa: S105 - the name of a variable


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when all went well, 1 when not, 2 when the command line is wrong."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.do(options)
    except (ValueError, OSError, api.NotAnswered) as error:
        print(f"haechi-testbed: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="haechi-testbed", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a city's simulation until Ctrl-C")
    _add_city(run)
    run.add_argument("--seed", type=int, default=1)
    run.add_argument("--speed", type=float, default=1.0, help="how fast time passes")
    run.add_argument("--clock-start", help="where time starts (ISO 8601), as `haechi run --clock-start`; default now")
    run.set_defaults(do=_run)
    scenario = commands.add_parser("scenario", help="run a scenario file to its end")
    scenario.add_argument("file", type=Path)
    _add_city(scenario)
    scenario.add_argument("--speed", type=float, help="instead of the file's; the platform must run as fast")
    scenario.set_defaults(do=_scenario)
    fault = commands.add_parser("fault", help="break something in the running city: burst@pipe17")
    fault.add_argument("fault", help="<kind>@<target>")
    fault.add_argument("--after", default="0s", help="30s, 10m, 2h")
    fault.add_argument("--for", dest="span", help="how long; default until --end")
    fault.add_argument("--severity", type=float, default=1.0)
    fault.add_argument("--end", action="store_true", help="end it now")
    _add_control(fault)
    fault.set_defaults(do=_fault)
    _add_others(commands)
    return parser


def _add_others(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    scored = commands.add_parser("score", help="compare the platform's alarms with the faults that were real")
    scored.add_argument("truth", type=Path, help="ground truth written by run or scenario (--truth)")
    source = scored.add_mutually_exclusive_group(required=True)
    source.add_argument("--haechi", metavar="URL", help="read the alarms there, e.g. http://127.0.0.1:8026")
    source.add_argument("--alarms", type=Path, help='or in this file: {"alarms": [...]}')
    scored.add_argument("--user", default="admin", help=f"its password comes from ${PASSWORD_VARIABLE} or is asked for")
    scored.add_argument("--json", action="store_true", help="print JSON")
    scored.set_defaults(do=_score)
    world = commands.add_parser("world", help="generate a city package")
    world.add_argument("world", choices=sorted(WORLDS))
    world.add_argument("out", type=Path)
    world.add_argument("--seed", type=int, default=gimpo.SEED)
    world.set_defaults(do=_world)
    running.add_replay(commands)


def _add_city(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("city", type=Path, metavar="CITY_DIR")
    parser.add_argument("--credentials", type=Path, required=True, help="JSON {device: {link: secret}}")
    parser.add_argument("--mqtt", metavar="HOST:PORT", help="the same as --door water-mqtt=HOST:PORT")
    parser.add_argument("--hj212", metavar="HOST:PORT", help="the same as --door air-hj212=HOST:PORT")
    parser.add_argument(
        "--door", action="append", default=[], metavar="LINK=HOST:PORT", help="instead of what links/LINK.toml says"
    )
    parser.add_argument("--haechi", metavar="URL", help="keep time with the platform there (drills)")
    parser.add_argument("--user", default="admin", help=f"its password comes from ${PASSWORD_VARIABLE} or is asked for")
    parser.add_argument("--truth", type=Path, help="write every fault here, one JSON object a line")
    _add_control(parser)


def _add_control(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--control", type=int, metavar="PORT", help="of the control socket; default: any free one")
    parser.add_argument("--runtime", type=Path, default=RUNTIME, help="file that says where the control socket is")


def _run(options: argparse.Namespace) -> int:
    start = parse_instant(options.clock_start) if options.clock_start else int(time.time() * 1e6)
    if options.haechi:
        start = api.now_us(_account(options))
    return _simulate(options, running.Course(start, options.speed, options.seed, None, ()))


def _scenario(options: argparse.Namespace) -> int:
    plan = read(options.file)
    plan = replace(plan, speed=options.speed or plan.speed)
    end = plan.start_us + int(plan.duration_s * 1e6)
    course = running.Course(plan.start_us, plan.speed, plan.seed, end, plan.faults)
    if options.haechi:
        ahead_s = (plan.start_us - api.now_us(_account(options))) / 1e6
        if ahead_s < 0:
            needed = format_instant(plan.start_us - int((60 * plan.speed - ahead_s) * 1e6))
            raise ValueError(f"the platform's clock is past the scenario's start; run it with --clock-start {needed}")
        course = replace(course, wait_s=ahead_s / plan.speed)
    return _simulate(options, course)


def _moved(options: argparse.Namespace) -> dict[str, Address]:
    words = [f"water-mqtt={options.mqtt}"] if options.mqtt else []
    words += [f"air-hj212={options.hj212}"] if options.hj212 else []
    moved = {}
    for word in (*words, *options.door):
        link, _, where = word.partition("=")
        if not (options.city / "links" / f"{link}.toml").exists():
            raise ValueError(f"--door {word}: {options.city} has no links/{link}.toml; write LINK=HOST:PORT")
        moved[link] = running.address(where)
    return moved


def _simulate(options: argparse.Namespace, course: running.Course) -> int:
    doors = running.doors(options.city, _moved(options))
    site = running.Site(options.city, running.credentials(options.credentials), doors, options.truth)
    stopped = asyncio.Event()

    async def everything() -> int:
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, stopped.set)
        place = running.Control(options.control or 0, options.runtime)
        return await running.simulate(site, course, place, stopped, time.monotonic)

    return asyncio.run(everything())


def _fault(options: argparse.Namespace) -> int:
    parse_name(options.fault)
    question = {"do": "end" if options.end else "fault", "fault": options.fault, "severity": options.severity}
    question |= {"after_s": parse_span(options.after)} | ({"for_s": parse_span(options.span)} if options.span else {})
    reply = control.ask(options.runtime, options.control, question)
    if not reply["ok"]:
        raise ValueError(str(reply["error"]))
    print(f"{options.fault} {'ended' if options.end else 'begins at ' + reply['begins_at']}")
    return 0


def _score(options: argparse.Namespace) -> int:
    faults, ran = read_truth(options.truth.read_text("utf-8").splitlines())
    if options.alarms is not None:
        alarms = json.loads(options.alarms.read_text("utf-8"))["alarms"]
    else:
        alarms = api.alarms(_account(options))
    result = score(faults, alarms, ran)
    print(json.dumps(result.to_json(), ensure_ascii=False, indent=1) if options.json else result.text())
    return 0


def _account(options: argparse.Namespace) -> api.Account:
    password = os.environ.get(PASSWORD_VARIABLE) or getpass.getpass(f"password of {options.user}: ")
    return api.Account(options.haechi, options.user, password)


def _world(options: argparse.Namespace) -> int:
    for kind, count in WORLDS[options.world](options.out, options.seed).items():
        print(f"{kind:<28} {count:>6}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
