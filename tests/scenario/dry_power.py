"""Gimpo's simulated electricity and its rules in one process, without sockets: registers and meters go to the rules.

For tests that ask what a rule does on a normal day or in a fault; an hour takes seconds.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from dry_city import GIMPO, DryCity

from haechi.core.observation import Observation
from haechi.plugins.adapters.modbus.registers import decode, spans
from haechi.plugins.adapters.modbus.settings import read
from haechi_testbed.clock import SECOND
from haechi_testbed.part import Pace
from haechi_testbed.twins.power.part import LINK, METER_LINK, PowerPart

POLL_S = 20


class DryPower(DryCity):
    """Steps the grid of Gimpo; polls its units as the link says, hears its concentrators."""

    link = METER_LINK

    def __init__(self, start: str, seed: int) -> None:
        super().__init__(start, seed)
        settings = read(self.city.links[LINK].settings)
        self._devices = settings.device
        self._registers = {one.id: settings.registers(one.id) for one in settings.device}
        self._spans = {one.id: spans(self._registers[one.id], settings.blocks(one.id)) for one in settings.device}

    def _made(self, pace: Pace) -> Any:
        return PowerPart(GIMPO, self._ears, ("127.0.0.1", 0), pace)  # type: ignore[arg-type]

    def _heard(self) -> Iterable[Observation]:
        yield from super()._heard()
        if self.now_us % (POLL_S * SECOND) == 0:
            for device in self._devices:
                if not self.part.units[device.id].silent:
                    for channel, values in self._polled(device.id).items():
                        yield from self._observations(LINK, (device.id, channel), values, self.now_us)

    def _polled(self, device: str) -> Mapping[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for span in self._spans[device]:
            words = self.part.units[device].words[span.table][span.start : span.start + span.count]
            content = [bool(one) for one in words] if span.table == "coil" else words
            for one in span.registers:
                found.setdefault(one.channel, {})[one.field] = decode(one, span, content)
        return found
