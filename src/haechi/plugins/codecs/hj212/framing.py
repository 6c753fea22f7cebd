"""HJ 212 frames in a byte stream: `##`, length, data segment, checksum, line end. Used by codec and adapter.

Clause 6.2.1 of HJ 212-2017, checksum of annex A. Pure: bytes in, frames out.
"""

import re
from dataclasses import dataclass

from haechi.core.errors import InvalidData

MAX_SEGMENT = 9999  # four digits; the standard says 1024, devices in the field exceed it
HEAD, TAIL = 6, 6  # "##" and length; checksum, CR and LF
_FRAME = re.compile(rb"##(\d{4})(.*)([0-9A-Fa-f]{4})\r\n", re.DOTALL)
_BEGIN = re.compile(rb"##(?!#)")


def _shifted(register: int) -> int:
    for _ in range(8):
        register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    return register


def _passed() -> list[tuple[int, ...]]:
    """What a byte has become when k more bytes have followed it, for k = 0 to 7; after eight it is itself again."""
    tables = [tuple(range(256))]
    for _ in range(7):
        tables.append(tuple(_LAST[byte] >> 8 for byte in tables[-1]))
    return tables


# The standard shifts the low byte out before it mixes the next one in, so only eight bits pass from byte to byte: no
# Modbus CRC, 256 different results, and two bytes that trade places eight apart go unseen. One flipped bit never does.
# It is linear and comes back to itself every eight bytes, so all words of eight bytes may be folded into one first:
# five times as fast as a loop over the bytes, which is what the tests compare it with.
_LAST = tuple(_shifted(register) for register in range(256))
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7 = _PASSED = _passed()
_FOLDS = tuple((bits, (1 << bits) - 1) for bits in (64 << power for power in range(11)))


def crc(segment: bytes) -> int:
    """Checksum of a data segment, 0–0xFFFF."""
    size = len(segment)
    if not size:
        return 0xFFFF
    word = int.from_bytes(segment, "big")
    for bits, mask in reversed(_FOLDS[: (size * 8 - 1).bit_length() - 6]):
        word = (word >> bits) ^ (word & mask)
    a, b, c, d, e, f, g, h = word.to_bytes(8, "big")
    folded = _P7[a] ^ _P6[b] ^ _P5[c] ^ _P4[d] ^ _P3[e] ^ _P2[f] ^ _P1[g] ^ _P0[h]
    return _LAST[folded ^ _PASSED[(size - 1) % 8][0xFF]]


def wrap(segment: bytes) -> bytes:
    """The frame around a data segment; `InvalidData` ("bad_length") when four digits cannot say its length."""
    size = len(segment)
    if size > MAX_SEGMENT:
        raise InvalidData(f"a data segment of {size} bytes: send it in several packets (PNUM, PNO)", "bad_length")
    return b"##%04d%b%04X\r\n" % (size, segment, crc(segment))


def unwrap(frame: bytes) -> bytes:
    """The data segment of exactly one frame; `InvalidData`: bad_start, bad_length, bad_crc, bad_end."""
    match = _FRAME.fullmatch(frame)
    if match is None:
        raise InvalidData(*_broken(frame))
    segment: bytes = match[2]
    if len(segment) != int(match[1]):
        stated, size = int(match[1]), len(segment)
        raise InvalidData(f"the length says {stated}, the data segment has {size} bytes", "bad_length")
    real = crc(segment)
    if real != int(match[3], 16):
        stated_crc = match[3].decode()
        raise InvalidData(f"the checksum says {stated_crc}, the data segment gives {real:04X}: damaged", "bad_crc")
    return segment


def _broken(frame: bytes) -> tuple[str, str]:
    """What is wrong with bytes that have not the outline of a frame, and the word for it."""
    if not frame.startswith(b"##"):
        return f"{frame[:24]!r} does not begin with ##: no HJ 212 frame", "bad_start"
    if not frame[2:HEAD].isdigit() or len(frame) < HEAD:
        return f"{frame[2:HEAD]!r} is no length of four digits", "bad_length"
    if not frame.endswith(b"\r\n"):
        return f"{frame[-4:]!r} where CR LF should end the frame", "bad_end"
    return f"{frame[-TAIL:-2]!r} is no checksum of four hexadecimal digits", "bad_crc"


def split(payload: bytes) -> list[bytes]:
    """The frames that lie one behind the other in a payload; what is no frame comes back whole, as the last piece."""
    pieces = []
    at = 0
    while payload.startswith(b"##", at) and payload[at + 2 : at + HEAD].isdigit():
        end = at + HEAD + int(payload[at + 2 : at + HEAD]) + TAIL
        if end >= len(payload):
            break
        pieces.append(payload[at:end])
        at = end
    pieces.append(payload[at:])
    return pieces


@dataclass(frozen=True, slots=True)
class BadFrame:
    """Bytes of the stream that are no frame, whole and in order, with the reason `InvalidData` would give."""

    raw: bytes
    reason: str


class Framer:
    """Cuts a byte stream into frames however TCP split it; finds the next one after damage. One per connection."""

    def __init__(self, max_segment: int = MAX_SEGMENT) -> None:
        self._buffer = b""
        self._max = max_segment

    @property
    def waiting(self) -> int:
        """Bytes held back because their frame is not complete."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[bytes | BadFrame]:
        """Frames complete by now (from `##` to CR LF, checksum checked) and the bytes between them that are none.

        Together they hold every byte fed, once and in order, but for blanks and line ends between frames.
        """
        buffer = self._buffer + chunk if self._buffer else chunk
        found: list[bytes | BadFrame] = []
        at = 0
        while (end := self._next(buffer, at, found)) > at:
            at = end
        self._buffer = buffer[at:]
        return found

    def flush(self) -> list[bytes | BadFrame]:
        """What remains when the stream ends: at most one bad frame."""
        rest, self._buffer = self._buffer, b""
        return [BadFrame(rest, "truncated")] if rest.strip() else []

    def _next(self, buffer: bytes, at: int, found: list[bytes | BadFrame]) -> int:
        """Takes one frame or bad frame from `buffer[at:]`; returns where it ended, `at` when more bytes are needed."""
        if not buffer.startswith(b"##", at):
            return self._skip(buffer, at, found)
        digits = buffer[at + 2 : at + HEAD]
        if digits and not digits.isdigit():
            return self._drop(buffer, at, "bad_length", found)
        if len(digits) == 4 and int(digits) > self._max:
            return self._drop(buffer, at, "too_long", found)
        return self._whole(buffer, at, int(digits), found) if len(digits) == 4 else at

    def _whole(self, buffer: bytes, at: int, size: int, found: list[bytes | BadFrame]) -> int:
        end = at + HEAD + size + TAIL
        line_end = buffer.find(b"\r\n", at + HEAD, end)
        if line_end < 0 and len(buffer) < end:
            return at
        if line_end + 2 == end:
            frame = buffer[at:end]
            try:
                unwrap(frame)
            except InvalidData as error:
                return self._drop(buffer, at, error.reason, found)
            found.append(frame)
            return end
        # A segment holds no line end: the length is wrong or bytes are missing, unless only the line end was hurt.
        only_end = (
            line_end < 0 and b"%04X" % crc(buffer[at + HEAD : end - TAIL]) == buffer[end - TAIL : end - 2].upper()
        )
        return self._drop(buffer, at, "bad_end" if only_end else "bad_length", found)

    def _skip(self, buffer: bytes, at: int, found: list[bytes | BadFrame]) -> int:
        """Bytes before the next `##`: a modem's greeting, the rest of something broken, or blanks."""
        begin = _BEGIN.search(buffer, at)
        end = begin.start() if begin else len(buffer) - buffer.endswith(b"#")
        noise = buffer[at:end]
        if noise.strip():
            found.append(BadFrame(noise, "bad_start"))
        return max(end, at)

    def _drop(self, buffer: bytes, at: int, reason: str, found: list[bytes | BadFrame]) -> int:
        """Gives up the frame that begins at `at`, up to its line end or the next `##`, whichever comes first.

        Without either the bytes wait, until they are longer than any frame.
        """
        line_end = buffer.find(b"\r\n", at + 2)
        begin = _BEGIN.search(buffer, at + 1)
        ends = [line_end + 2] if line_end >= 0 else []
        ends += [begin.start()] if begin else []
        if not ends and len(buffer) - at <= HEAD + self._max + TAIL:
            return at
        end = min(ends, default=len(buffer))
        found.append(BadFrame(buffer[at:end], reason))
        return end
