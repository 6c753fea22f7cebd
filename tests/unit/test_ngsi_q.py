"""The NGSI-LD query language: what each query finds, what is refused, and that it finds what a naive filter finds."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.errors import InvalidData
from haechi.core.times import parse_iso
from haechi.services.ngsi_ld import typeq
from haechi.services.ngsi_ld.q import All, Compare, Exists, Some, compile_q, parse

AT = parse_iso("2026-11-22T09:00:00Z")
ENTITY: dict[str, Any] = {
    "id": "urn:ngsi-ld:Pump:1",
    "type": ["Pump"],
    "createdAt": AT,
    "modifiedAt": AT + 1,
    "attrs": {
        "flow": [
            {"type": "Property", "value": 12.5, "unitCode": "MQH", "observedAt": AT, "modifiedAt": AT},
            {"type": "Property", "value": 99, "datasetId": "urn:d:2"},
        ],
        "state": [{"type": "Property", "value": "open"}],
        "on": [{"type": "Property", "value": True}],
        "levels": [{"type": "Property", "value": [1, 5, 9]}],
        "address": [
            {"type": "Property", "value": {"city": "Gimpo", "geo": {"zip": "10109"}, "tags": [{"a": 1}, {"a": 2}]}}
        ],
        "since": [{"type": "Property", "value": "2026-01-01T00:00:00Z"}],
        "typed": [{"type": "Property", "value": {"@type": "DateTime", "@value": "2026-01-01T00:00:00Z"}}],
        "day": [{"type": "Property", "value": "2026-11-22"}],
        "pipe": [{"type": "Relationship", "object": "urn:ngsi-ld:Pipe:1"}],
        "pipes": [{"type": "ListRelationship", "objectList": ["urn:ngsi-ld:Pipe:1", "urn:ngsi-ld:Pipe:2"]}],
        "name": [{"type": "LanguageProperty", "languageMap": {"ko": "펌프", "en": "pump"}}],
        "colour": [{"type": "VocabProperty", "vocab": "red"}],
        "raw": [{"type": "JsonProperty", "json": {"deep": {"x": 7}}}],
        "quoted": [{"type": "Property", "value": 'say "hi"; a|b'}],
        "temp": [{"type": "Property", "value": 1, "attrs": {"accuracy": [{"type": "Property", "value": 0.1}]}}],
        "https://x.example/a.b": [{"type": "Property", "value": 3}],
    },
}


@pytest.mark.parametrize(
    "query",
    [
        "flow==12.5",
        "flow==99",
        "flow>12",
        "flow>=12.5",
        "flow<13",
        "flow<=12.5",
        "flow==10..13",
        "flow==1,2,99",
        "flow!=7",
        "flow!=1..2",
        'state=="open"',
        'state!="closed"',
        'state=="shut","open"',
        'state>"a"',
        "state~=^op",
        'state~="^(op|cl)en$"',
        "state!~=closed",
        "on==true",
        "on!=false",
        "levels==5",
        "levels>8",
        "levels!=4",
        "flow",
        "flow.unitCode",
        'flow.unitCode=="MQH"',
        "flow.observedAt==2026-11-22T09:00:00Z",
        "flow.observedAt>2026-11-22T08:59:59.5Z",
        "flow.observedAt==2026-11-22T08:00:00Z..2026-11-22T10:00:00Z",
        "createdAt>=2026-11-22T09:00:00Z",
        "temp.accuracy<0.2",
        "temp.accuracy",
        'address[city]=="Gimpo"',
        'address[geo.zip]~="^101"',
        "address[tags.a]==2",
        "since==2026-01-01T00:00:00Z",
        "since<2026-02-01T00:00:00Z",
        "typed==2026-01-01T00:00:00Z",
        "day==2026-11-22",
        "day>2026-11-21",
        "pipe==urn:ngsi-ld:Pipe:1",
        'pipe=="urn:ngsi-ld:Pipe:1"',
        "pipe!=urn:ngsi-ld:Pipe:2",
        "pipes==urn:ngsi-ld:Pipe:2",
        'name[ko]=="펌프"',
        'name[*]=="pump"',
        'colour=="https://uri.etsi.org/ngsi-ld/default-context/red"',
        "raw[deep.x]==7",
        'quoted=="say \\"hi\\"; a|b"',
        "https://x.example/a.b==3",
        "flow>12;on==true",
        "flow>100|on==true",
        "flow>100;zzz|on==true",
        "(flow>100|on==true);state",
        "((flow))",
        "state~=^(open|closed)$;on",
        "flow==-1..+1e3",
    ],
)
def test_a_query_that_holds(query: str) -> None:
    assert compile_q(query, str)(ENTITY)


@pytest.mark.parametrize(
    "query",
    [
        "flow==13",
        "flow!=12.5",
        "flow!=10..13",
        "flow!=1,99",
        'flow=="12.5"',
        "state==12",
        "state>5",
        "on==false",
        "on==1",
        "flow==true",
        "zzz",
        "zzz!=1",
        "zzz!~=x",
        "zzz.flow",
        "flow.zzz",
        "address[town]",
        'address[city]=="Seoul"',
        "pipe>urn:a:1",
        "pipe~=Pipe",
        'name[en]=="펌프"',
        'name[*]!="pump"',
        'colour=="red"',
        "state==2026-01-01T00:00:00Z",
        "flow>100|zzz",
        "flow;zzz",
        "levels!=5",
        "temp.accuracy.by",
    ],
)
def test_a_query_that_does_not_hold(query: str) -> None:
    assert not compile_q(query, str)(ENTITY)


def test_texts_are_terms_where_expand_values_says_so() -> None:
    assert compile_q('colour=="red"', str, frozenset({"colour"}))(ENTITY)
    assert not compile_q('colour=="blue"', str, frozenset({"colour"}))(ENTITY)


def test_and_binds_tighter_than_or_and_parentheses_decide() -> None:
    a, b, c = (Exists(one) for one in (parse(name, str).path for name in "abc"))  # type: ignore[union-attr]
    assert parse("a;b|c", str) == Some((All((a, b)), c))
    assert parse("a;(b|c)", str) == All((a, Some((b, c))))
    compared = parse("x.y[z.w]!=1,2", str)
    assert isinstance(compared, Compare)
    assert (compared.path.names, compared.path.inside, compared.values) == (("x", "y"), ("z", "w"), (1.0, 2.0))


@pytest.mark.parametrize(
    "query",
    [
        "",
        ";",
        "a;",
        "a|",
        "|a",
        "a;;b",
        "(a",
        "a)",
        "()",
        "a==",
        "a=1",
        "a>>1",
        "a==1,",
        "a==1..",
        "a==1..true",
        'a==1.."x"',
        "a>true",
        "a>1,2",
        'a=="open',
        "a[",
        "a[]",
        "a[b",
        "a[b..c]",
        "a..b",
        ".a",
        "a.",
        "a b==1",
        "a==2026-13-45T99:00:00Z",
        "a==2026-01-01T00:00:00",
        "a~=",
        "a~=(",
        "a~=(?=x)",
        "a{b}",
        "a==1 ",
        "<a>",
    ],
)
def test_a_query_outside_the_grammar_is_refused_saying_where(query: str) -> None:
    with pytest.raises(InvalidData) as refusal:
        compile_q(query, str)
    assert len(str(refusal.value)) > 15


@pytest.mark.parametrize("query", ["(" * 500 + "a" + ")" * 500, "a;" * 10_000 + "a", "a~=" + "x" * 1000])
def test_a_query_of_absurd_size_is_refused(query: str) -> None:
    with pytest.raises(InvalidData):
        compile_q(query, str)


def test_a_hostile_pattern_is_matched_in_linear_time() -> None:
    entity = {**ENTITY, "attrs": {"a": [{"type": "Property", "value": "a" * 5000 + "!"}]}}
    assert not compile_q("a~=^(a+)+$", str)(entity)
    assert not compile_q("a~=^(a|a)*$", str)(entity)


_PIECES = st.sampled_from(
    [
        *'abc.[](){};|,=<>!~"\\:-+e ',
        "==",
        "!=",
        "..",
        "~=",
        "!~=",
        "true",
        "1",
        "2.5",
        '"x"',
        "urn:a:b",
        "2026-11-22T09:00:00Z",
        "^x",
        "flow",
    ]
)


@given(st.one_of(st.lists(_PIECES, max_size=12).map("".join), st.text(max_size=30)))
def test_no_text_whatever_does_more_than_parse_or_be_refused(query: str) -> None:
    try:
        test = compile_q(query, str)
    except InvalidData:
        return
    assert test(ENTITY) in (True, False)


@given(st.one_of(st.lists(st.sampled_from([*"ab(),;|*", "Pump", " "]), max_size=10).map("".join), st.text(max_size=20)))
def test_no_type_selection_does_more_than_parse_or_be_refused(text: str) -> None:
    try:
        types, test = typeq.parse(text, str)
    except InvalidData:
        return
    assert types
    assert test is None or test(ENTITY) in (True, False)


_VALUES = st.one_of(
    st.integers(-3, 3), st.sampled_from(["a", "b", ""]), st.booleans(), st.lists(st.integers(-3, 3), max_size=3)
)
_ENTITIES = st.dictionaries(st.sampled_from("xyz"), _VALUES, max_size=3)
_NUMBERS = st.integers(-3, 3)
_TERMS = st.one_of(
    st.tuples(st.sampled_from("xyz"), st.just("exists"), st.none()),
    st.tuples(st.sampled_from("xyz"), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), _NUMBERS),
    st.tuples(st.sampled_from("xyz"), st.sampled_from(["==", "!="]), st.sampled_from(["a", "b", True, False])),
    st.tuples(st.sampled_from("xyz"), st.sampled_from(["==", "!="]), st.tuples(_NUMBERS, _NUMBERS)),
)
_QUERIES = st.recursive(_TERMS, lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner), max_leaves=6)


def _text(query: Any) -> str:
    if query[0] in {"and", "or"}:
        return f"({_text(query[1])}{';' if query[0] == 'and' else '|'}{_text(query[2])})"
    name, operator, value = query
    if operator == "exists":
        return str(name)
    if isinstance(value, tuple):
        return f"{name}{operator}{value[0]}..{value[1]}"
    words = {True: "true", False: "false"} if isinstance(value, bool) else {}
    return f"{name}{operator}{words.get(value, f'{chr(34)}{value}{chr(34)}' if isinstance(value, str) else value)}"


def _naive(query: Any, values: Mapping[str, Any]) -> bool:
    if query[0] in {"and", "or"}:
        combine = all if query[0] == "and" else any
        return combine([_naive(query[1], values), _naive(query[2], values)])
    name, operator, wanted = query
    if name not in values:
        return False
    if operator == "exists":
        return True
    candidates = [values[name], *(values[name] if isinstance(values[name], list) else [])]

    def equal(one: Any) -> bool:
        if isinstance(wanted, tuple):
            return type(one) is int and wanted[0] <= one <= wanted[1]
        return type(one) is type(wanted) and bool(one == wanted)

    if operator == "==":
        return any(map(equal, candidates))
    if operator == "!=":
        return not any(map(equal, candidates))
    orders = {"<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}
    return any(type(one) is int and orders[operator](one, wanted) for one in candidates)


@given(_QUERIES, st.lists(_ENTITIES, min_size=1, max_size=5))
def test_q_finds_exactly_what_a_naive_filter_finds(query: Any, entities: list[dict[str, Any]]) -> None:
    test = compile_q(_text(query), str)
    for values in entities:
        stored = {"attrs": {name: [{"type": "Property", "value": value}] for name, value in values.items()}}
        assert test(stored) == _naive(query, values), _text(query)
