"""HJ 212 uploads become samples: published frames, both editions, flags, times and everything that must be refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.errors import InvalidData, InvalidSettings
from haechi.core.message import Message, Sample
from haechi.core.times import format_iso, parse_iso
from haechi.plugins.codecs.hj212.codec import create
from haechi.plugins.codecs.hj212.framing import wrap
from haechi.plugins.codecs.hj212.packet import DATA_ANSWER, DONE, REQUEST_ANSWER, Packet, answer, decode, encode

VECTORS = Path("/work/shared/protocols/vectors.json")
words = st.text(st.characters(codec="utf-8", exclude_characters=";&=\r\n", exclude_categories=["Cs"]), max_size=12)
bodies = st.text(st.characters(codec="utf-8", exclude_characters="&\r\n", exclude_categories=["Cs"]), max_size=60)
packets = st.builds(
    Packet,
    cn=st.from_regex(r"[0-9]{4}", fullmatch=True).filter(str.isascii),
    mn=st.none() | words,
    qn=st.none() | words,
    st=st.none() | words,
    pw=st.none() | words,
    flag=st.none() | st.integers(0, 255),
    pnum=st.none() | st.integers(0, 9999),
    pno=st.none() | st.integers(0, 9999),
    body=bodies,
    others=st.sampled_from([(), (("RF", "1"),)]),
)


def samples(frame: bytes, **settings: Any) -> list[Sample]:
    return list(create(settings).decode(Message("air", "MN", "2011", frame, 0)))


def upload(body: str, head: str = "ST=22;CN=2061;PW=1;MN=M1;Flag=4;") -> bytes:
    return wrap(f"{head}CP=&&{body}&&".encode())


def refused(frame: bytes) -> str:
    with pytest.raises(InvalidData) as caught:
        samples(frame)
    return caught.value.reason


@pytest.mark.skipif(not VECTORS.exists(), reason="the shared protocol vectors are not on this machine")
def test_every_published_frame_decodes() -> None:
    published = [one for one in json.loads(VECTORS.read_text()) if one["protocol"] == "hj212"]
    assert len(published) >= 4
    counts = [len(samples(one["frame"].encode())) for one in published]
    assert counts == [0, 4, 5, 2]
    for one in published:
        again = encode(decode(one["frame"].encode())).decode()
        assert again.lower() == one["frame"].lower()


@given(packets)
def test_what_is_encoded_decodes_to_the_same_packet(packet: Packet) -> None:
    assert decode(encode(packet)) == packet


def test_values_are_numbers_at_the_instant_of_data_time_in_the_zone_of_the_link() -> None:
    frame = upload("DataTime=20190924220000;a34006-Avg=2.69700,a34006-Flag=N")
    [one] = samples(frame)
    assert one == Sample("a34006-Avg", 2.697, parse_iso("2019-09-24T22:00:00+08:00"), None, False, "M1")
    [korean] = samples(frame, time_zone="Asia/Seoul")
    assert format_iso(korean.observed_at or 0) == "2019-09-24T13:00:00Z"


def test_milliseconds_of_a_long_data_time_count() -> None:
    [one] = samples(upload("DataTime=20210305003817250;a-Rtd=1"))
    assert format_iso(one.observed_at or 0) == "2021-03-04T16:38:17.250Z"


def test_the_sample_time_of_one_factor_counts_for_that_factor_only() -> None:
    frame = upload("DataTime=20210305000000;a-SampleTime=20210304235500,a-Avg=1;b-Avg=2")
    first, second = samples(frame)
    assert (second.observed_at or 0) - (first.observed_at or 0) == 300_000_000


@pytest.mark.parametrize("flag", ["D", "M", "C", "T", "B", "F", "S", "n", ""])
def test_any_flag_but_normal_is_a_doubt_about_all_values_of_its_factor(flag: str) -> None:
    frame = upload(f"DataTime=20210305000000;a-Min=1,a-Avg=2,a-Flag={flag};b-Avg=3,b-Flag=N")
    assert [one.doubt for one in samples(frame)] == [True, True, False]


def test_air_stations_of_2005_say_normal_with_a_digit() -> None:
    body = "DataTime=20210305000000;a-Avg=1,a-Flag=3;b-Avg=1,b-Flag=0"
    assert [one.doubt for one in samples(upload(body, "ST=22;CN=2061;MN=M1;"))] == [False, True]
    assert [one.doubt for one in samples(upload(body))] == [True, True]  # Flag=4: edition 2017 has letters only


def test_which_flags_are_good_is_a_setting() -> None:
    frame = upload("DataTime=20210305000000;a-Avg=1,a-Flag=S")
    assert not samples(frame, good_flags=["N", "S"])[0].doubt


@pytest.mark.parametrize("text", ["nan", "inf", "1_0", "", "----", "1e999", "0x10", "１"])
def test_what_is_no_plain_number_stays_text_for_ingest_to_judge(text: str) -> None:
    assert samples(upload(f"DataTime=20210305000000;a-Avg={text}"))[0].value == text


def test_a_unit_in_brackets_is_read_and_named_in_the_common_code() -> None:
    [ph, other] = samples(upload("DataTime=20210305000000;w01001-Rtd=8.33 (pH);x-Rtd=4 (furlong)"))
    assert (ph.value, ph.unit) == (8.33, "Q30")
    assert (other.value, other.unit) == (4.0, None)


def test_site_texts_stay_text_even_when_they_look_like_a_number() -> None:
    assert [one.value for one in samples(upload("DataTime=20210305000000;a01008-Info=NNW;x-Info=007"))] == [
        "NNW",
        "007",
    ]


def test_fields_may_carry_the_command_so_that_hours_and_days_map_apart() -> None:
    frame = upload("DataTime=20210305000000;a-Avg=1")
    assert samples(frame, names="command")[0].field == "2061/a-Avg"


def test_the_packets_of_a_divided_upload_share_the_instant_of_the_first() -> None:
    head = "QN=20210305000000000;ST=22;CN=2061;PW=1;MN=M1;Flag=6;PNUM=2;PNO={};"
    first = upload("DataTime=20210305000000;a-Avg=1", head.format(1))
    second = upload("b-Avg=2", head.format(2))
    together = samples(first + second)
    assert [one.field for one in together] == ["a-Avg", "b-Avg"]
    assert together[0].observed_at == together[1].observed_at
    assert refused(second) == "no_time"


def test_a_real_time_value_without_a_time_counts_when_it_came() -> None:
    assert samples(upload("a-Rtd=1", "CN=2011;MN=M1;"))[0].observed_at is None


def test_commands_and_answers_carry_no_samples() -> None:
    assert samples(upload("RtdInterval=30", "CN=1062;MN=M1;")) == []
    assert samples(upload("QnRtn=1", "CN=9011;MN=M1;")) == []


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (upload("DataTime=20210305;a-Avg=1"), "bad_time"),
        (upload("DataTime=20211305000000;a-Avg=1"), "bad_time"),
        (upload("DataTime=20210305000000;rubbish"), "bad_pair"),
        (wrap(b"CN=2011;MN=M1;CP=&&a-Rtd=1"), "bad_header"),
        (wrap(b"MN=M1;CP=&&a-Rtd=1&&"), "bad_header"),
        (wrap(b"CN=2O11;MN=M1;CP=&&a-Rtd=1&&"), "bad_header"),
        (wrap(b"CN=2011;Flag=x;CP=&&a-Rtd=1&&"), "bad_header"),
        (wrap(b"CN=2011;oops;CP=&&a-Rtd=1&&"), "bad_header"),
        (wrap(b"CN=2011;CP=&&a-Rtd=\xff&&"), "bad_text"),
        (upload("DataTime=20210305000000;a-Avg=1")[:-1] + b"\r", "bad_end"),
        (upload("DataTime=20210305000000;a-Avg=1").replace(b"a-Avg=1", b"a-Avg=2"), "bad_crc"),
        (b"hello", "bad_start"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_stable_reason(frame: bytes, expected: str) -> None:
    assert refused(frame) == expected


@pytest.mark.parametrize(
    "settings",
    [{"time_zone": "Mars/Base"}, {"encoding": "klingon"}, {"names": "x"}, {"good_flags": "N"}, {"zone": "UTC"}],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings, match="hj212"):
        create(settings)


def test_answers_of_2017_name_the_request_in_front_and_those_of_2005_inside() -> None:
    new = Packet(cn="2011", mn="M1", qn="Q1", st="22", pw="P", flag=5, body="x-Rtd=1")
    assert answer(new, DATA_ANSWER).segment() == b"QN=Q1;ST=91;CN=9014;PW=P;MN=M1;Flag=4;CP=&&&&"
    old = Packet(cn="2051", mn="M1", qn="20040516010101001", st="32", pw="123456", flag=1)
    assert answer(old, REQUEST_ANSWER, 1).segment() == (
        b"ST=91;CN=9011;PW=123456;MN=M1;Flag=0;CP=&&QN=20040516010101001;QnRtn=1&&"
    )
    assert answer(old, DATA_ANSWER).body == "QN=20040516010101001;CN=2051"
    assert answer(old, DONE, 1).body == "QN=20040516010101001;ExeRtn=1"


def test_a_packet_that_would_not_survive_the_way_is_refused() -> None:
    with pytest.raises(InvalidData, match="cannot hold"):
        encode(Packet(cn="2011", mn="a;b"))
    with pytest.raises(InvalidData, match="cannot hold"):
        encode(Packet(cn="2011", body="a&&b"))
