"""Publications of OPC UA decoded where the time goes: values of simple types by hand, all else by asyncua. Pure.

Used by session.py. A server with thousands of variables sends little else, and asyncua's general decoder takes
several times as long for them (`python -m bench opcua`). Clauses are of OPC 10000-6.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import Primitives, from_binary, nodeid_from_binary, struct_from_binary, variant_from_binary

SIMPLE = {
    int(ua.VariantType[name]): struct.Struct("<" + code)
    for name, code in zip(
        ("Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double"),
        "?bBhHiIqQfd",
        strict=True,
    )
}
TEXT = int(ua.VariantType.String)
VALUE, CODE, SOURCE, SERVER, SOURCE_FINE, SERVER_FINE = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20  # 5.2.2.17
UINT32, INT32, INT64 = struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<q")
EPOCH = 116_444_736_000_000_000  # 1970 in ticks of 100 ns since 1601: 5.2.2.5
LATEST = 2_650_467_743_990_000_000 - 315_360_000_000_000  # the year 9999; the ends of time mean none


class Change(NamedTuple):
    """One value of one variable. Instants in microseconds; None where the server gave none."""

    handle: int
    kind: ua.VariantType | None
    value: Any
    code: int  # StatusCode
    source: int | None
    server: int | None


@dataclass(frozen=True, slots=True)
class Publication:
    """What one publish response says. `number` is to be acknowledged when there is anything in it."""

    number: int
    available: Sequence[int]  # numbers the server keeps until they are acknowledged
    changes: Sequence[Change]
    ended: str = ""  # the code with which the server gave the subscription up
    is_empty: bool = False  # a sign of life, which has no number of its own


def publication(answer: Buffer) -> Publication:
    """Of a PublishResponse; `UaStatusCodeError` when the server's answer is a fault."""
    _head(answer)
    answer.skip(UINT32.size)  # the subscription: we have one
    available = [Primitives.UInt32.unpack(answer) for _ in range(Primitives.Int32.unpack(answer))]
    answer.skip(1)  # more notifications: they come without being asked for
    return _message(answer, available)


def republished(answer: Buffer) -> Publication:
    """Of a RepublishResponse; `UaStatusCodeError` when the server's answer is a fault."""
    _head(answer)
    return _message(answer, ())


def values(answer: Buffer) -> list[Change]:
    """Of a ReadResponse, in order; handles count from 0."""
    _head(answer)
    body = bytes(answer)
    (count,) = INT32.unpack_from(body)
    found, at = list[Change](), INT32.size
    for handle in range(count):
        change, at = _value(body, at, handle)
        found.append(change)
    return found


def _head(answer: Buffer) -> None:
    nodeid_from_binary(answer)
    struct_from_binary(ua.ResponseHeader, answer).ServiceResult.check()


def _message(answer: Buffer, available: Sequence[int]) -> Publication:
    number = Primitives.UInt32.unpack(answer)
    answer.skip(INT64.size)  # when it was published
    count = Primitives.Int32.unpack(answer)
    found, ended = list[Change](), ""
    for _ in range(count):
        kind, encoding = nodeid_from_binary(answer), answer.read(1)
        body = answer.read(Primitives.Int32.unpack(answer)) if encoding == b"\x01" else b""
        if kind.Identifier == ObjectIds.DataChangeNotification_Encoding_DefaultBinary:
            found += changes(body)
        elif kind.Identifier == ObjectIds.StatusChangeNotification_Encoding_DefaultBinary:
            ended = from_binary(ua.StatusChangeNotification, Buffer(body)).Status.name
    return Publication(number, available, found, ended, is_empty=count < 1)


def changes(body: bytes) -> list[Change]:
    """Of a DataChangeNotification (10000-4, 7.25.2)."""
    (count,) = INT32.unpack_from(body)
    found, at = list[Change](), INT32.size
    for _ in range(count):
        (handle,) = UINT32.unpack_from(body, at)
        change, at = _value(body, at + UINT32.size, handle)
        found.append(change)
    return found


def _value(body: bytes, at: int, handle: int) -> tuple[Change, int]:
    """The DataValue at this place and where it ends (5.2.2.17; asyncua 2.1.0 takes its last fields in wrong order)."""
    mask, at = body[at], at + 1
    kind, value, code = None, None, 0
    source = server = None
    if mask & VALUE:
        kind, value, at = _variant(body, at)
    if mask & CODE:
        (code,) = UINT32.unpack_from(body, at)
        at += UINT32.size
    if mask & SOURCE:
        source = _instant(INT64.unpack_from(body, at)[0])
        at += INT64.size
    at += 2 if mask & SOURCE_FINE else 0
    if mask & SERVER:
        server = _instant(INT64.unpack_from(body, at)[0])
        at += INT64.size
    at += 2 if mask & SERVER_FINE else 0
    return Change(handle, kind, value, code, source, server), at


def _variant(body: bytes, at: int) -> tuple[ua.VariantType, Any, int]:
    number = body[at]
    if (simple := SIMPLE.get(number)) is not None:
        (value,) = simple.unpack_from(body, at + 1)
        return KINDS[number], value, at + 1 + simple.size
    if number == TEXT:
        (length,) = INT32.unpack_from(body, at + 1)
        start = at + 1 + INT32.size
        end = start + max(0, length)
        return KINDS[number], None if length < 0 else body[start:end].decode("utf-8", "replace"), end
    rest = Buffer(body, at)
    variant = variant_from_binary(rest)
    return variant.VariantType, variant.Value, rest.cur_pos


KINDS = {number: ua.VariantType(number) for number in (*SIMPLE, TEXT)}


def _instant(ticks: int) -> int | None:
    return (ticks - EPOCH) // 10 if 0 < ticks < LATEST else None
