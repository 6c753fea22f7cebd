"""`haechi doctor` on a platform in trouble: a log that crawls or stands, a pipeline that stands, a full gateway."""

import asyncio
import json
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from haechi.testing.flood import Mqtt, Plan, Tally, packet, text
from haechi.testing.overload import stopped, throttled, until
from haechi.testing.platform import Platform

LOOKS = 5
# One value and three hundred nobody wants: to take it apart costs the gateway far more than sending it, or storing it.
BODY = json.dumps({"pressure": 400} | {f"other{one}": one for one in range(300)}).encode()


class Crowd(Mqtt):
    """One device that sends much in each message, as fast as it is read."""

    def message(self, number: int) -> bytes:
        return packet(0x32, text("city/RTU-1/P-1") + struct.pack(">H", number % 60_000 + 1) + BODY)


@contextmanager
def sending(platform: Platform) -> Iterator[Tally]:
    """Devices that send until the end of the block, and the answers that came."""
    ended, tally = threading.Event(), Tally()
    secret = platform.secret("RTU-1", "mqtt")

    async def send() -> None:
        loop, plan = asyncio.get_running_loop(), Plan(platform.ports, {}, 0, 0)
        crowd = Crowd("RTU-1", secret, plan, tally)
        await loop.create_connection(lambda: crowd, "127.0.0.1", platform.ports["mqtt"])
        await asyncio.to_thread(ended.wait)
        crowd.transport.abort()
        await crowd.done

    thread = threading.Thread(target=asyncio.run, args=(send(),), daemon=True)
    thread.start()
    try:
        until(lambda: tally.acknowledged > 0, 30, "nothing was acknowledged")
        yield tally
    finally:
        ended.set()
        thread.join(30)


def doctor(platform: Platform) -> str:
    """What it prints."""
    command = [sys.executable, "-m", "haechi", "doctor", "--data", str(platform.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def comes_to_say(platform: Platform, words: str) -> None:
    """The seconds it looks at may begin before the trouble is at its full."""
    for _ in range(LOOKS):
        if words in (said := doctor(platform)):
            return
    raise AssertionError(said)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.alone
def test_each_part_that_holds_up_the_others_is_named_with_what_to_do(tiny_city: Path, tmp_path: Path) -> None:
    link = tiny_city / "links" / "mqtt.toml"
    link.write_text(link.read_text("utf-8").replace('unmapped = "quarantine"', 'unmapped = "ignore"'), "utf-8")
    with Platform(tiny_city, tmp_path / "data") as platform:
        platform.request("GET", "/api/me")
        pids = platform.pids()
        assert "senders set the pace" in doctor(platform)

        with stopped(pids["nats-server"]):
            said = doctor(platform)
        assert "WRONG bottleneck nats-server: the process of nats-server is stopped" in said
        assert "kill -CONT" in said

        with stopped(pids["pipeline"]):
            assert "WRONG bottleneck pipeline: the process of pipeline is stopped" in doctor(platform)

        with sending(platform) as tally:
            until(lambda: tally.acknowledged > 500, 60, "the gateway takes nothing")
            comes_to_say(platform, "WRONG bottleneck gateway: the gateway ran")
            with throttled(pids["nats-server"], 0.1, 0.6):
                before = tally.acknowledged
                until(lambda: tally.acknowledged > before + 500, 60, "the log takes nothing")
                comes_to_say(platform, "WRONG bottleneck log: an append takes")
