"""HJ 212-2017 as a device writes and reads it: frames out, answers in. Used by the virtual device and by replay."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ANSWER = re.compile(rb"##(\d{4})([^\r\n]*?)([0-9A-Fa-f]{4})\r\n")
DATA_TAKEN, NOTICE_TAKEN, TURNED_AWAY = "9014", "9013", "9011"
HEARTBEAT, REAL_TIME, MINUTES, HOUR = "9015", "2011", "2051", "2061"


def _word(register: int) -> int:
    for _ in range(8):
        register = register >> 1 ^ (0xA001 if register & 1 else 0)
    return register


_WORDS = tuple(_word(register) for register in range(256))
_HIGH = tuple(word >> 8 for word in _WORDS)


def checksum(raw: bytes) -> int:
    """Annex A of HJ 212-2017: the register loses its low byte before each byte of the segment is mixed in."""
    high = 0xFF
    word = 0xFFFF
    for byte in raw:
        word = _WORDS[high ^ byte]
        high = _HIGH[high ^ byte]
    return word


def frame(text: str) -> bytes:
    """The frame around a data segment; ValueError beyond 9,999 bytes."""
    raw = text.encode()
    if len(raw) > 9999:
        raise ValueError(f"{len(raw)} bytes do not fit into one HJ 212 frame; send fewer values at once")
    return b"##%04d%b%04X\r\n" % (len(raw), raw, checksum(raw))


def local_time(at_us: int, offset_h: float, milliseconds: bool = False) -> str:
    """yyyyMMddHHmmss of an instant, where clocks are `offset_h` ahead of UTC; with fff on request."""
    local = _EPOCH + timedelta(microseconds=at_us, hours=offset_h)
    text = local.strftime("%Y%m%d%H%M%S")
    return f"{text}{local.microsecond // 1000:03d}" if milliseconds else text


def data_time(at_us: int, offset_h: float) -> str:
    """DataTime of an instant: 14 digits, 17 where it is no whole second."""
    return local_time(at_us, offset_h, milliseconds=at_us % 1_000_000 >= 1000)


def groups(values: Mapping[str, str], flags: Mapping[str, str], kind: str) -> str:
    """`code-Rtd=…,code-Flag=N;…`: `kind` is appended to codes that name none of their own (`a01008-Info`)."""
    parts = []
    for code, text in values.items():
        base, dash, _ = code.partition("-")
        flag = flags.get(code)
        item = f"{code if dash else f'{code}-{kind}'}={text}"
        parts.append(f"{item},{base}-Flag={flag}" if flag is not None else item)
    return ";".join(parts)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device says about itself in each frame."""

    mn: str
    password: str
    st: str = "22"


def segment(who: Identity, qn: str, cn: str, body: str) -> str:
    """A data segment that asks for an answer (Flag 5: edition 2017, answer wanted)."""
    return f"QN={qn};ST={who.st};CN={cn};PW={who.password};MN={who.mn};Flag=5;CP=&&{body}&&"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the platform said about the request `qn`; `result` is QnRtn, empty where there is none."""

    cn: str
    qn: str
    result: str


def answers(buffer: bytes) -> tuple[list[Answer], bytes]:
    """Answers complete in the buffer and the bytes that remain; what is damaged is left out (we send again anyway)."""
    found, at = [], 0
    for match in _ANSWER.finditer(buffer):
        at = match.end()
        raw = match[2]
        if int(match[1]) == len(raw) and int(match[3], 16) == checksum(raw):
            found.append(_answer(raw.decode(errors="replace")))
    return found, buffer[at:]


def _answer(text: str) -> Answer:
    fields = dict(_pairs(re.split(r";|CP=&&|&&", text)))
    return Answer(fields.get("CN", ""), fields.get("QN", ""), fields.get("QnRtn", ""))


def _pairs(items: Iterable[str]) -> Iterable[tuple[str, str]]:
    for item in items:
        name, equals, value = item.partition("=")
        if equals:
            yield name, value
