"""Carries out the faults of a plan on a running platform, each at its instant. Used by the fault runs."""

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fault_clock import WallClock
from fault_disk import Disk
from fault_kinds import Fault
from fault_plan import Plan
from fault_plc import Plc
from fault_senders import Timeline

from haechi.core.errors import Unavailable
from haechi.testing.platform import Platform

APPEARS_S = 5.0  # a role that is being restarted is waited for that long
START_TRIES = 15
SENDERS_GO_ON_S = 1.5  # of each start: what they send then finds nobody


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to be broken. Without a disk or a clock of its own a run leaves their faults out."""

    platform: Platform
    plc: Plc
    disk: Disk | None = None
    clock: WallClock | None = None


class Saboteur(threading.Thread):
    """`journal` says what was done and when, for the report of a failure; `done` counts it by kind."""

    def __init__(self, scene: Scene, plan: Plan, timeline: Timeline) -> None:
        super().__init__(name="saboteur", daemon=True)
        self._scene, self._platform, self._plan, self._time = scene, scene.platform, plan, timeline
        self.journal: list[str] = []
        self.done: Counter[str] = Counter()
        self.error: Exception | None = None
        self._ending: list[threading.Timer] = []
        self._by_kind: Mapping[str, Callable[[Fault], None]] = {
            "kill": self._kill,
            "kill_twice": self._kill_twice,
            "hang": self._hang,
            "lock": self._lock,
            "mute": self._mute,
        }

    def run(self) -> None:
        try:
            for fault in self._plan.faults:
                self._time.wait(fault.at_ms)
                self._do(fault)
            for timer in self._ending:
                timer.join()
        except Exception as error:  # shown by the run as its failure
            self.error = error

    def _do(self, fault: Fault) -> None:
        if fault.target == "clock":
            if self._scene.clock is not None:
                self._scene.clock.set(fault.amount)
                self._note("jump", f"the clock is {fault.amount:+d} s")
        elif fault.target == "disk":
            if self._scene.disk is not None:
                self._disk(self._scene.disk, fault)
        else:
            self._by_kind[fault.kind](fault)

    # --- processes ---

    def _kill(self, fault: Fault) -> None:
        if fault.target == "supervisor":
            self._kill_everything()
            self._start()
        else:
            self._signal(fault.target, signal.SIGKILL)

    def _kill_twice(self, fault: Fault) -> None:
        self._signal(fault.target, signal.SIGKILL)
        time.sleep(fault.for_ms / 1000)
        self._signal(fault.target, signal.SIGKILL)

    def _hang(self, fault: Fault) -> None:
        pid = self._signal(fault.target, signal.SIGSTOP)
        if pid:
            self._later(fault, f"{pid} goes on", lambda: os.kill(pid, signal.SIGCONT))

    def _lock(self, fault: Fault) -> None:
        """A backup that holds its transaction open: whoever writes there waits."""
        db = sqlite3.connect(self._platform.data / fault.target, timeout=2, check_same_thread=False)
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:  # the disk is full, or gone
            self._note("", f"no lock on {fault.target}: {error}")
            db.close()
        else:
            self._note("lock", f"{fault.target} is locked")
            self._later(fault, f"{fault.target} is free", db.close)

    def _mute(self, fault: Fault) -> None:
        self._scene.plc.mute = True
        self._note("mute", "the PLC does not answer")
        self._later(fault, "the PLC answers", lambda: setattr(self._scene.plc, "mute", False))

    def _later(self, fault: Fault, what: str, work: Callable[[], object]) -> None:
        def end() -> None:
            with contextlib.suppress(ProcessLookupError):
                work()
            self._note("", what)

        timer = threading.Timer(fault.for_ms / 1000, end)
        timer.start()
        self._ending.append(timer)

    # --- the disk ---

    def _disk(self, disk: Disk, fault: Fault) -> None:
        if fault.kind in ("read_only", "unplug"):
            self._lose(disk, fault)
            return
        begin, end = {
            "full": (disk.fill, disk.empty),
            "slow": (lambda: disk.slow(fault.amount, 4096 * fault.amount), disk.fast),
            "freeze": (disk.freeze, disk.thaw),
        }[fault.kind]
        begin()
        self._note(fault.kind, f"the disk: {fault.kind}")
        self._later(fault, f"the disk is well again ({fault.kind})", end)

    def _lose(self, disk: Disk, fault: Fault) -> None:
        """What is open there is lost, so everything ends, and starts on what the disk has."""
        (disk.unplug if fault.kind == "unplug" else disk.read_only)()
        self._note(fault.kind, f"the disk: {fault.kind}")
        time.sleep(fault.for_ms / 1000)
        self._kill_everything()
        disk.replug()
        self._note("", "the disk is mounted again")
        self._start()

    def _kill_everything(self) -> None:
        pids = self._platform.pids()
        self._note("kill", f"SIGKILL supervisor {self._platform.kill_supervisor()}")
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _signal(self, role: str, number: signal.Signals) -> int:
        end = time.monotonic() + APPEARS_S
        while time.monotonic() < end:
            pid = self._platform.pids().get(role, 0)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                    self._note("hang" if number == signal.SIGSTOP else "kill", f"{number.name} {role} {pid}")
                    return pid
            time.sleep(0.1)
        self._note("", f"no {role} to send {number.name} to")
        return 0

    def _start(self) -> None:
        """As a machine's service manager does: again and again, until the ports and files of the dead are free."""
        began = time.monotonic()
        for left in range(START_TRIES, 0, -1):
            try:
                self._platform.start()
                break
            except Unavailable as error:
                if left == 1:
                    raise
                self._note("", f"does not start yet: {error}")
                time.sleep(1)
        self._time.stood_still(time.monotonic() - began - SENDERS_GO_ON_S)
        self._note("", "started again")

    def _note(self, kind: str, what: str) -> None:
        self.done.update([kind] if kind else [])
        self.journal.append(f"{self._time.now() * 1000:>7.0f} ms {what}")
