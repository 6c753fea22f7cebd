"""Frames of HJ 212 in a byte stream: published ones decode, damaged ones are named and never pass for good."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.errors import InvalidData
from haechi.plugins.codecs.hj212.framing import BadFrame, Framer, crc, split, unwrap, wrap

# HJ 212-2017, annex A: the standard's own worked example.
ANNEX_A = (
    b"##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;"
    b"CP=&&RtdInterval=30&&1C80\r\n"
)
segments = st.binary(max_size=300).filter(lambda raw: b"\r\n" not in raw)
plain_segments = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="#"), max_size=200).map(
    str.encode
)


def reason(frame: bytes) -> str:
    with pytest.raises(InvalidData) as caught:
        unwrap(frame)
    return caught.value.reason


def good(found: list[bytes | BadFrame]) -> list[bytes]:
    return [one for one in found if isinstance(one, bytes)]


def test_the_worked_example_of_annex_a_has_the_checksum_the_standard_prints() -> None:
    assert crc(unwrap(ANNEX_A)) == 0x1C80
    assert wrap(unwrap(ANNEX_A)) == ANNEX_A


def by_the_book(segment: bytes) -> int:
    """Annex A of HJ 212-2017, line by line."""
    register = 0xFFFF
    for byte in segment:
        register = (register >> 8) ^ byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    return register


@given(st.binary(max_size=600))
def test_the_folded_checksum_is_that_of_the_loop_in_the_standard(segment: bytes) -> None:
    assert crc(segment) == by_the_book(segment)


@pytest.mark.parametrize("size", [*range(1, 70), 127, 128, 129, 1023, 1024, 1025, 8191, 8192, 8193, 9998, 9999])
def test_the_folded_checksum_holds_at_every_size(size: int) -> None:
    segment = bytes((7 * index + index // 11) % 256 for index in range(size))
    assert crc(segment) == by_the_book(segment)


def test_the_checksum_may_be_written_in_lower_case() -> None:
    assert unwrap(ANNEX_A.replace(b"1C80", b"1c80")) == ANNEX_A[6:-6]


@given(segments)
def test_what_is_wrapped_unwraps_to_the_same_segment(segment: bytes) -> None:
    assert unwrap(wrap(segment)) == segment


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ANNEX_A.replace(b"1C80", b"1C81"), "bad_crc"),
        (ANNEX_A.replace(b"1C80", b"+C80"), "bad_crc"),
        (ANNEX_A.replace(b"30&&", b"31&&"), "bad_crc"),
        (ANNEX_A.replace(b"0101", b"0102"), "bad_length"),
        (ANNEX_A.replace(b"0101", b" 101"), "bad_length"),
        (ANNEX_A[:-2], "bad_end"),
        (ANNEX_A[1:], "bad_start"),
        (b"", "bad_start"),
        (b"##01", "bad_length"),
    ],
)
def test_a_damaged_frame_is_refused_with_the_reason(frame: bytes, expected: str) -> None:
    assert reason(frame) == expected


def test_no_single_flipped_bit_passes_except_the_case_of_the_checksum() -> None:
    for position in range(len(ANNEX_A)):
        for bit in range(8):
            flipped = bytearray(ANNEX_A)
            flipped[position] ^= 1 << bit
            if bytes(flipped).lower() == ANNEX_A.lower() and position >= len(ANNEX_A) - 6:
                continue  # 1C80 and 1c80 are the same number
            reason(bytes(flipped))


@given(segments, st.data())
def test_no_flipped_bit_of_any_segment_passes(segment: bytes, data: st.DataObject) -> None:
    frame = bytearray(wrap(segment))
    position = data.draw(st.integers(0, len(frame) - 1))
    frame[position] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(InvalidData):
        assert unwrap(bytes(frame)) == segment  # passes only where the case of a checksum digit changed


def test_a_segment_longer_than_four_digits_can_say_is_refused() -> None:
    with pytest.raises(InvalidData, match="several packets"):
        wrap(b"x" * 10_000)


@given(st.lists(segments, max_size=5), st.data())
def test_frames_come_out_whole_however_the_stream_was_split(parts: list[bytes], data: st.DataObject) -> None:
    frames = [wrap(part) for part in parts]
    stream = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    framer = Framer()
    found: list[bytes | BadFrame] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += framer.feed(stream[start:end])
    assert found == frames
    assert framer.waiting == 0


@given(
    st.lists(st.one_of(plain_segments.map(wrap), st.binary(max_size=40)), max_size=6),
    st.lists(st.integers(1, 60), min_size=1, max_size=10),
)
def test_every_byte_fed_comes_out_once_and_in_order(pieces: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(pieces)
    framer = Framer()
    out = b""
    at = 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        out += b"".join(one if isinstance(one, bytes) else one.raw for one in framer.feed(stream[at : at + size]))
        at += size
    out += b"".join(one.raw for one in framer.flush() if isinstance(one, BadFrame))
    blanks = b" \t\r\n\x0b\x0c"
    assert out.translate(None, blanks) == stream.translate(None, blanks)


@given(plain_segments, st.binary(max_size=60).filter(lambda raw: b"#" not in raw), plain_segments)
def test_noise_between_two_frames_is_named_and_both_frames_are_found(one: bytes, noise: bytes, two: bytes) -> None:
    found = Framer().feed(wrap(one) + noise + wrap(two))
    assert good(found) == [wrap(one), wrap(two)]
    assert [bad.raw for bad in found if isinstance(bad, BadFrame)] == ([noise] if noise.strip() else [])


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        (ANNEX_A.replace(b"0101", b"9101"), "bad_length"),
        (ANNEX_A.replace(b"0101", b"0011"), "bad_length"),
        (ANNEX_A.replace(b"0101", b"01x1"), "bad_length"),
        (ANNEX_A.replace(b"1C80", b"1C81"), "bad_crc"),
        (ANNEX_A[:60], "bad_length"),
        (ANNEX_A[:-2], "bad_end"),
    ],
)
def test_the_frame_after_a_damaged_one_is_found_at_once(damaged: bytes, expected: str) -> None:
    found = Framer().feed(damaged + ANNEX_A)
    assert found == [BadFrame(damaged, expected), ANNEX_A]


def test_a_length_over_the_limit_is_given_up_without_waiting_for_its_bytes() -> None:
    found = Framer(max_segment=1024).feed(b"##9000" + b"x" * 50 + b"\r\n" + ANNEX_A)
    assert found == [BadFrame(b"##9000" + b"x" * 50 + b"\r\n", "too_long"), ANNEX_A]


def test_a_stream_without_any_frame_keeps_no_more_than_one_frame_in_memory() -> None:
    framer = Framer(max_segment=1024)
    for _ in range(100):
        framer.feed(b"##12ab" + b"y" * 500)
        assert framer.waiting < 3000


def test_half_a_frame_at_the_end_of_the_stream_is_truncated() -> None:
    framer = Framer()
    assert framer.feed(ANNEX_A[:50]) == []
    assert framer.flush() == [BadFrame(ANNEX_A[:50], "truncated")]


@given(st.lists(segments, min_size=1, max_size=4))
def test_a_payload_of_several_frames_splits_where_they_meet(parts: list[bytes]) -> None:
    frames = [wrap(part) for part in parts]
    assert split(b"".join(frames)) == frames
