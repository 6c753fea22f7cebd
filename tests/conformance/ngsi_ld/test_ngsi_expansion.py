"""What names mean, side by side with pyld, a full JSON-LD processor: expansion and compaction of terms under any
context of terms, prefixes, coerced types, lists and included documents (clauses 4.4, 5.5.7)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyld import jsonld

from haechi.core.errors import InvalidData
from haechi.services.ngsi_ld.names import DEFAULT, internal, iri_of, resolve

FEW = settings(max_examples=150, deadline=None, derandomize=True)
TERMS = ("speed", "Bus", "colour", "s", "sp", "busLine", "x1")
PREFIXES = {"ex": "https://ex.example/terms#", "ot": "https://other.example/", "urnish": "urn:other:"}
LOCAL = ("speed", "Bus", "colour", "a/b", "x")
CORE = {
    "@vocab": DEFAULT,
    "ngsi-ld": "https://uri.etsi.org/ngsi-ld/",
}  # what of the core context bears on names that are not its own terms; it comes last
INCLUDED = "https://included.example/context.jsonld"

_absolute = st.builds(lambda base, name: base + name, st.sampled_from(list(PREFIXES.values())), st.sampled_from(LOCAL))
_compacted = st.builds(lambda one, name: f"{one}:{name}", st.sampled_from(list(PREFIXES)), st.sampled_from(LOCAL))
_iri = _absolute | _compacted
_coercions = st.sampled_from(["@id", "@vocab", "http://www.w3.org/2001/XMLSchema#dateTime", "@none"])
_definition = (
    _iri
    | st.builds(lambda iri: {"@id": iri}, _iri)
    | st.builds(lambda iri, kind: {"@id": iri, "@type": kind}, _iri, _coercions)
    | st.builds(lambda iri, box: {"@id": iri, "@container": box}, _iri, st.sampled_from(["@set", "@list"]))
)
_plain = st.dictionaries(st.sampled_from(TERMS), _iri | st.none(), max_size=4)
_rich = st.dictionaries(st.sampled_from(TERMS), _definition | st.none(), max_size=4)


def _with_prefixes(terms: dict[str, Any]) -> dict[str, Any]:
    return {**PREFIXES, **terms}


def _loaded(included: dict[str, Any]) -> dict[str, Any]:
    def load(url: str, _: Any) -> dict[str, Any]:
        assert url == INCLUDED
        return {"contextUrl": None, "documentUrl": url, "document": {"@context": included}}

    return {"documentLoader": load}


@FEW
@given(first=_rich, second=_rich, included=_rich, shape=st.sampled_from(["one", "two", "nested", "included", "reset"]))
def test_a_term_expands_as_json_ld_says(
    first: dict[str, Any], second: dict[str, Any], included: dict[str, Any], shape: str
) -> None:
    one, two = _with_prefixes(first), _with_prefixes(second)
    given_: Any = {
        "one": one,
        "two": [one, two],
        "nested": [one, INCLUDED, two],
        "included": [INCLUDED, one],
        "reset": [one, None, two],
    }[shape]
    behind = _with_prefixes(included)
    context = resolve(given_, {INCLUDED: {"@context": behind}})
    whole = [*(given_ if isinstance(given_, list) else [given_]), CORE]
    for name in (*TERMS, "ex:speed", "urnish:x", "https://ex.example/terms#Bus", "unknown"):
        told = jsonld.expand({"@context": whole, name: [{"@value": 1}]}, _loaded(behind))
        if told:  # a term mapped to null names nothing in JSON-LD; here it falls to the default context (5.5.7)
            assert iri_of(context.expand(name)) == next(iter(told[0])), (name, given_)


@FEW
@given(terms=_plain, iri=_absolute | st.sampled_from([DEFAULT + "speed", DEFAULT + "unknown"]))
def test_an_iri_is_compacted_as_json_ld_says_and_back(terms: dict[str, Any], iri: str) -> None:
    context = resolve(_with_prefixes(terms), {})
    ours = context.compact(internal(iri))
    assert iri_of(context.expand(ours)) == iri
    theirs = jsonld.compact({iri: [{"@value": 1}]}, {"@context": [_with_prefixes(terms), CORE]})
    theirs.pop("@context")
    assert ours == next(iter(theirs)), (terms, iri)


@pytest.mark.parametrize("scoped", [{"Bus": {"@id": "ex:Bus", "@context": {"speed": "ex:other"}}}])
def test_a_scoped_context_is_refused_because_ngsi_ld_forbids_it(scoped: dict[str, Any]) -> None:
    with pytest.raises(InvalidData, match=r"5\.5\.7"):
        resolve(_with_prefixes(scoped), {})
