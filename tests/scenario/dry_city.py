"""The simulated Gimpo and its rules in one process, without sockets: what instruments show goes straight to the rules.

For tests that ask what a rule does on a normal day or in a fault; a day takes seconds.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from haechi import registry
from haechi.core.alarm import Level
from haechi.core.observation import Observation, to_batch
from haechi.core.times import SECOND
from haechi.core.units import convert
from haechi.services.cities import Around, City, load_city, type_of
from haechi.services.watch import Described, Rule, city_rules
from haechi.services.watch.evaluator import Evaluator
from haechi.services.watch.watcher import Watcher
from haechi_testbed.clock import parse_instant
from haechi_testbed.part import Pace
from haechi_testbed.twins.water.part import WaterPart

GIMPO = Path(__file__).parents[2] / "cities" / "gimpo"
TICK_S = 10


def gimpo() -> City:
    """The city package as the platform loads it."""
    return load_city(GIMPO, Around({name: registry.folder("domain", name) for name in registry.names("domain")}))


def rules(city: City) -> list[Rule]:
    """Every rule in force."""
    return city_rules([(domain.folder / "rules", name) for name, domain in city.domains.items()], city.time_zone)


class Ear:
    """Stands where a gateway's connection would: keeps what it is given."""

    def __init__(self, device: str) -> None:
        self.device, self.heard = device, list[tuple[str, Mapping[str, Any]]]()

    def send(self, channel: str, body: Mapping[str, Any]) -> None:
        """As `Gateway.send`, without a network."""
        self.heard.append((channel, json.loads(json.dumps(body))))


class DryCity:
    """Steps the water of Gimpo and evaluates its rules on what its gateways would have sent."""

    link = "water-mqtt"

    def __init__(self, start: str, seed: int) -> None:
        self.city = gimpo()
        self.raised: list[tuple[int, str, str, Level]] = []  # when, rule, entity, level
        self.now_us = parse_instant(start)
        self._start_us = self.now_us
        devices = {one.device for one in self.city.devices if one.link == self.link}
        self._ears = {device: Ear(device) for device in sorted(devices)}
        self.part = self._made(Pace(self.now_us, 60.0, seed))
        self._bodies = {str(one["id"]): one for one in self.city.facilities}
        self._evaluator = Evaluator(rules(self.city), self._describe, self._sink)
        self._seq = 0
        self._evaluator.listen_from(self.now_us)
        self._feed(self._static())

    def _made(self, pace: Pace) -> Any:
        return WaterPart(GIMPO, self._ears, pace)  # type: ignore[arg-type]

    def _describe(self, entity: str) -> Described | None:
        body = self._bodies.get(entity)
        if body is None:
            return None
        names = body["name"]["languageMap"]
        return Described((type_of(entity),), names, (str(body["scope"]),), None, names, {})

    def _sink(self, watcher: Watcher, at: int, before: Level | None) -> None:
        if watcher.level is not None and (before is None or watcher.level > before):
            self.raised.append((at, watcher.rule.id, watcher.entity, watcher.level))

    def _static(self) -> Iterable[Observation]:
        for entity, body in self._bodies.items():
            for name, value in body.items():
                if isinstance(value, dict) and "unitCode" in value:
                    yield Observation(
                        entity, name, self.now_us, self.now_us, float(value["value"]), None, value["unitCode"]
                    )

    def _feed(self, observations: Iterable[Observation]) -> None:
        self._seq += 1
        listed = list(observations)
        if listed:
            self._evaluator.feed(self._evaluator.gather([(self._seq, to_batch(listed))]), 0)
        self._evaluator.tick(self.now_us)

    def run(self, seconds: float) -> None:
        """Lets that much time pass."""
        for _ in range(int(seconds / TICK_S)):
            self.now_us += TICK_S * SECOND
            self.part.step(self.now_us, TICK_S)
            self._feed(self._heard())

    def _heard(self) -> Iterable[Observation]:
        for device, ear in self._ears.items():
            heard, ear.heard = ear.heard, []
            for channel, body in heard:
                if channel != "meters":
                    yield from self._samples(device, body)

    def _samples(self, device: str, body: Mapping[str, Any]) -> Iterable[Observation]:
        at = parse_instant(str(body["ts"]))
        for sample in body["samples"]:
            values = {field: value for field, value in sample.items() if field != "id"}
            yield from self._observations(self.link, (device, str(sample["id"])), values, at)

    def _observations(
        self, link: str, whose: tuple[str, str], values: Mapping[str, Any], at: int
    ) -> Iterable[Observation]:
        """`whose`: device and channel."""
        entity = self.city.entity_of(link, *whose)
        assert entity is not None, whose
        for field, value in values.items():
            mapped = self.city.field_maps(link, type_of(entity))[field]
            known = self.city.attribute(type_of(entity), mapped.attribute)
            assert known is not None
            if isinstance(value, bool):
                yield Observation(entity, mapped.attribute, at, self.now_us, None, json.dumps(value))
            else:
                stored = convert(float(value), mapped.unit or "C62", known.unit or mapped.unit or "C62")
                yield Observation(entity, mapped.attribute, at, self.now_us, stored, None, known.unit)

    def alarms(self, since_us: int = 0) -> Sequence[str]:
        """What was raised since, in order: `rule entity level` with the entity's last part."""
        return [
            f"{rule} {entity.rpartition(':')[2]} {level.name.lower()}"
            for at, rule, entity, level in self.raised
            if at >= since_us
        ]
