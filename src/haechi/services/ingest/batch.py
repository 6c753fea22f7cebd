"""Turns gathered messages into one log frame: rows, quarantined messages and the account of both. Used by intake
and replay."""

import uuid
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from haechi.core.errors import InvalidData
from haechi.core.frame import EMPTY, Frame, Quarantined, Tally
from haechi.core.message import Message, Sample
from haechi.core.observation import SCHEMA
from haechi.services.ingest.mapping import Mapper, Row

_ROW_SCHEMA = list(SCHEMA)[:-1]


class Builder:
    """Collects what became of messages. `new_id` names quarantined messages; unique over the life of the city."""

    def __init__(self, mappers: Mapping[str, Mapper], new_id: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        self._mappers, self._new_id = mappers, new_id
        self._rows: list[Row] = []
        self._links: list[str] = []
        self._quarantined: list[Quarantined] = []
        self._received: dict[str, int] = {}
        self._rejected: dict[str, dict[str, int]] = {}

    def add(self, message: Message, only: frozenset[str] = frozenset()) -> tuple[int, int]:
        """Maps one message (only these fields, when given); returns (stored, quarantined) samples."""
        mapper = self._mappers.get(message.link)
        try:
            if mapper is None:
                raise InvalidData(f"the city has no link {message.link!r} any more", "unknown_link")
            samples = mapper.samples(message)
        except InvalidData as error:
            self._count(message.link, 1)
            self._keep(message, error, 1, ())
            return 0, 1
        wanted = [one for one in samples if one.field in only] if only else samples
        return self._map(mapper, message, wanted)

    def _map(self, mapper: Mapper, message: Message, samples: Sequence[Sample]) -> tuple[int, int]:
        stored, failed, cause = 0, [], None
        for sample in samples:
            try:
                row = mapper.row(sample, message)
            except InvalidData as error:
                failed.append(sample.field)
                cause = cause or error
                continue
            if row is not None:
                self._rows.append(row)
                stored += 1
        self._links.extend([message.link] * stored)
        self._count(message.link, stored + len(failed))
        if cause is not None:
            self._keep(message, cause, len(failed), tuple(dict.fromkeys(failed)))
        return stored, len(failed)

    def reject(self, link: str, reason: str, count: int) -> None:
        """Accounts for samples refused at the door."""
        self._count(link, count)
        reasons = self._rejected.setdefault(link, {})
        reasons[reason] = reasons.get(reason, 0) + count

    def _count(self, link: str, samples: int) -> None:
        self._received[link] = self._received.get(link, 0) + samples

    def _keep(self, message: Message, cause: InvalidData, count: int, fields: tuple[str, ...]) -> None:
        entry = Quarantined(
            self._new_id(),
            message.link,
            message.device,
            message.channel,
            message.received_at,
            message.payload,
            cause.reason,
            str(cause),
            count,
            fields,
        )
        self._quarantined.append(entry)

    @property
    def empty(self) -> bool:
        return not self._received

    @property
    def quarantined(self) -> tuple[Quarantined, ...]:
        return tuple(self._quarantined)

    @property
    def stored(self) -> int:
        return len(self._rows)

    def frame(self) -> Frame:
        """Everything added so far as one frame."""
        return Frame(tallies=self._tallies(), quarantined=self.quarantined, observations=self.observations())

    def observations(self) -> pa.RecordBatch:
        """The rows in `core.observation.SCHEMA`."""
        if not self._rows:
            return EMPTY
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, _ROW_SCHEMA, strict=True)]
        return pa.RecordBatch.from_arrays([*arrays, pa.array(self._links, pa.string())], schema=SCHEMA)

    def _tallies(self) -> dict[str, Tally]:
        held: dict[str, int] = {}
        for one in self._quarantined:
            held[one.link] = held.get(one.link, 0) + one.count
        stored: dict[str, int] = {}
        for link in self._links:
            stored[link] = stored.get(link, 0) + 1
        return {
            link: Tally(received, stored.get(link, 0), held.get(link, 0), self._rejected.get(link, {}))
            for link, received in self._received.items()
        }
