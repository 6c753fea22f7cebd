"""OPC UA: values a second and processor time a value through the adapter, beside a bare asyncua subscription.

A server of asyncua in a process of its own changes `ITEMS` variables each `EVERY_MS`. The limit is the same asyncua
client with a callback that counts. Each side is measured alone for `SECONDS`; what it costs is its own process' time.
"""

import asyncio
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.client.client import Client

from haechi import registry
from haechi.app.clock import SystemClock
from haechi.app.supervisor import free_port
from haechi.core.message import Message
from haechi.plugins.adapters.opcua.adapter import create
from haechi.ports import AdapterContext, Receipt

ITEMS, EVERY_MS, SECONDS = 3_000, 500, 12.0
NODE = "ns=2;s=V{}"


async def serve(port: int) -> None:
    """Until killed: every variable counts upwards."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:bench")
    assert index == 2
    folder = server.nodes.objects
    nodes = [await folder.add_variable(NODE.format(n), f"V{n}", 0.0) for n in range(ITEMS)]
    async with server:
        print("ready", flush=True)
        count = 0.0
        while True:
            started = time.monotonic()
            count += 1
            for one in nodes:
                await server.write_attribute_value(one.nodeid, ua.DataValue(ua.Variant(count, ua.VariantType.Double)))
            await asyncio.sleep(max(0.0, EVERY_MS / 1000 - (time.monotonic() - started)))


class Counted:
    """An intake that decodes what it is given, as ingest does, and throws it away."""

    def __init__(self) -> None:
        self.values = 0
        self._codec = registry.create("codec", "opcua")({})

    async def accept(self, messages: Sequence[Message]) -> Receipt:
        for one in messages:
            self.values += len(self._codec.decode(one))
        return Receipt(stored=self.values)

    def reject(self, link: str, reason: str, count: int = 1) -> None:
        raise AssertionError(reason)


class Nothing:
    """A bus and a registry nobody uses."""

    async def publish(self, subject: str, payload: bytes) -> None:
        pass

    async def listen(self, pattern: str, heard: Any) -> Any:
        async def stop() -> None:
            pass

        return stop

    def verify(self, device: str, secret: str, link: str) -> bool:
        return False

    knows = verify


async def ours(port: int) -> tuple[float, float]:
    intake, nothing = Counted(), Nothing()
    with tempfile.TemporaryDirectory() as folder:
        context = AdapterContext("bench", intake, nothing, nothing, SystemClock(), folder)
        node = {"field": "v", "node": "ns=2;s={channel}", "channels": [f"V{n}" for n in range(ITEMS)]}
        settings = {"port": port, "security": "None", "anonymous": True, "device": [{"id": "S"}], "node": [node]}
        adapter = create({**settings, "sampling_ms": 50.0, "publishing_ms": 100.0, "timeout_s": 30.0}, context)
        await adapter.start()
        while intake.values < 2 * ITEMS:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.1)
        found = await _measured(lambda: intake.values)
        await adapter.stop()
    return found


async def bare(port: int) -> tuple[float, float]:
    seen = 0

    def take(result: ua.PublishResult) -> None:
        nonlocal seen
        for one in result.NotificationMessage.NotificationData or ():
            seen += len(one.MonitoredItems)

    async with Client(f"opc.tcp://127.0.0.1:{port}/", 30) as client:
        session = client.uaclient.session
        made = await session.create_subscription(ua.CreateSubscriptionParameters(100, 6000, 50, 5_000, True, 0), take)
        for start in range(0, ITEMS, 500):
            wanted = [_item(n) for n in range(start, min(start + 500, ITEMS))]
            both = ua.TimestampsToReturn.Both
            await session.create_monitored_items(ua.CreateMonitoredItemsParameters(made.SubscriptionId, both, wanted))
        while seen < 2 * ITEMS:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
        return await _measured(lambda: seen)


def _item(number: int) -> ua.MonitoredItemCreateRequest:
    value = ua.ReadValueId(ua.NodeId.from_string(NODE.format(number)), ua.AttributeIds.Value)
    change = ua.DataChangeFilter(ua.DataChangeTrigger.StatusValue, ua.DeadbandType.None_, 0.0)
    wanted = ua.MonitoringParameters(number, 50.0, change, 10, True)
    return ua.MonitoredItemCreateRequest(value, ua.MonitoringMode.Reporting, wanted)


async def _measured(count: Any) -> tuple[float, float]:
    """Values a second, microseconds of this process's processor a value."""
    values, wall, spent = count(), time.monotonic(), time.process_time()
    await asyncio.sleep(SECONDS)
    values, wall, spent = count() - values, time.monotonic() - wall, time.process_time() - spent
    return values / wall, spent / values * 1e6


def main() -> None:
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__)), "serve", str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert server.stdout is not None and server.stdout.readline() == b"ready\n"
        rows = {"adapter and codec": asyncio.run(ours(port)), "asyncua alone": asyncio.run(bare(port))}
    finally:
        server.kill()
        server.wait()
    print(f"{ITEMS} monitored items, each changing every {EVERY_MS} ms; the server is a process of its own")
    for name, (rate, cost) in rows.items():
        print(
            f"{name:20} {rate:8,.0f} values/s   {cost:6.1f} us of processor a value   {1e6 / cost:8,.0f}/s on one core"
        )
    print(f"ratio of one core's capacity: {rows['asyncua alone'][1] / rows['adapter and codec'][1]:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2])))
    else:
        main()
