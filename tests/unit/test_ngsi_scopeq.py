"""The scope query language (clause 4.19)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haechi.core.errors import InvalidData
from haechi.services.ngsi_ld.scopeq import parse

MADRID = {"scope": ["/Madrid/Gardens/ParqueNorte", "/CompanyA/OrganizationB/UnitC"]}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("/Madrid/Gardens/ParqueNorte", True),
        ("/Madrid/Gardens", False),
        ("/Madrid/Gardens/#", True),
        ("/Madrid/#", True),
        ("/Madrid/+/ParqueNorte", True),
        ("/Madrid/+", False),
        ("/+/+/ParqueNorte", True),
        ("/#", True),
        ("/Barcelona/#,/CompanyA/#", True),
        ("/Barcelona/#|/CompanyB/#", False),
        ("/Madrid/#;/CompanyA/#", True),
        ("/Madrid/#;/CompanyB/#", False),
        ("(/Barcelona/#|/Madrid/#);/CompanyA/+/UnitC", True),
    ],
)
def test_scopes_are_matched_level_by_level(text: str, holds: bool) -> None:
    assert parse(text)(MADRID) is holds


def test_an_entity_without_a_scope_has_none_to_match() -> None:
    assert parse("/#")({}) is False
    assert parse("/a")({"scope": "/a"}) is True


@pytest.mark.parametrize("text", ["", "///", "/a/#/b", "/a;", "(/a", "/a)", "/a b", "/a//b"])
def test_what_is_no_scope_query_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidData, match="at character"):
        parse(text)


@given(st.text(alphabet="/ab+#;,|()", max_size=40))
def test_any_text_is_either_refused_or_answers(text: str) -> None:
    try:
        test = parse(text)
    except InvalidData:
        return
    assert test(MADRID) in (True, False)
