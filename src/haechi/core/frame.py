"""The frame: what one message on the log holds, and its bytes. Written by ingest and the faces, read by every
projection.

Layout: `HF1` · uint32 LE header length · uint32 LE rows length · header (MessagePack) · one Arrow IPC record batch
in `observation.SCHEMA` (absent
when there are no rows). The account of a batch travels with the batch, so counters cannot drift from rows in a crash.
"""

import struct

import msgspec
import pyarrow as pa

from haechi.core.errors import InvalidData
from haechi.core.observation import SCHEMA

MAGIC = b"HF1"
_PREFIX = struct.Struct("<3sII")
EMPTY = pa.RecordBatch.from_arrays([pa.array([], type=field.type) for field in SCHEMA], schema=SCHEMA)


class Quarantined(msgspec.Struct, frozen=True, array_like=True):
    """A message (or some samples of it) that could not become observations, kept whole so that it can be replayed."""

    id: str
    link: str
    device: str
    channel: str
    received_at: int
    payload: bytes
    reason: str  # short stable word, see `InvalidData.reason`
    detail: str  # for people: what is wrong and what to do
    count: int  # how many samples this stands for in the account (1 for a message that could not be decoded)
    fields: tuple[str, ...] = ()  # names of the samples concerned; empty means the whole message
    samples: tuple[int, ...] = ()  # their places in what the codec found: a field may come many times in one message


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """What one link brought in one batch, in samples: received = stored + rejected + quarantined."""

    received: int
    stored: int
    quarantined: int
    rejected: dict[str, int] = {}  # by reason; the sender was told
    replayed: int = 0  # of `stored`: these came out of quarantine

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        reasons = {
            one: self.rejected.get(one, 0) + other.rejected.get(one, 0) for one in self.rejected | other.rejected
        }
        return Tally(
            self.received + other.received,
            self.stored + other.stored,
            self.quarantined + other.quarantined,
            reasons,
            self.replayed + other.replayed,
        )


class EntityCommand(msgspec.Struct, frozen=True):
    """A change to the live model that is not a plain observation; applied by context in log order."""

    id: str  # unique; the reply to the face carries it
    op: str  # "upsert" | "replace" | "merge" | "delete" | "delete_attribute"
    entity: str  # URN
    body: bytes = b""  # JSON: the stored entity (docs/reference/log.md); for merge, parts of it with nulls
    attribute: str = ""  # for delete_attribute
    at: int = 0  # microseconds, the face's clock


class Frame(msgspec.Struct, frozen=True):
    """One message on the log. `observations` is always in `SCHEMA`, possibly empty."""

    tallies: dict[str, Tally] = {}
    quarantined: tuple[Quarantined, ...] = ()
    resolved: tuple[str, ...] = ()  # ids of quarantined messages that this frame brought back
    commands: tuple[EntityCommand, ...] = ()
    observations: pa.RecordBatch = EMPTY


class _Header(msgspec.Struct, array_like=True):
    tallies: dict[str, Tally]
    quarantined: tuple[Quarantined, ...]
    resolved: tuple[str, ...]
    commands: tuple[EntityCommand, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Header)


def encode(frame: Frame) -> bytes:
    """Bytes of a frame."""
    header = _encoder.encode(_Header(frame.tallies, frame.quarantined, frame.resolved, frame.commands))
    rows = frame.observations.serialize().to_pybytes() if frame.observations.num_rows else b""
    return b"".join((_PREFIX.pack(MAGIC, len(header), len(rows)), header, rows))


def decode(payload: bytes) -> Frame:
    """The frame in these bytes; `InvalidData` when they are none (another version, a torn write)."""
    try:
        magic, length, rows_length = _PREFIX.unpack_from(payload)
        if magic != MAGIC:
            raise InvalidData(f"not a log frame of this version: starts with {magic!r}", "bad_frame")
        start = _PREFIX.size + length
        header = _decoder.decode(payload[_PREFIX.size : start])
        body = payload[start:]
        if len(body) != rows_length:
            raise InvalidData(f"a log frame is torn: {len(body)} bytes of rows instead of {rows_length}", "bad_frame")
        rows = pa.ipc.read_record_batch(pa.py_buffer(body), SCHEMA) if body else EMPTY
    except (struct.error, msgspec.MsgspecError, pa.ArrowInvalid, OSError) as error:
        raise InvalidData(f"a log frame cannot be read: {error}", "bad_frame") from error
    return Frame(header.tallies, header.quarantined, header.resolved, header.commands, rows)
