"""Turns gathered messages into one log frame: rows, quarantined messages and the account of both. Used by intake
and replay."""

import uuid
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.errors import InvalidData
from haechi.core.frame import EMPTY, Frame, Quarantined, Tally
from haechi.core.message import Message, Sample
from haechi.services.ingest import columns
from haechi.services.ingest.mapping import Mapper, Row

ROWS = 20_000  # in one frame at most: some megabytes, so that no consumer chokes on one message
BYTES = 2 * 1024 * 1024  # of quarantined payloads in one frame, unless a single one is larger
ROW_BYTES = 8 * 1024 * 1024  # of rows in one frame, unless a single row is larger: the log takes 32 MiB


class Builder:
    """Collects what became of messages. `new_id` names quarantined messages; unique over the life of the city."""

    def __init__(self, mappers: Mapping[str, Mapper], new_id: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        self._mappers, self._new_id = mappers, new_id
        self._rows: list[Row] = []
        self._quarantined: list[Quarantined] = []
        self._received = 0
        self._rejected: dict[str, dict[str, int]] = {}

    def add(self, message: Message, only: frozenset[int | str] = frozenset()) -> tuple[int, int]:
        """Maps one message (only the samples in these places, or of these fields, when given); returns (stored,
        quarantined) samples."""
        rows = self._rows
        before = len(rows)
        try:
            mapper = self._mappers.get(message.link)
            if mapper is None:
                raise InvalidData(f"the city has no link {message.link!r} any more", "unknown_link")
            samples = mapper.samples(message)
            places = _wanted(samples, only) if only else None
        except InvalidData as error:
            self._received += 1
            self._keep(message, error, 1)
            return 0, 1
        failed = mapper.rows(samples if places is None else [samples[one] for one in places], message, rows)
        if failed:
            lost = [at if places is None else places[at] for at, _ in failed]
            self._keep(message, failed[0][1], len(failed), [(place, samples[place].field) for place in lost])
        stored = len(rows) - before
        self._received += stored + len(failed)
        return stored, len(failed)

    def take_back(self, message: Message, added: tuple[int, int], reason: str) -> None:
        """Refuses the message added last, of which `add` said so: none of its samples is stored, all are rejected."""
        stored, quarantined = added
        assert quarantined and self._quarantined[-1].payload is message.payload, "it must be the last one"
        self._quarantined.pop()
        if stored:
            del self._rows[-stored:]
        self._received -= stored + quarantined
        self.reject(message.link, reason, stored + quarantined)

    def reject(self, link: str, reason: str, count: int) -> None:
        """Accounts for samples refused at the door."""
        self._received += count
        reasons = self._rejected.setdefault(link, {})
        reasons[reason] = reasons.get(reason, 0) + count

    def _keep(self, message: Message, cause: InvalidData, count: int, samples: Sequence[tuple[int, str]] = ()) -> None:
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
            tuple(dict.fromkeys(field for _, field in samples)),
            tuple(place for place, _ in samples),
        )
        self._quarantined.append(entry)

    @property
    def quarantined(self) -> tuple[Quarantined, ...]:
        return tuple(self._quarantined)

    @property
    def stored(self) -> int:
        return len(self._rows)

    def frames(self) -> list[Frame]:
        """Everything added so far, in frames the log takes: each accounts for what it holds itself."""
        rows, link = columns.observations(self._rows)
        pieces = [one for start in range(0, rows.num_rows, ROWS) for one in _halved(rows.slice(start, ROWS))]
        frames = [Frame(tallies=_stored_tallies(piece, link), observations=piece) for piece in pieces]
        frames += [Frame(tallies=_held_tallies(some), quarantined=some) for some in _packed(self._quarantined)]
        refused = {link: Tally(sum(one.values()), 0, 0, one) for link, one in self._rejected.items()}
        frames += [Frame(tallies=refused)] if refused else []
        # Counted at the door, sample by sample, and again from what goes to the log: one that fell between is a bug.
        assert _total([one.tallies for one in frames]) == self._received
        return _joined(frames)

    def observations(self) -> pa.RecordBatch:
        """The rows in `core.observation.SCHEMA`."""
        return columns.observations(self._rows)[0]


def _wanted(samples: Sequence[Sample], only: frozenset[int | str]) -> list[int]:
    """The places of those samples."""
    if any(isinstance(one, int) and one >= len(samples) for one in only):
        raise InvalidData(
            "the codec finds fewer samples in it than it did; undo the change of the codec", "codec_changed"
        )
    return [place for place, one in enumerate(samples) if place in only or one.field in only]


def _total(tallies: Sequence[Mapping[str, Tally]]) -> int:
    return sum(tally.received for one in tallies for tally in one.values())


def _halved(rows: pa.RecordBatch) -> list[pa.RecordBatch]:
    """The rows in pieces of bounded size: texts may be long."""
    if rows.num_rows < 2 or rows.column("text").null_count == rows.num_rows or rows.nbytes <= ROW_BYTES:
        return [rows]
    half = rows.num_rows // 2
    return [*_halved(rows.slice(0, half)), *_halved(rows.slice(half))]


def _stored_tallies(rows: pa.RecordBatch, only: str | None) -> dict[str, Tally]:
    if only is not None:
        return {only: Tally(rows.num_rows, rows.num_rows, 0)}
    counts = pc.value_counts(rows.column("link")).to_pylist()
    return {one["values"]: Tally(one["counts"], one["counts"], 0) for one in counts}


def _held_tallies(entries: Sequence[Quarantined]) -> dict[str, Tally]:
    held: dict[str, int] = {}
    for one in entries:
        held[one.link] = held.get(one.link, 0) + one.count
    return {link: Tally(count, 0, count) for link, count in held.items()}


def _packed(entries: Sequence[Quarantined]) -> list[tuple[Quarantined, ...]]:
    """Entries in groups of bounded size; one that is larger stands alone."""
    groups: list[list[Quarantined]] = []
    size = BYTES
    for one in entries:
        if size + len(one.payload) > BYTES:
            groups.append([])
            size = 0
        groups[-1].append(one)
        size += len(one.payload)
    return [tuple(group) for group in groups]


def _joined(frames: list[Frame]) -> list[Frame]:
    """The usual case, one small piece of each kind, as a single frame."""
    with_rows = sum(bool(one.observations.num_rows) for one in frames)
    with_held = sum(bool(one.quarantined) for one in frames)
    if len(frames) < 2 or with_rows > 1 or with_held > 1:
        return frames
    tallies: dict[str, Tally] = {}
    for frame in frames:
        for link, tally in frame.tallies.items():
            tallies[link] = tallies[link].plus(tally) if link in tallies else tally
    rows = next((one.observations for one in frames if one.observations.num_rows), EMPTY)
    held = tuple(entry for frame in frames for entry in frame.quarantined)
    return [Frame(tallies=tallies, quarantined=held, observations=rows)]
