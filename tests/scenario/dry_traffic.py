"""Gimpo's simulated traffic and its rules in one process, without sockets: detectors and controllers go to the rules.

For tests that ask what a rule does on a normal day or after an accident; an hour takes a second or two.
"""

from collections.abc import Iterable
from typing import Any

from dry_city import GIMPO, DryCity

from haechi.core.observation import Observation
from haechi_testbed.clock import SECOND
from haechi_testbed.part import Pace
from haechi_testbed.twins.traffic.part import LOOP_LINK, SIGNAL_LINK, TrafficPart
from haechi_testbed.twins.traffic.registers import CONTROLLER

POLL_S = 20


class DryTraffic(DryCity):
    """Steps the traffic of Gimpo; hears its roadside gateways, polls its signal controllers."""

    link = LOOP_LINK

    def _made(self, pace: Pace) -> Any:
        return TrafficPart(GIMPO, self._ears, ("127.0.0.1", 0), pace)  # type: ignore[arg-type]

    def _static(self) -> Iterable[Observation]:
        yield from super()._static()
        for entity, body in self._bodies.items():
            if "daytimeLow" in body:
                yield Observation(entity, "daytimeLow", self.now_us, self.now_us, float(body["daytimeLow"]))

    def _heard(self) -> Iterable[Observation]:
        yield from super()._heard()
        if self.now_us % (POLL_S * SECOND):
            return
        for name, cabinet in self.part.cabinets.items():
            if not cabinet.unit.silent:
                words = cabinet.unit.words["holding"]
                values = {
                    one.field: words[one.address] if one.bit is None else bool(words[one.address] >> one.bit & 1)
                    for one in CONTROLLER
                }
                yield from self._observations(SIGNAL_LINK, (name, ""), values, self.now_us)
