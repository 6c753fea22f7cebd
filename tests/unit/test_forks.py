"""Roles as copies of the process that checked the city: their exit codes, their signals, their names."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haechi.app import forks, processes, thrift

# A process of its own without threads, as `haechi run` is where it forks.
SCRIPT = """
import asyncio, os, signal, sys, time
from haechi.app import forks, processes

def role():
    processes.take_name("gateway")
    os.write(1, f"role {{os.getpid()}}\\n".encode())  # at once, or a signal leaves half a line
    {role}

forks.hold_signals()
pid = forks.fork(role)

async def supervise():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    one = forks.Forked(pid)
    forks.release_signals()
    {then}
    print("code", await one.wait(), one.returncode, flush=True)

asyncio.run(supervise())
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="roles are tied to their supervisor on Linux")


def ran(role: str, then: str = "pass") -> list[str]:
    script = SCRIPT.format(role=role, then=then)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("role", "code"),
    [
        ("return 78", "78"),
        ("sys.exit(3)", "3"),
        ("raise ZeroDivisionError", "1"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "-9"),
    ],
)
def test_the_supervisor_hears_how_a_role_ended(role: str, code: str) -> None:
    assert ran(role)[-1] == f"code {code} {code}"


def test_a_role_can_be_asked_to_stop_while_its_supervisor_still_holds_signals_back() -> None:
    assert ran("time.sleep(60)", "one.send_signal(signal.SIGTERM)")[-1] == "code -15 -15"


@pytest.fixture
def supervisor() -> Iterator["subprocess.Popen[str]"]:
    script = SCRIPT.format(role="time.sleep(60)", then="pass")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_role_has_a_name_and_ends_with_its_killed_supervisor(supervisor: "subprocess.Popen[str]") -> None:
    assert supervisor.stdout is not None
    role = int(supervisor.stdout.readline().split()[1])
    assert processes.children(supervisor.pid) == {"gateway": role}
    supervisor.kill()
    end = time.monotonic() + 30
    while Path(f"/proc/{role}").exists() and processes.state(role) != "dead":
        assert time.monotonic() < end
        time.sleep(0.01)


async def test_a_second_question_after_the_end_is_answered_at_once() -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)  # noqa: ASYNC221 - it does not wait
    one = forks.Forked(pid)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(one.wait(), 0.01)
    one.kill()
    assert await one.wait() == -signal.SIGKILL
    assert await one.wait() == one.returncode


def test_what_is_loaded_before_the_roles_part_starts_no_thread() -> None:
    script = """
import os
from haechi.app import thrift
thrift.spare()
from haechi.app.commands import start
for name in start.SHARED:
    start.body_of(name)
print(len(os.listdir("/proc/self/task")))
"""
    environment = {name: value for name, value in os.environ.items() if name not in thrift.SINGLE}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    assert done.stdout.strip() == "1"
