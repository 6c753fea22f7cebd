"""The log frame: what goes in comes out, and nothing else is taken for a frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.errors import InvalidData
from haechi.core.frame import EntityCommand, Frame, Quarantined, Tally, decode, encode
from haechi.core.observation import Observation, from_batch, to_batch

instants = st.integers(0, 4_102_444_800_000_000)
observations = st.builds(
    Observation,
    entity=st.text(min_size=1),
    attribute=st.text(min_size=1),
    observed_at=instants,
    received_at=instants,
    value=st.none() | st.floats(allow_nan=False),
    text=st.none() | st.just('{"a":[1,true]}'),
    unit=st.none() | st.just("KPA"),
    quality=st.integers(0, 255),
    link=st.text(),
)


@given(st.lists(observations, max_size=20))
def test_observations_survive_the_frame(rows: list[Observation]) -> None:
    assert from_batch(decode(encode(Frame(observations=to_batch(rows)))).observations) == rows


def test_everything_else_in_a_frame_survives_too() -> None:
    frame = Frame(
        tallies={"water": Tally(3, 1, 1, {"too_big": 1}, 0)},
        quarantined=(Quarantined("q1", "water", "GW-01", "P-1", 5, b"\xff{", "malformed", "not JSON", 1),),
        resolved=("q0",),
        commands=(EntityCommand("c1", "delete", "urn:ngsi-ld:T:1"),),
    )
    assert decode(encode(frame)) == frame


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(noise: bytes) -> None:
    with pytest.raises(InvalidData):
        decode(noise)


def test_a_torn_frame_is_refused() -> None:
    whole = encode(Frame(observations=to_batch([Observation("e", "a", 1, 2, 3.0)])))
    for length in range(len(whole)):
        with pytest.raises(InvalidData):
            decode(whole[:length])
