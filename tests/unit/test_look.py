"""What `haechi doctor` sees of the processes: whoever is stopped, the supervisor too, is said to be."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from haechi.app.bottleneck import Look, verdicts
from haechi.app.look import states_of


@pytest.fixture
def stopped() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    yield process.pid
    process.kill()
    process.wait(20)


@pytest.mark.skipif(sys.platform != "linux", reason="states are read from /proc")
def test_a_supervisor_that_is_stopped_is_named_though_every_role_goes_on(stopped: int) -> None:
    states = states_of({"api": os.getpid()}, stopped)
    assert states["supervisor"] == "stopped"
    (first, *_) = verdicts(Look(3.0, {}, states))
    assert (first.part, "kill -CONT" in first.move) == ("supervisor", True)


def test_without_a_supervisor_the_roles_are_looked_at_all_the_same() -> None:
    assert set(states_of({"api": os.getpid()}, None)) == {"api"}
