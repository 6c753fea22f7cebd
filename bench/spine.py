"""The whole way: MQTT QoS 1 on the wire to context, history, rules and account, beside the acknowledgements alone."""

import asyncio
import json
import shutil
import struct
import tempfile
import time
from pathlib import Path

import uvloop

from haechi.testing.platform import Platform

DEVICES, EACH, WINDOW = 50, 4_000, 500
TINY = Path(__file__).parents[1] / "tests" / "cities" / "tiny"


def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        city = make_city(Path(folder) / "city")
        print(
            f"{DEVICES} connections, {DEVICES * EACH:,} messages of one observation, QoS 1, generator on the same cores"
        )
        head = f"{'durability':<12}{'acknowledged/s':>16}{'applied by all/s':>18}{'applied : acknowledged':>24}"
        print(f"{head}{'history holds':>15}")
        for durability in ("disk", "os"):
            with Platform(city, Path(folder) / durability, ["--durability", durability]) as platform:
                acknowledged, applied, held = measure(platform)
            total = DEVICES * EACH
            rates = f"{total / acknowledged:>16,.0f}{total / applied:>18,.0f}{acknowledged / applied:>24.2f}"
            print(f"{durability:<12}{rates}{held:>15,}")


def make_city(folder: Path) -> Path:
    """The small test city with as many sensors as there are connections."""
    shutil.copytree(TINY, folder)
    kind = "urn:ngsi-ld:WaterPressureSensor:tiny:"
    rows = [f"D{number},,mqtt,{kind}D{number}" for number in range(DEVICES)]
    (folder / "devices.csv").write_text("device,channel,link,entity\n" + "\n".join(rows) + "\n")
    entity = {"type": "WaterPressureSensor", "location": {"type": "Point", "coordinates": [126.66, 37.64]}}
    names = {"languageMap": {"ko": "센서", "zh": "传感器", "en": "Sensor"}}
    lines = [json.dumps({"id": f"{kind}D{number}", **entity, "name": names}) for number in range(DEVICES)]
    (folder / "facilities" / "water.ndjson").write_text("\n".join(lines) + "\n")
    (folder / "links" / "push.toml").unlink()
    mqtt = folder / "links" / "mqtt.toml"
    mqtt.write_text(
        mqtt.read_text().replace("[[map]]", '[codec_settings]\ntime = "ts"\ntime_format = "epoch_ms"\n\n[[map]]', 1)
    )
    return folder


def measure(platform: Platform) -> tuple[float, float, int]:
    """Seconds until the last acknowledgement, seconds until every projection had applied it, rows in history."""
    secrets = {f"D{number}": platform.secret(f"D{number}", "mqtt") for number in range(DEVICES)}
    started = time.perf_counter()
    uvloop.run(send_all(platform.ports["mqtt"], secrets))
    acknowledged = time.perf_counter() - started
    platform.wait_for(lambda: caught_up(platform), 300, "the pipeline did not catch up")
    applied = time.perf_counter() - started
    entities = "&".join(f"entity=urn:ngsi-ld:WaterPressureSensor:tiny:D{number}" for number in range(DEVICES))
    span = "from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&window_s=86400&aggregate=count"
    columns = platform.request("GET", f"/api/history?{entities}&attribute=pressure&{span}")["columns"]
    return acknowledged, applied, sum(columns["count"])


def caught_up(platform: Platform) -> bool:
    account = platform.request("GET", "/api/account")
    stored = account["links"].get("mqtt", {}).get("stored", 0)
    return stored >= DEVICES * EACH and not any(account["behind"].values())


class Sender(asyncio.Protocol):
    """One device: MQTT 3.1.1, at most `WINDOW` messages unacknowledged."""

    def __init__(self, device: str, secret: str) -> None:
        self._device, self._secret = device, secret
        self._sent = self._acknowledged = 0
        self.done = asyncio.get_running_loop().create_future()
        self._start = int(time.time() * 1000) - 86_400_000

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        body = b"\x00\x04MQTT\x04\xc2\x00\x3c" + b"".join(map(text, (self._device, self._device, self._secret)))
        transport.write(b"\x10" + length(len(body)) + body)  # type: ignore[attr-defined]

    def data_received(self, received: bytes) -> None:
        # CONNACK and PUBACK are both four bytes, so what arrives is a whole number of them in the end.
        if not self._sent:
            assert received[:4] == b"\x20\x02\x00\x00", received[:4]
            received = received[4:]
        self._acknowledged += len(received)
        if self._acknowledged >= EACH * 4:
            self.done.set_result(None)
        else:
            self._fill()

    def _fill(self) -> None:
        packets = []
        while self._sent < EACH and self._sent - self._acknowledged // 4 < WINDOW:
            self._sent += 1
            value = json.dumps({"ts": self._start + self._sent, "pressure": 400 + self._sent % 100}).encode()
            topic = text(f"city/{self._device}/p")
            body = topic + struct.pack(">H", self._sent) + value
            packets.append(b"\x32" + length(len(body)) + body)
        self._transport.write(b"".join(packets))  # type: ignore[attr-defined]

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"the door closed on {self._device}: {error}"))


async def send_all(port: int, secrets: dict[str, str]) -> None:
    senders = [Sender(*one) for one in secrets.items()]
    loop = asyncio.get_running_loop()
    for sender in senders:
        await loop.create_connection(lambda sender=sender: sender, "127.0.0.1", port)
    await asyncio.gather(*(sender.done for sender in senders))


def text(word: str) -> bytes:
    return struct.pack(">H", len(word)) + word.encode()


def length(size: int) -> bytes:
    """Remaining length of MQTT (3.1.1, clause 2.2.3)."""
    found = bytearray()
    while True:
        size, digit = divmod(size, 128)
        found.append(digit | 0x80 if size else digit)
        if not size:
            return bytes(found)


if __name__ == "__main__":
    main()
