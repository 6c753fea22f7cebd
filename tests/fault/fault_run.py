"""One fault run: plan, platform, senders, faults, then what was promised against what is there. Used by the tests and
by `make soak`."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from itertools import groupby
from pathlib import Path

from fault_checks import Found, Promise, problems
from fault_city import COUNTER, FIRST, PLC, build, entity_of
from fault_clock import WallClock, no_clock
from fault_deaf import Deaf
from fault_disk import Disk, missing
from fault_faults import Saboteur, Scene
from fault_hj212 import HjSender
from fault_people import Dispatcher, NoteTaker
from fault_plan import DOORS, Plan, Send, describe
from fault_plc import Plc
from fault_rogues import Rogue
from fault_senders import MqttSender, PushSender, Sender, Stage, Timeline, post
from fault_shown import look, settled, why_not

from haechi.app.supervisor import free_port
from haechi.core.errors import Unavailable
from haechi.testing.platform import Platform

SETTLE_S = 60.0
SENDERS_S = 180.0  # after the last fault has ended
LOOK_S = 0.3  # between two looks: looking costs the platform time
WHOLE = ("whole", "malformed")
_SENDERS = {"mqtt": MqttSender, "push": PushSender, "hj212": HjSender}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problems` is empty when the platform kept every promise; the rest says how it came about."""

    plan: Plan
    problems: list[str]
    promise: Promise
    found: Found
    journal: list[str]
    done: Mapping[str, int]  # faults by kind
    deaf: int  # connections of clients that never read
    seconds: float = 0.0

    def sums(self) -> Mapping[str, int]:
        """For a campaign's total."""
        kept = self.promise
        return {
            **self.done,
            "observations acknowledged": len(kept.acknowledged),
            "observations in history": len(self.found.history),
            "alarm transitions": sum(kept.transitions.values()),
            "notes acknowledged": len(kept.notes_acknowledged),
            "notes in the incident": len(self.found.notes),
            "messages in quarantine": len(self.found.quarantine),
            "setpoints asked": len(kept.asked),
            "setpoints verified": sum(one.state == "verified" for one in self.found.commands),
            "clients that never read": self.deaf,
            "seconds": round(self.seconds),
        }

    def report(self) -> str:
        """For people: everything needed to see the failure again."""
        counts = (
            f"  {len(self.promise.acknowledged)} acknowledged of {len(self.promise.sent)} sent, {self.seconds:.0f} s"
        )
        shown = [*self.problems[:20], *([f"and {len(self.problems) - 20} more"] if len(self.problems) > 20 else [])]
        return "\n".join([describe(self.plan), *(f"  {one}" for one in self.journal), counts, *shown])


def left_out(plan: Plan) -> list[str]:
    """Faults of the plan that cannot be had on this machine, and why."""
    reasons = {"disk": missing(), "clock": no_clock()}
    return [f"no faults of the {what}: {why}" for what, why in reasons.items() if why and plan.has(what)]


def run(plan: Plan, folder: Path, lie: bool = False) -> Outcome:
    """Runs a plan in an empty folder. With `lie` one device claims an acknowledgement it never got: the canary."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        scene = scene_of(stack, plan, folder)
        outcome = _run(scene, plan, lie)
    return replace(outcome, seconds=time.monotonic() - began)


def scene_of(stack: contextlib.ExitStack, plan: Plan, folder: Path) -> Scene:
    """A platform with a PLC, and a disk and a clock of its own where the plan breaks them."""
    data = folder / "data"
    disk = stack.enter_context(Disk(data, folder / "disk.img")) if plan.has("disk") and not missing() else None
    clock = WallClock(folder / "clock") if plan.has("clock") and not no_clock() else None
    plc = stack.enter_context(Plc(free_port()))
    city, options = build(folder / "city"), [f"--durability={plan.durability}"]

    def platform() -> Platform:
        found = Platform(city, data, options, clock.environment if clock else None)
        found.ports["plant"] = plc.port  # the adapter connects to it
        return found

    return Scene(_entered(stack, platform), plc, disk, clock)


def _entered(stack: contextlib.ExitStack, make: Callable[[], Platform]) -> Platform:
    """A platform that runs; another run beside this one may have taken a port that was free a moment ago."""
    platform = make()
    try:
        return stack.enter_context(platform)
    except Unavailable:
        platform.stop()
        return stack.enter_context(make())


def _run(scene: Scene, plan: Plan, lie: bool) -> Outcome:
    platform = scene.platform
    stage = Stage(platform, int(time.time()) * 1000, Timeline(time.monotonic()))
    promise = Promise(transitions={entity_of(series): count for series, count in plan.alarms})
    incident = _open_incident(stage, promise)
    stage = Stage(platform, stage.zero_ms, Timeline(time.monotonic()))
    saboteur, deaf = Saboteur(scene, plan, stage.time), Deaf(stage)
    notes, dispatcher = NoteTaker(stage, plan.notes_ms, incident), Dispatcher(stage, plan.setpoints_ms)
    senders = _senders(stage, plan)
    deaf.start()
    for thread in (*senders, saboteur, notes, dispatcher):
        thread.start()
    saboteur.join()
    _joined((notes, dispatcher, *senders), [*saboteur.journal])
    _collect(stage, promise, senders)
    promise.notes_sent, promise.notes_acknowledged = notes.sent, notes.acknowledged
    if lie:
        promise.acknowledged.add(stage.row(Send(0, "a", "P-1", -1, 300.0)))
    deaf.enough.set()
    _silence(scene, promise, dispatcher)
    failures = [*(one.error for one in senders), saboteur.error]
    errors = [f"the harness itself failed: {one!r}" for one in failures if one]
    _settle(platform, [*saboteur.journal, *notes.journal, *dispatcher.journal])
    found = look(platform, incident, (FIRST, *DOORS, PLC, COUNTER))
    deaf.end.set()
    journal = [*saboteur.journal, *notes.journal, *dispatcher.journal]
    return Outcome(plan, errors + problems(promise, found), promise, found, journal, saboteur.done, deaf.made)


def _joined(threads: Sequence[threading.Thread], journal: Sequence[str]) -> None:
    """Whoever sends goes on until the platform took it: one that is gone for good must not hold up the run for ever."""
    end = time.monotonic() + SENDERS_S
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    if left := [one.name for one in threads if one.is_alive()]:
        raise Unavailable("\n".join([f"{', '.join(left)}: not rid of what they have to send", *journal]))


def _settle(platform: Platform, journal: Sequence[str]) -> None:
    try:
        platform.wait_for(lambda: settled(platform, LOOK_S), SETTLE_S, "does not settle")
    except Unavailable as error:
        raise Unavailable("\n".join([f"{error}: {why_not(platform)}", *journal])) from error


def _silence(scene: Scene, promise: Promise, dispatcher: Dispatcher) -> None:
    """Once its last command has ended and it is polled again, the PLC is switched off: the log must come to rest."""
    platform, before = scene.platform, scene.plc.count
    platform.wait_for(lambda: scene.plc.count > before + 2, SETTLE_S, "the PLC is not polled any more")
    platform.wait_for(lambda: _commands_over(platform), SETTLE_S, "a command does not end")
    scene.plc.switch_off()
    promise.counter = entity_of(COUNTER)
    promise.asked, promise.written = dispatcher.asked, scene.plc.writes
    shown = {(entity_of(PLC), float(one)) for one in scene.plc.shown}
    promise.shown = frozenset(shown | {(entity_of(COUNTER), float(one)) for one in range(1, scene.plc.count + 1)})


def _commands_over(platform: Platform) -> bool:
    with contextlib.suppress(OSError, HTTPException):
        if not any(one["open"] for one in platform.request("GET", "/api/commands")["commands"]):
            return True
    time.sleep(LOOK_S)
    return False


def _open_incident(stage: Stage, promise: Promise) -> str:
    """The first sensor goes over the limit; the operator opens an incident about its alarm."""
    send = Send(0, "first", FIRST, 0, 1000.0)
    assert post(stage, send, stage.payload(send).encode()) == 200
    row = stage.row(send)
    promise.sent.add(row)
    promise.acknowledged.add(row)
    promise.transitions[row.entity] = 1
    platform = stage.platform
    alarms = platform.wait_for(lambda: platform.request("GET", "/api/alarms")["alarms"], 10, "the rule raised no alarm")
    return str(platform.request("POST", "/api/incidents", {"alarms": [alarms[0]["id"]]})["id"])


def _senders(stage: Stage, plan: Plan) -> list[Sender]:
    good = sorted((one for one in plan.sends if one.shape in WHOLE), key=lambda one: (one.connection, one))
    senders: list[Sender] = []
    for _, grouped in groupby(good, key=lambda one: one.connection):
        sends = list(grouped)
        senders.append(_SENDERS[DOORS[sends[0].series]](stage, sends))
    bad = [one for one in plan.sends if one.shape not in WHOLE]
    return [*senders, Rogue(stage, bad)] if bad else senders


def _collect(stage: Stage, promise: Promise, senders: Sequence[Sender]) -> None:
    for sender in senders:
        promise.sent |= {stage.row(one) for one in sender.sent if one.shape == "whole"}
        promise.acknowledged |= {stage.row(one) for one in sender.acknowledged if one.shape == "whole"}
        promise.kept |= {stage.payload(one) for one in sender.acknowledged if one.shape == "malformed"}
