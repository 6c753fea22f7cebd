"""A gateway as a city has it: skewed clock, network outages. Used by the parts whose devices speak MQTT."""

import asyncio
import csv
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haechi_testbed.clock import SECOND, format_instant
from haechi_testbed.devices.mqtt import Gateway
from haechi_testbed.part import Setting, Traffic

OUTAGE_EVERY_S = 6 * 3600.0


class Carrier:
    """One gateway as the city has it: its clock is a little off, and now and then its network is gone for a while."""

    def __init__(self, gateway: Gateway, seed: int) -> None:
        """The same seed gives the same skew and outages."""
        self.gateway = gateway
        self._rng = random.Random(f"{gateway.device} {seed}")  # noqa: S311 - a simulation, not a secret
        self.skew_us = int(max(-1.5, min(1.5, self._rng.gauss(0.0, 0.4))) * SECOND)
        self.silent = False
        self._away_until = 0
        self._held: list[tuple[str, Mapping[str, Any]]] = []

    def hush(self, on: bool) -> None:
        """Falls silent and hangs up without a word, or calls again; what it measures meanwhile is lost."""
        self.silent = on
        (self.gateway.go_offline if on else self.gateway.start)()

    def tick(self, now_us: int, dt_s: float) -> None:
        """Loses its network at random, or has it again and sends what it kept."""
        if now_us < self._away_until:
            return
        held, self._held = self._held, []
        for channel, body in held:
            self.gateway.send(channel, body)
        if self._rng.random() < dt_s / OUTAGE_EVERY_S:
            self._away_until = now_us + int(self._rng.uniform(15, 60) * SECOND)

    def send(self, channel: str, at_us: int, body: Mapping[str, Any]) -> None:
        """Sends, or keeps until the network is back; nothing at all while it is silent."""
        if self.silent:
            return
        stamped = {"ts": format_instant(at_us + self.skew_us), **body}
        if at_us < self._away_until:
            self._held.append((channel, stamped))
        else:
            self.gateway.send(channel, stamped)


def connect(setting: Setting, link: str) -> dict[str, Gateway]:
    """A started gateway for every device that has credentials on this link."""
    found = {device: Gateway(device, secret, *setting.doors[link]) for device, secret in setting.secrets(link).items()}
    for gateway in found.values():
        gateway.start()
    return found


def account(gateways: Iterable[Gateway]) -> Traffic:
    """The sum over these gateways."""
    members = list(gateways)
    refused = tuple(f"{one.device}: {one.refused}" for one in members if one.refused)
    return Traffic(sum(one.sent for one in members), sum(one.acknowledged for one in members), refused)


async def hang_up(gateways: Iterable[Gateway], wait_s: float) -> int:
    """Stops all of them at once; how many messages nobody acknowledged within that span."""
    return sum(await asyncio.gather(*(asyncio.to_thread(one.stop, wait_s) for one in gateways)))


def rows(devices: Path, link: str) -> list[dict[str, str]]:
    """The lines of a city's devices.csv for a link: device, channel, link, entity."""
    with devices.open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["link"] == link]


def entities(devices: Path, link: str) -> dict[str, str]:
    """Which entity each channel belongs to, on a link whose channels are names of their own."""
    return {row["channel"]: row["entity"] for row in rows(devices, link)}
