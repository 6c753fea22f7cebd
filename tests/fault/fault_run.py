"""One fault run: plan, platform, senders, faults, then what was promised against what is there. Used by the tests and
by `make soak`."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from itertools import groupby
from pathlib import Path

from fault_checks import Found, Promise, problems
from fault_city import FIRST, build, entity_of
from fault_faults import Saboteur
from fault_plan import DOORS, Plan, Send, describe
from fault_rogues import Rogue
from fault_senders import MqttSender, PushSender, Sender, Stage, post
from fault_shown import look, settled

from haechi.testing.platform import Platform

SETTLE_S = 60.0
WHOLE = ("whole", "malformed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problems` is empty when the platform kept every promise; the rest says how it came about."""

    plan: Plan
    problems: list[str]
    promise: Promise
    found: Found
    journal: list[str]
    seconds: float

    def report(self) -> str:
        """For people: everything needed to see the failure again."""
        counts = (
            f"  {len(self.promise.acknowledged)} acknowledged of {len(self.promise.sent)} sent, {self.seconds:.0f} s"
        )
        shown = [*self.problems[:20], *([f"and {len(self.problems) - 20} more"] if len(self.problems) > 20 else [])]
        return "\n".join([describe(self.plan), *(f"  {one}" for one in self.journal), counts, *shown])


class Operator(threading.Thread):
    """Writes notes into an incident; a note without an answer is in doubt and not written again."""

    def __init__(self, stage: Stage, plan: Plan, incident: str) -> None:
        super().__init__(name="operator", daemon=True)
        self._stage, self._plan, self._incident = stage, plan, incident
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()

    def run(self) -> None:
        for number, at_ms in enumerate(self._plan.notes_ms):
            self._stage.wait(at_ms)
            text = f"note {number}"
            self.sent.add(text)
            try:
                self._stage.platform.request("POST", f"/api/incidents/{self._incident}/note", {"text": text})
            except (OSError, HTTPException):  # the api was killed, or answered that it cannot say
                continue
            self.acknowledged.add(text)


def run(plan: Plan, folder: Path, lie: bool = False) -> Outcome:
    """Runs a plan in an empty folder. With `lie` one device claims an acknowledgement it never got: the canary."""
    began = time.monotonic()
    with Platform(build(folder / "city"), folder / "data") as platform:
        stage = Stage(platform, int(time.time() * 1000), time.monotonic())
        promise = Promise(transitions={entity_of(series): count for series, count in plan.alarms})
        incident = _open_incident(stage, promise)
        stage = Stage(platform, stage.zero_ms, time.monotonic())
        saboteur, operator = Saboteur(platform, plan, stage.begun), Operator(stage, plan, incident)
        senders = _senders(stage, plan)
        for thread in (*senders, saboteur, operator):
            thread.start()
        for thread in (saboteur, operator, *senders):
            thread.join()
        _collect(stage, promise, senders, operator)
        if lie:
            promise.acknowledged.add(stage.row(Send(0, "a", "P-1", -1, 300.0)))
        failures = [*(one.error for one in senders), saboteur.error]
        errors = [f"the harness itself failed: {one!r}" for one in failures if one]
        platform.wait_for(lambda: settled(platform), SETTLE_S, f"does not settle\n{describe(plan)}\n{saboteur.journal}")
        found = look(platform, incident, [entity_of(series) for series in (FIRST, *DOORS)])
    return Outcome(plan, errors + problems(promise, found), promise, found, saboteur.journal, time.monotonic() - began)


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
        senders.append((MqttSender if DOORS[sends[0].series] == "mqtt" else PushSender)(stage, sends))
    bad = [one for one in plan.sends if one.shape not in WHOLE]
    return [*senders, Rogue(stage, bad)] if bad else senders


def _collect(stage: Stage, promise: Promise, senders: Sequence[Sender], operator: Operator) -> None:
    for sender in senders:
        promise.sent |= {stage.row(one) for one in sender.sent if one.shape == "whole"}
        promise.acknowledged |= {stage.row(one) for one in sender.acknowledged if one.shape == "whole"}
        promise.kept |= {stage.payload(one) for one in sender.acknowledged if one.shape == "malformed"}
    promise.notes_sent, promise.notes_acknowledged = operator.sent, operator.acknowledged
