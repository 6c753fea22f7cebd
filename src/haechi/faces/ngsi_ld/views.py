"""How a client asks to see entities: parameters to a `View`. Used by all resources that answer with entities."""

from dataclasses import replace

from haechi.core.attribute import name_from
from haechi.core.errors import InvalidData
from haechi.core.urn import is_uri
from haechi.faces.ngsi_ld.requests import Parameters
from haechi.services.ngsi_ld import languages, projection
from haechi.services.ngsi_ld.linked import DEEPEST, Join
from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.projection import NOTHING, Projection
from haechi.services.ngsi_ld.representation import View

_SIMPLIFIED = frozenset({"keyValues", "simplified"})
PARAMETERS = "attrs pick omit lang datasetId join joinLevel containedBy"


def view_of(given: Parameters, context: Context) -> View:
    """The view that parameters ask for (clauses 4.5.5, 4.15, 4.21, 6.3.7): options, format, attrs, pick, omit, lang,
    datasetId."""
    attrs = frozenset(context.expand(name_from(one)) for one in given.names("attrs"))
    pick = projection.parse(given.get("pick"), context.expand, "pick")
    omit = projection.parse(given.get("omit"), context.expand, "omit")
    if attrs and (pick.names or omit.names):
        raise InvalidData("attrs is the older way to say pick and omit; send attrs or those", "bad_request")
    level = join_of(given)
    if max(pick.depth, omit.depth) > (level.level if level.form else 0):
        raise InvalidData("pick and omit follow more links than joinLevel; say join=inline and how many", "bad_request")
    view = View(context, _form(given), "sysAttrs" in given.options, languages=languages.parse(given.get("lang")))
    view = _narrowed(replace(view, datasets=_datasets(given)), pick, omit)
    return replace(view, only=attrs | {"id", "type", "scope"}) if attrs else view


def _form(given: Parameters) -> str:
    forms = {
        "simplified" if one in _SIMPLIFIED else one for one in given.options & {*_SIMPLIFIED, "concise", "normalized"}
    }
    if len(forms) > 1:
        raise InvalidData(f"options ask for {' and '.join(sorted(forms))} at once; choose one", "bad_request")
    return forms.pop() if forms else "normalized"


def _datasets(given: Parameters) -> frozenset[str]:
    for one in given.names("datasetId"):
        if one != "@none" and not is_uri(one):
            raise InvalidData(f"datasetId={one!r} is no URI; for the default instances write @none", "bad_request")
    return frozenset(given.names("datasetId"))


def _narrowed(view: View, pick: Projection, omit: Projection) -> View:
    """The view with a projection, those of linked entities inside."""
    without = omit.names - omit.linked.keys()
    if both := pick.names & without:
        raise InvalidData(f"{sorted(both)[0]} is both in pick and in omit; take it out of one", "bad_request")
    names = pick.linked.keys() | omit.linked.keys()
    inner = {name: _narrowed(view, pick.linked.get(name, NOTHING), omit.linked.get(name, NOTHING)) for name in names}
    return replace(view, only=pick.names, without=without, inner=inner)


def join_of(given: Parameters) -> Join:
    """Linked entity retrieval (clause 4.5.23): join, joinLevel, containedBy."""
    form = given.get("join") or "@none"
    if form not in {"inline", "flat", "@none"}:
        raise InvalidData(f"join must be inline, flat or @none, not {form[:40]!r}", "bad_request")
    level = given.number("joinLevel", 1, 1, DEEPEST)
    return Join("" if form == "@none" else form, level, frozenset(given.names("containedBy")))
