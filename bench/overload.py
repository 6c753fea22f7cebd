"""More than the platform takes, through MQTT, HTTP push and HJ 212 at once: who is slowed, and what it costs.

The machine that also runs the senders cannot send ten times what the platform takes: nats-server runs for a fortieth
of the time here (a very slow disk), so that what the senders would send is ten times and more of what is taken. Then
the pipeline stands still for a while and catches up.
"""

import time
from pathlib import Path
from typing import Any

from bench._running import scratch
from haechi.testing import overload
from haechi.testing.overload import Flood, Memory, behind, until
from haechi.testing.platform import Platform

TINY = Path(__file__).parents[1] / "tests" / "cities" / "tiny"
FREE_S, SLOW_S, STILL_S = 6.0, 15.0, 8.0
DAY_MS = 86_400_000
RUN_S, STOP_S = 0.05, 1.95
SMALL = (
    "mqtt.gather_max=100 mqtt.pending_max=400 mqtt.receive_maximum=200 "
    "air.gather_max=100 air.pending_max=400 air.window=200"
)


def main() -> None:
    with scratch() as folder:
        city = overload.make_city(TINY, folder / "city")
        options = [f"--set={one}" for one in SMALL.split()]
        with Platform(city, folder / "data", options) as platform:
            measure(platform, folder)


def measure(platform: Platform, folder: Path) -> None:
    """One run, printed."""
    pids = platform.pids()
    platform.request("GET", "/api/me")
    with overload.watched(platform) as memory:
        before = memory.look()
        flood = Flood(platform, folder, FREE_S + SLOW_S + STILL_S, int(time.time() * 1000) - 2 * DAY_MS)
        free = (time.monotonic() + 2, time.monotonic() + FREE_S)
        time.sleep(FREE_S)
        with overload.throttled(pids["nats-server"], RUN_S, STOP_S):
            slow = (time.monotonic() + 2, time.monotonic() + SLOW_S)
            time.sleep(SLOW_S)
        with overload.stopped(pids["pipeline"]):
            time.sleep(STILL_S)
        found = flood.wait(300)
        drained_s = until(lambda: behind(platform) == 0, 300, "the backlog does not drain")
        after = memory.look()
    account = platform.request("GET", "/api/account")
    assert account["balanced"] and not found["unanswered"]
    show(found["tallies"], (free, slow), drained_s)
    remember(memory, before, after)


def show(tallies: dict[str, Any], spans: tuple[tuple[float, float], tuple[float, float]], drained_s: float) -> None:
    """What the senders wanted, what they got, how they were told."""
    offered, accepted = (overload.rate(tallies, *span) for span in spans)
    rows = [
        ("offered: sent when nothing holds the log down", f"{offered:,.0f}/s"),
        (f"accepted: nats-server runs {RUN_S / (RUN_S + STOP_S):.0%} of the time", f"{accepted:,.0f}/s"),
        ("offered : accepted", f"{offered / accepted:.1f}"),
        ("from sending to acknowledgement, p50 · p99: not held down", _ms(tallies, spans[0])),
        ("… held down (each sender has up to 3,000 on the way)", _ms(tallies, spans[1])),
        ("all caught up after the last acknowledgement within", f"{drained_s:.1f} s"),
    ]
    for text, figure in rows:
        print(f"{text:<60}{figure:>24}")
    print(f"\n{'':<10}{'acknowledged':>14}{'429':>8}{'TCP stopped':>13}{'dropped':>9}")
    for kind, one in tallies.items():
        counts = f"{one['acknowledged']:>14,}{one['told_to_wait']:>8,}{one['paused']:>13,}{len(one['dropped']):>9}"
        print(f"{kind:<10}{counts}")


def remember(memory: Memory, before: dict[str, float], after: dict[str, float]) -> None:
    """Resident memory of each process."""
    peak = memory.peak()
    print(f"\n{'memory, MB':<14}{'before':>8}{'peak':>8}{'after':>8}")
    for name in sorted(peak):
        print(f"{name:<14}" + "".join(f"{one.get(name, 0) / 1e6:>8,.0f}" for one in (before, peak, after)))


def _ms(tallies: dict[str, Any], span: tuple[float, float]) -> str:
    return " · ".join(f"{overload.quantile(tallies, share, *span) * 1000:,.0f}" for share in (0.5, 0.99)) + " ms"


if __name__ == "__main__":
    main()
