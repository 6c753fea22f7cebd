"""Ingest: samples become observations, mistakes become quarantine with a cause, and the account counts both."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.frame import Tally, encode
from haechi.core.message import Message, Sample
from haechi.core.observation import Observation, from_batch
from haechi.core.quality import Quality
from haechi.plugins.codecs.json import create as json_codec
from haechi.services.ingest import mapping
from haechi.services.ingest.batch import BYTES, ROW_BYTES, ROWS, Builder
from haechi.services.ingest.mapping import Mapper
from haechi.services.ingest.plan import Attribute, FieldRule, LinkPlan

NOW = 1_795_000_000_000_000
SENSOR = "urn:ngsi-ld:WaterPressureSensor:gimpo:P-1"


def plan(**changes: object) -> LinkPlan:
    settings: dict[str, object] = {
        "link": "water",
        "codec": json_codec({"time": "ts", "time_format": "epoch_s"}),
        "fields": (FieldRule("p", "pressure", "BAR"), FieldRule("open", "open"), FieldRule("mode", "mode")),
        "entities": {("GW-01", "P-1"): SENSOR},
        "types": {SENSOR: "WaterPressureSensor"},
        "attributes": {
            ("WaterPressureSensor", "pressure"): Attribute("KPA", "number", 0.0, 1600.0),
            ("WaterPressureSensor", "open"): Attribute(None, "boolean"),
            ("WaterPressureSensor", "mode"): Attribute(None, "text"),
        },
        "city": "gimpo",
    }
    return LinkPlan(**{**settings, **changes})  # type: ignore[arg-type]


def build(
    payload: bytes, channel: str = "P-1", device: str = "GW-01", link: str = "water", **changes: object
) -> Builder:
    builder = Builder({"water": Mapper(plan(**changes))}, new_id=lambda: "q1")
    builder.add(Message(link, device, channel, payload, NOW))
    return builder


def tallies(builder: Builder) -> dict[str, Tally]:
    (frame,) = builder.frames()
    return frame.tallies


def rows(builder: Builder) -> list[Observation]:
    return from_batch(builder.observations())


def test_a_value_is_converted_to_the_unit_of_its_attribute_and_keeps_both_times() -> None:
    payload = orjson.dumps({"ts": NOW // 1_000_000 - 5, "p": 4.125})
    expected = Observation(SENSOR, "pressure", NOW - 5_000_000, NOW, 412.5, None, "KPA", 0, "water")
    assert rows(build(payload)) == [expected]


def test_words_and_switches_travel_as_json() -> None:
    assert [one.content for one in rows(build(b'{"open": true, "mode": "auto"}'))] == [True, "auto"]


def test_an_implausible_value_is_stored_and_marked() -> None:
    assert [one.quality for one in rows(build(b'{"p": 99}'))] == [Quality.OUT_OF_RANGE]


def test_a_clock_ahead_of_ours_is_corrected_and_marked() -> None:
    (row,) = rows(build(orjson.dumps({"ts": NOW // 1_000_000 + 3600, "p": 4})))
    assert (row.observed_at, row.quality) == (NOW, Quality.CLOCK_SKEW)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{", "malformed"),
        (b'{"p": "high"}', "bad_type"),
        (b'{"p": true}', "bad_type"),
        (b'{"p": "1_000"}', "bad_type"),
        (b'{"p": "nan"}', "bad_type"),
        (b'{"p": null}', "empty"),
        (b'{"open": 7}', "bad_type"),
        (b'{"mode": 1}', "bad_type"),
        (b'{"flow": 1}', "unmapped_field"),
        (b'{"ts": 5, "p": 1}', "bad_time"),
    ],
)
def test_what_cannot_be_understood_is_kept_with_its_bytes_and_cause(payload: bytes, reason: str) -> None:
    builder = build(payload)
    (kept,) = builder.quarantined
    assert (kept.reason, kept.payload, kept.count) == (reason, payload, 1)
    assert tallies(builder) == {"water": Tally(1, 0, 1)}


def test_an_unknown_device_is_kept_until_somebody_registers_it() -> None:
    (kept,) = build(b'{"p": 1}', device="GW-99").quarantined
    assert kept.reason == "unknown_device"
    assert "devices.csv" in kept.detail


def test_good_samples_of_a_message_are_stored_while_its_bad_ones_are_kept() -> None:
    builder = build(b'{"p": 4, "flow": 1, "open": 7}')
    assert len(rows(builder)) == 1
    assert builder.quarantined[0].fields == ("flow", "open")
    assert builder.quarantined[0].samples == (1, 2)
    assert tallies(builder) == {"water": Tally(3, 1, 2)}


def test_a_link_may_ignore_fields_it_does_not_name() -> None:
    builder = build(b'{"p": 4, "flow": 1}', ignore_unmapped=True)
    assert (len(rows(builder)), builder.quarantined) == (1, ())


def test_a_sender_that_invents_fields_or_units_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "MAX_TARGETS", 5)
    monkeypatch.setattr(mapping, "MAX_IGNORED", 2)
    mapper = Mapper(plan(ignore_unmapped=True))
    kept: list[mapping.Row] = []
    for number in range(20):
        samples = [Sample("p", 4.0, unit=None), Sample(f"invented {number}", 1.0)]
        assert mapper.rows(samples, Message("water", "GW-01", "P-1", b"", NOW), kept) == []
        assert len(mapper._targets) <= 3
    for number in range(20):
        mapper.rows([Sample("mode", "auto", unit=f"u{number}")], Message("water", "GW-01", "P-1", b"", NOW), kept)
        assert len(mapper._targets) <= 5
    assert len(kept) == 40


def test_the_status_of_a_device_is_an_observation_of_the_device() -> None:
    (row,) = rows(build(b'{"online": false}', channel="$status"))
    assert (row.entity, row.attribute, row.content) == ("urn:ngsi-ld:Device:gimpo:GW-01", "online", False)


def test_a_link_that_left_the_city_quarantines() -> None:
    assert build(b'{"p": 4}', link="gone").quarantined[0].reason == "unknown_link"


values = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.lists(st.integers(-5, 5), max_size=2)
)


@given(st.dictionaries(st.sampled_from(["p", "open", "mode", "ts", "flow"]), values), st.integers(0, 3))
def test_the_account_of_any_payload_balances(payload: dict[str, object], rejected: int) -> None:
    builder = build(orjson.dumps(payload))
    if rejected:
        builder.reject("water", "too_big", rejected)
    for tally in tallies(builder).values():
        assert tally.received == tally.stored + tally.quarantined + sum(tally.rejected.values())
    stored = sum(one.stored for one in tallies(builder).values())
    assert builder.observations().num_rows == stored


class Broken:
    """A codec with a bug."""

    def decode(self, message: Message) -> list[Sample]:
        raise ZeroDivisionError


def test_a_bug_met_by_one_message_keeps_that_message_and_the_door_open() -> None:
    builder = build(b'{"p": 4}', codec=Broken())
    (kept,) = builder.quarantined
    assert (kept.reason, kept.payload) == ("codec_failed", b'{"p": 4}')


def test_a_large_batch_goes_to_the_log_in_pieces_that_account_for_themselves() -> None:
    builder = Builder({"water": Mapper(plan())})
    for number in range(ROWS + 5):
        builder.add(Message("water", "GW-01", "P-1", b'{"p": 4}', NOW + number))
    for _ in range(3):
        builder.add(Message("water", "GW-01", "P-1", b"{" + b" " * (BYTES - 10), NOW))
    builder.reject("water", "too_big", 2)
    frames = builder.frames()
    assert [one.observations.num_rows for one in frames] == [ROWS, 5, 0, 0, 0, 0]
    for frame in frames:
        (tally,) = frame.tallies.values()
        assert tally.stored == frame.observations.num_rows
        assert tally.received == tally.stored + tally.quarantined + sum(tally.rejected.values())
    assert sum(one.tallies["water"].received for one in frames) == ROWS + 5 + 3 + 2


def test_a_message_whose_codec_finds_less_than_before_stays_in_quarantine() -> None:
    builder = Builder({"water": Mapper(plan())})
    builder.add(Message("water", "GW-01", "P-1", b'{"p": 4}', NOW), frozenset({1}))
    assert (builder.stored, builder.quarantined[0].reason) == (0, "codec_changed")


def test_long_texts_and_large_messages_never_make_a_frame_the_log_would_refuse() -> None:
    builder = Builder({"water": Mapper(plan())})
    for _ in range(5):
        builder.add(Message("water", "GW-01", "P-1", orjson.dumps({"mode": "x" * (ROW_BYTES // 2)}), NOW))
    for _ in range(2):
        builder.add(Message("water", "GW-01", "P-1", b"{" + b" " * ROW_BYTES, NOW))
    frames = builder.frames()
    assert max(len(encode(one)) for one in frames) < 1.1 * ROW_BYTES
    assert sum(one.tallies["water"].stored for one in frames) == 5
    assert sum(one.tallies["water"].quarantined for one in frames) == 2
