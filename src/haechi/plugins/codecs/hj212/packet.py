"""HJ 212 packets: the fields of one data segment and the answers to it. Used by codec and adapter.

Clauses 6.2.2 (fields) and 6.6 (commands) of HJ 212-2017. Editions 2005, 2017 and the plain frames of 2025 differ in
what may be absent and in the version bits of Flag; nothing here needs to be told which one it reads.
"""

import re
from typing import Any

import msgspec

from haechi.core.errors import InvalidData
from haechi.plugins.codecs.hj212.framing import HEAD, TAIL, unwrap, wrap

REQUEST_ANSWER, DONE, NOTICE_ANSWER, DATA_ANSWER = "9011", "9012", "9013", "9014"
HEARTBEAT, ASK_TIME = "9015", "1013"
READY, REFUSED, WRONG_PW, WRONG_MN, WRONG_CN = 1, 2, 3, 4, 8  # QnRtn, annex


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One data segment. Absent fields are None; `others` keeps header fields this edition does not know, in order."""

    cn: str  # command: 2011 real-time, 2051 minutes, 2061 hour, 2031 day, 1xxx request, 3xxx, 9xxx control
    mn: str | None = None  # the device
    qn: str | None = None  # number of the request, yyyyMMddHHmmssfff
    st: str | None = None  # kind of system: 21 surface water, 22 air, 31 stack, 32 outfall, 91 control
    pw: str | None = None
    flag: int | None = None  # bit 0: answer wanted; bit 1: divided; bits 2-7: edition (0 2005, 1 2017, 2 2025)
    pnum: int | None = None
    pno: int | None = None
    body: str = ""  # between `CP=&&` and `&&`
    others: tuple[tuple[str, str], ...] = ()

    @property
    def wants_answer(self) -> bool:
        """Whether the sender waits for 9011, 9013 or 9014."""
        return self.flag is not None and bool(self.flag & 1)

    @property
    def edition(self) -> int:
        """The version bits of Flag; 0 (2005) where there is no Flag."""
        return (self.flag or 0) >> 2

    @property
    def carries_samples(self) -> bool:
        """Whether `body` holds values: uploads (2xxx) and instrument state (3xxx)."""
        return self.cn[0] in "23"

    def segment(self, encoding: str = "utf-8") -> bytes:
        """The data segment; `InvalidData` ("bad_text") when a field would not survive the way."""
        fields = self._fields()
        if _RESERVED.search("".join([value for _, value in fields])):
            name, value = next(one for one in fields if _RESERVED.search(one[1]))
            raise InvalidData(f"{name}={value!r} cannot hold ; & or a line end", "bad_text")
        if "&" in self.body or "\n" in self.body or "\r" in self.body:
            raise InvalidData("the body cannot hold & or a line end", "bad_text")
        head = "".join([f"{name}={value};" for name, value in fields])
        return f"{head}CP=&&{self.body}&&".encode(encoding)

    def _fields(self) -> list[tuple[str, str]]:
        named = (("QN", self.qn), ("ST", self.st), ("CN", self.cn), ("PW", self.pw), ("MN", self.mn))
        counts = (("Flag", self.flag), ("PNUM", self.pnum), ("PNO", self.pno))
        words = [(name, value) for name, value in named if value is not None]
        return [*words, *[(name, str(count)) for name, count in counts if count is not None], *self.others]


def encode(packet: Packet, encoding: str = "utf-8") -> bytes:
    """The frame of a packet, CR LF included."""
    return wrap(packet.segment(encoding))


# Packets parsed a moment ago, each until it is asked for: the door that takes a frame has read what ingest reads next.
_read: dict[bytes, Packet] = {}
_READ_MAX = 16_384  # as many as a door lets wait; it holds their packets anyway


def checked(frame: bytes) -> Packet:
    """The packet in a frame whose checksum is known to be right; `InvalidData`: bad_text, bad_header."""
    packet = parse(frame[HEAD:-TAIL])
    if len(_read) >= _READ_MAX:
        _read.clear()
    _read[frame] = packet
    return packet


def decode(frame: bytes, encoding: str = "utf-8") -> Packet:
    """The packet in exactly one frame; `InvalidData`: reasons of `framing.unwrap`, bad_text, bad_header."""
    read = _read.pop(frame, None)
    return read if read is not None and encoding == "utf-8" else parse(unwrap(frame), encoding)


def parse(segment: bytes, encoding: str = "utf-8") -> Packet:
    """The packet in a data segment whose checksum is known to be right; `InvalidData`: bad_text, bad_header."""
    try:
        text = segment.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidData(f"not {encoding} at byte {error.start}: set the link's `encoding`", "bad_text") from error
    head, opened, rest = text.partition("CP=&&")
    if not opened or not rest.endswith("&&"):
        raise InvalidData("no CP=&&…&& in the data segment", "bad_header")
    return _packet(head, rest[:-2])


_COUNTS = {"Flag": "flag", "PNUM": "pnum", "PNO": "pno"}
_WORDS = {"QN": "qn", "ST": "st", "CN": "cn", "PW": "pw", "MN": "mn"}
_COMMAND = re.compile(r"[0-9]{4}")
_RESERVED = re.compile(r"[;\r\n&]")


def _packet(head: str, body: str) -> Packet:
    known: dict[str, Any] = {}
    others = []
    for item in head.split(";"):
        name, equals, value = item.partition("=")
        if not equals:
            if item:
                raise InvalidData(f"{item!r} in the header is no name=value", "bad_header")
        elif name in _WORDS:
            known[_WORDS[name]] = value
        elif name in _COUNTS:
            known[_COUNTS[name]] = _count(name, value)
        else:
            others.append((name, value))
    if not _COMMAND.fullmatch(known.get("cn", "")):
        raise InvalidData(f"CN={known.get('cn', '')!r} is no command number", "bad_header")
    return Packet(**known, body=body, others=tuple(others))


def _count(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 4):
        raise InvalidData(f"{name}={value!r} is no number of at most four digits", "bad_header")
    return int(value)


def answer(packet: Packet, cn: str, result: int | None = None) -> Packet:
    """The answer to a packet: 9011 with QnRtn, 9012 with ExeRtn, 9013 and 9014 bare.

    Edition 2005 names the request inside CP, later ones in front; the version bits are those of the request.
    """
    name = "ExeRtn" if cn == DONE else "QnRtn"
    told = [] if result is None else [f"{name}={result}"]
    if packet.edition:
        return Packet(cn, packet.mn, packet.qn, "91", packet.pw, packet.edition << 2, body=";".join(told))
    named = [f"QN={packet.qn}"] if packet.qn else []
    request = [f"CN={packet.cn}"] if cn == DATA_ANSWER else []
    return Packet(cn, packet.mn, None, "91", packet.pw, 0, body=";".join(named + request + told))
