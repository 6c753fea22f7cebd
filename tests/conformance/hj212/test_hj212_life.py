"""Start, stop and settings of the hj212 adapter."""

import asyncio
from typing import Any

import pytest
from hj212_kit import MemoryIntake, connected, until, upload

from haechi import registry
from haechi.core.errors import InvalidSettings, Unavailable
from haechi.plugins.adapters.hj212.adapter import Hj212Adapter, create
from haechi.plugins.codecs.hj212.framing import unwrap
from haechi.plugins.codecs.hj212.packet import encode
from haechi.ports import AdapterContext


async def test_a_silent_device_is_cut_off(context: AdapterContext) -> None:
    adapter = create({"port": 0, "idle_s": 1}, context)
    await adapter.start()
    async with connected(adapter) as device:
        async with asyncio.timeout(5):
            assert await device.reader.read() == b""
    await adapter.stop()


async def test_start_and_stop_twice_are_once_and_leave_no_port(context: AdapterContext, intake: MemoryIntake) -> None:
    adapter = create({"port": 0}, context)
    await adapter.start()
    port = adapter.port
    await adapter.start()
    assert adapter.port == port
    async with connected(adapter) as device:
        await device.send(encode(upload()))
        await until(lambda: adapter.health()["frames"] == 1)
        await adapter.stop()
        await adapter.stop()
        assert (await device.hear()).cn == "9014"  # stored before the stop, so answered
        assert await device.reader.read() == b""
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    assert len(intake.messages) == 1


async def test_a_port_in_use_is_unavailable_and_says_so(adapter: Hj212Adapter, context: AdapterContext) -> None:
    with pytest.raises(Unavailable, match="port"):
        await create({"port": adapter.port}, context).start()


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 70_000},
        {"port": "8212"},
        {"prot": 1},
        {"authenticate": 1},
        {"host": ""},
        {"idle_s": 0},
        {"window": True},
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], context: AdapterContext) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(settings))):
        create(settings, context)


async def test_an_address_that_is_not_ours_is_a_wrong_setting(context: AdapterContext) -> None:
    with pytest.raises(InvalidSettings, match="host"):
        await create({"host": "203.0.113.1", "port": 0}, context).start()


def test_the_manifest_names_codecs_that_exist() -> None:
    manifest = registry.manifest("adapter", "hj212")
    assert set(manifest["codecs"]) <= set(registry.names("codec"))
    assert unwrap((registry.ROOT / "adapters" / "hj212" / "cases" / "annex_a_2017.txt").read_bytes())
