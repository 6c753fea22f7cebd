"""Load at a fixed rate over MQTT with probes beside it: does the platform keep up? Used by rows b, d and f."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass

import uvloop

from bench import _city, _mqtt
from bench._probe import Probe, Seen
from haechi.testing.platform import Platform

CONNECTIONS, WINDOW = 100, 1_000
PROBE, SPARE = CONNECTIONS, CONNECTIONS + 1  # two more concentrators: the probe's, and one for the caller
CONCENTRATORS = CONNECTIONS + 2
TICK_S = 0.01  # every connection sends its share so often
CAUGHT_UP_S = 1.0  # so long after the last message every consumer must have applied it


@dataclass(frozen=True, slots=True)
class Held:
    """How a rate went. `drained_s`: from the last message sent until every projection had applied it."""

    rate: float  # asked for, observations/s
    sent_rate: float
    drained_s: float
    context: Seen
    history: Seen

    @property
    def kept_up(self) -> bool:
        """The rate was taken, nothing was left behind, and what came in was visible within a second (p99)."""
        taken = self.sent_rate >= 0.98 * self.rate and self.drained_s <= CAUGHT_UP_S
        return taken and self.context.quantile(0.99) <= 1000 and self.history.quantile(0.99) <= 1000


class Field:
    """The sensors of a city made by `_city.make(…, sensors, CONCENTRATORS)`."""

    def __init__(self, platform: Platform, sensors: int) -> None:
        self.platform, self.sensors, self.sent = platform, sensors, 0
        self._probes = 1
        users = [_city.concentrator(number) for number in range(CONCENTRATORS)]
        self.secrets = {user: platform.secret(user, "mqtt") for user in users}

    def scripts(self, count: int, span_s: float, after: int = 0) -> list[_mqtt.Script]:
        """`count` observations over all connections, observed over `span_s` from now on; the sensors that come next
        when that many have been sent."""
        each, begin, at_ms = count // CONNECTIONS, after // CONNECTIONS, int(time.time() * 1000) - 1000
        made = []
        for number in range(CONNECTIONS):
            channels = [_city.channel(one) for one in range(number, self.sensors, CONCENTRATORS)]
            user = _city.concentrator(number)
            step_ms = 1000 * span_s / each
            made.append(_mqtt.script(user, self.secrets[user], channels, range(begin, begin + each), at_ms, step_ms))
        return made

    def hold(self, rate: float, seconds: float) -> Held:
        """Offers that rate for that long."""
        scripts = self.scripts(int(rate * seconds), seconds)
        user = _city.concentrator(PROBE)
        probe = Probe(self.platform, user, self.secrets[user], PROBE, self._probes)
        sent_rate, ended = uvloop.run(_probed(self.platform.ports["mqtt"], scripts, rate, probe.run(seconds)))
        caught_up(self.platform, 120)
        self.sent += sum(one.count for one in scripts) + len(probe.context.sent)
        self._probes += len(probe.context.sent)
        return Held(rate, sent_rate, time.perf_counter() - ended, probe.context, probe.history)

    def send(self, rate: float, count: int, seconds: float) -> float:
        """Offers that many observations at that rate and nothing else; the rate that was acknowledged. `seconds`: by
        then every projection has applied them."""
        scripts = self.scripts(count, count / rate, self.sent)
        sent_rate, _ = uvloop.run(_send(self.platform.ports["mqtt"], scripts, rate))
        caught_up(self.platform, seconds)
        self.sent += count
        return sent_rate


def caught_up(platform: Platform, seconds: float) -> None:
    """Returns when every projection has applied all that is on the log."""
    platform.wait_for(
        lambda: not any(platform.request("GET", "/api/account")["behind"].values()), seconds, "still behind"
    )


async def _probed(
    port: int, scripts: Sequence[_mqtt.Script], rate: float, asking: Coroutine[None, None, None]
) -> tuple[float, float]:
    probing = asyncio.create_task(asking)
    sent = await _send(port, scripts, rate)
    await probing
    return sent


async def _send(port: int, scripts: Sequence[_mqtt.Script], rate: float) -> tuple[float, float]:
    """Observations a second that were acknowledged, and when the last one was."""
    senders = await _mqtt.open_all(port, scripts, WINDOW)
    started, allowed, total = time.perf_counter(), 0, sum(one.count for one in scripts)
    while allowed < total:
        await asyncio.sleep(TICK_S)
        due = min(total, int(rate * (time.perf_counter() - started)))
        share, more = divmod(due - allowed, len(senders))
        for place, sender in enumerate(senders):
            # Whoever is served first changes, so that all have sent the same in the end.
            sender.allow(share + ((place - allowed) % len(senders) < more))
        allowed = due
    await asyncio.gather(*(one.done for one in senders))
    ended = time.perf_counter()
    for one in senders:
        one.transport.close()
    return total / (ended - started), ended
