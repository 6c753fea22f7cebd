"""Publications decoded by hand say what asyncua says of them, whatever is in them."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.times import to_us
from haechi.plugins.wire.opcua.changes import Change, changes, publication, republished, values

KIND = ua.VariantType
EARLY, LATE = datetime(1980, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
SCALARS: list[tuple[ua.VariantType, st.SearchStrategy[Any]]] = [
    (KIND.Boolean, st.booleans()),
    (KIND.SByte, st.integers(-128, 127)),
    (KIND.Byte, st.integers(0, 255)),
    (KIND.Int16, st.integers(-(2**15), 2**15 - 1)),
    (KIND.UInt16, st.integers(0, 2**16 - 1)),
    (KIND.Int32, st.integers(-(2**31), 2**31 - 1)),
    (KIND.UInt32, st.integers(0, 2**32 - 1)),
    (KIND.Int64, st.integers(-(2**63), 2**63 - 1)),
    (KIND.UInt64, st.integers(0, 2**64 - 1)),
    (KIND.Float, st.floats(width=32, allow_nan=False)),
    (KIND.Double, st.floats(allow_nan=False)),
    (KIND.String, st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    (KIND.ByteString, st.binary(max_size=20)),
    (KIND.DateTime, st.datetimes(EARLY, LATE, timezones=st.just(UTC))),
    (KIND.LocalizedText, st.builds(ua.LocalizedText, st.text(st.characters(codec="utf-8"), max_size=9))),
]
VARIANTS = st.one_of([values.map(lambda value, kind=kind: ua.Variant(value, kind)) for kind, values in SCALARS])
ARRAYS = st.lists(st.floats(allow_nan=False), max_size=4).map(lambda all_: ua.Variant(all_, KIND.Double, is_array=True))
STAMPS = st.none() | st.datetimes(EARLY, LATE, timezones=st.just(UTC))
CODES = st.none() | st.sampled_from([0, 0x40930000, 0x808C0000, 0x480]).map(ua.StatusCode)
VALUES = st.builds(
    ua.DataValue,
    VARIANTS | ARRAYS,
    CODES,
    STAMPS,
    STAMPS,
)
ITEMS = st.lists(st.builds(ua.MonitoredItemNotification, st.integers(0, 2**32 - 1), VALUES), max_size=8)


def answered(*content: Any, available: tuple[int, ...] = (7, 8)) -> ua.PublishResponse:
    answer = ua.PublishResponse()
    answer.Parameters.SubscriptionId, answer.Parameters.AvailableSequenceNumbers = 3, list(available)
    answer.Parameters.NotificationMessage.SequenceNumber = 8
    answer.Parameters.NotificationMessage.NotificationData = list(content)
    return answer


def meant(handle: int, value: ua.DataValue) -> Change:
    """What was put in."""
    variant, code = value.Value, value.StatusCode
    assert variant is not None
    stamps = [None if one is None else to_us(one) for one in (value.SourceTimestamp, value.ServerTimestamp)]
    return Change(handle, variant.VariantType, variant.Value, 0 if code is None else int(code.value), *stamps)


@given(st.lists(ITEMS, max_size=3))
def test_every_change_is_what_the_server_put_in(notifications: list[Any]) -> None:
    answer = answered(*(ua.DataChangeNotification(items, []) for items in notifications))
    found = publication(Buffer(struct_to_binary(answer)))
    assert list(found.changes) == [meant(one.ClientHandle, one.Value) for items in notifications for one in items]
    assert (found.number, list(found.available), found.ended) == (8, [7, 8], "")
    assert found.is_empty == (not notifications)
    again = ua.RepublishResponse(NotificationMessage=answer.Parameters.NotificationMessage)
    assert republished(Buffer(struct_to_binary(again))).changes == found.changes


@given(st.lists(VALUES, max_size=8))
def test_what_is_read_is_what_the_server_holds(held: list[ua.DataValue]) -> None:
    answer = struct_to_binary(ua.ReadResponse(Results=held))
    assert values(Buffer(answer)) == [meant(number, one) for number, one in enumerate(held)]


def test_fractions_of_a_stamp_stand_right_behind_it() -> None:
    """As node-opcua writes them: mask, double, SourceTimestamp, its picoseconds, ServerTimestamp, its picoseconds."""
    ticks = (1_795_000_000_000_000 * 10 + 116_444_736_000_000_000).to_bytes(8, "little")
    content = b"\x3d\x0b" + bytes(8) + ticks + b"\x01\x02" + ticks + b"\x03\x04"
    item = b"\x09\x00\x00\x00" + content
    wanted = (9, KIND.Double, 0.0, 0, 1_795_000_000_000_000, 1_795_000_000_000_000)
    assert changes(b"\x02\x00\x00\x00" + item + item) == [wanted, wanted]


def test_a_value_that_is_no_number_stays_none() -> None:
    nan = ua.MonitoredItemNotification(1, ua.DataValue(ua.Variant(math.nan, KIND.Double)))
    (found,) = publication(Buffer(struct_to_binary(answered(ua.DataChangeNotification([nan], []))))).changes
    assert math.isnan(found.value) and found.kind is KIND.Double


def test_the_ends_of_time_are_no_time() -> None:
    for year in (1601, 9999):
        value = ua.DataValue(ua.Variant(1.0), SourceTimestamp=datetime(year, 12 if year > 1601 else 1, 1, tzinfo=UTC))
        item = ua.MonitoredItemNotification(1, value)
        (found,) = publication(Buffer(struct_to_binary(answered(ua.DataChangeNotification([item], []))))).changes
        assert found.source is None


def test_a_subscription_that_is_given_up_says_so_and_events_are_passed_over() -> None:
    ended = ua.StatusChangeNotification(ua.StatusCode(ua.UInt32(0x800A0000)), ua.DiagnosticInfo())
    answer = answered(ua.EventNotificationList([]), ended)
    assert publication(Buffer(struct_to_binary(answer))).ended == "BadTimeout"


def test_a_fault_is_raised() -> None:
    answer = answered()
    answer.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(0x80790000))
    with pytest.raises(ua.UaStatusCodeError):
        publication(Buffer(struct_to_binary(answer)))
