"""Aggregates of what several sources have of the past (clauses 4.5.19, 5.7.3.4, 5.7.4.4): their instances are put
together first and summed then. Used by `past`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from haechi.core.entity import Entity
from haechi.core.errors import InvalidData
from haechi.core.times import to_us
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.requests import Parameters
from haechi.faces.ngsi_ld.temporal_queries import asked_of
from haechi.ports import EntityQuery
from haechi.services.ngsi_ld import evolution, temporal
from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.sums import HEAD, sums_of
from haechi.services.ngsi_ld.temporal_answers import Answers, Asked
from haechi.services.ngsi_ld.temporal_search import Search, tests_of

MOST = 100_000  # instances of this broker put together with those of others for one answer
_OF_SUMS = frozenset({"aggrMethods", "aggrPeriodDuration", "format", "options", "lastN", "lang"})
_STAMPS = ("createdAt", "modifiedAt")
Document = dict[str, Any]
Given = Mapping[str, str]


def is_aggregated(given: Given) -> bool:
    """Whether a request asks for sums (clause 6.3.7)."""
    chosen = {given["format"]} if "format" in given else set(given.get("options", "").split(","))
    return "aggregatedValues" in chosen or ("aggrMethods" in given and "temporalValues" not in chosen)


def of_instances(given: Given) -> dict[str, str]:
    """The same request for the instances that sums are made of."""
    found = {name: value for name, value in given.items() if name not in _OF_SUMS}
    return found if given.get("timeproperty", "observedAt") == "observedAt" else {**found, "options": "sysAttrs"}


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one request."""

    face: Face
    context: Context
    given: Given

    async def here(self, own: Sequence[Document]) -> dict[str, Document]:
        """The instances that this broker's sums were made of, by entity."""
        if not own:
            return {}
        asked = self._asked()
        entities: list[Entity] = [{"id": one["id"], "type": []} for one in own]
        if "scopeQ" in self.given:  # it chooses instances, too (clause 4.18)
            entities, asked = await self._in_scope(tuple(str(one["id"]) for one in own), asked)
        answers = Answers(self.face.history, MOST, to_us(self.face.services.clock.now()))
        answer = await self.face.ask(answers.of, entities, asked)
        if answer.content_range is not None:
            raise InvalidData(
                f"that sums more than {MOST} instances with those of other sources; ask for a shorter time or fewer "
                "entities, or with local=true for what is here",
                "too_complex",
            )
        return {one["id"]: body for one, body in zip(entities, answer.bodies, strict=True)}

    async def _in_scope(self, ids: tuple[str, ...], asked: Asked) -> tuple[list[Entity], Asked]:
        tests = tests_of({"scopeQ": self.given["scopeQ"]}.get, self.context.expand, frozenset())
        search = Search(self.face.services.store, self.face.history, asked, tests)
        found, _ = await self.face.ask(search.page, [EntityQuery(ids=ids)], (len(ids), 0), False, "")
        return found, replace(asked, scoped=search.scoped)

    def shown(self, whole: Sequence[Document], own: Mapping[str, Document]) -> list[Document]:
        """Sums of evolutions that were put together; what an entity is called is as this broker says it."""
        time, view = temporal.parse(self.given.get), self._asked().view
        rows, how = sums_of(whole, time, self.context.expand)
        return [
            self._head(one, own.get(str(one.get("id")))) | evolution.aggregated(sums, time.methods, how, view)
            for one, sums in zip(whole, rows, strict=True)
        ]

    def _head(self, whole: Document, own: Document | None) -> Document:
        hidden = () if "sysAttrs" in self.given.get("options", "") else _STAMPS
        source = whole if own is None else own
        return {name: one for name, one in source.items() if name in HEAD and name not in hidden}

    def _asked(self) -> Asked:
        given = of_instances(self.given)
        options = frozenset(given.pop("options", "").split(",")) - {""}
        asked = asked_of(Parameters(given, options), self.context)
        return replace(asked, time=replace(asked.time, last=None))
