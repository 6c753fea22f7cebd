"""Carries out the faults of a plan on a running platform, each at its instant. Used by the fault runs."""

import contextlib
import os
import signal
import threading
import time

from fault_plan import Fault, Plan

from haechi.core.errors import Unavailable
from haechi.testing.platform import Platform

APPEARS_S = 5.0  # a role that is being restarted is waited for that long
START_TRIES = 5


class Saboteur(threading.Thread):
    """`journal` says what was done and when, for the report of a failure."""

    def __init__(self, platform: Platform, plan: Plan, begun: float) -> None:
        super().__init__(name="saboteur", daemon=True)
        self._platform, self._plan, self._begun = platform, plan, begun
        self.journal: list[str] = []
        self.error: Exception | None = None
        self._resuming: list[threading.Timer] = []

    def run(self) -> None:
        try:
            for fault in self._plan.faults:
                time.sleep(max(0.0, self._begun + fault.at_ms / 1000 - time.monotonic()))
                self._do(fault)
            for timer in self._resuming:
                timer.join()
        except Exception as error:  # shown by the run as its failure
            self.error = error

    def _do(self, fault: Fault) -> None:
        if fault.role == "supervisor":
            self._restart_all()
        elif fault.kind == "hang":
            self._hang(fault)
        else:
            self._signal(fault.role, signal.SIGKILL)
            if fault.kind == "kill_twice":
                time.sleep(fault.for_ms / 1000)
                self._signal(fault.role, signal.SIGKILL)

    def _hang(self, fault: Fault) -> None:
        pid = self._signal(fault.role, signal.SIGSTOP)
        if pid:
            timer = threading.Timer(fault.for_ms / 1000, self._resume, (pid,))
            timer.start()
            self._resuming.append(timer)

    def _resume(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
            self._note(f"{pid} goes on")

    def _signal(self, role: str, number: signal.Signals) -> int:
        end = time.monotonic() + APPEARS_S
        while time.monotonic() < end:
            pid = self._platform.pids().get(role, 0)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                    self._note(f"{number.name} {role} {pid}")
                    return pid
            time.sleep(0.02)
        self._note(f"no {role} to send {number.name} to")
        return 0

    def _restart_all(self) -> None:
        """As a machine's service manager does: again and again, until the ports and files of the dead are free."""
        pid = self._platform.kill_supervisor()
        self._note(f"SIGKILL supervisor {pid}")
        for left in range(START_TRIES, 0, -1):
            try:
                self._platform.start()
                break
            except Unavailable:
                if left == 1:
                    raise
                self._note("does not start yet")
                time.sleep(1)

    def _note(self, what: str) -> None:
        self.journal.append(f"{(time.monotonic() - self._begun) * 1000:>7.0f} ms {what}")
