"""How a client asks to see entities: parameters to a `View`. Used by all resources that answer with entities."""

from haechi.core.attribute import name_from
from haechi.core.errors import InvalidData, NotSupported
from haechi.faces.ngsi_ld.requests import Parameters
from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.representation import View

_SIMPLIFIED = frozenset({"keyValues", "simplified"})


def view_of(given: Parameters, context: Context) -> View:
    """The view that parameters ask for (clauses 6.3.7, 6.3.11, 4.21): options, format, attrs, pick, omit."""
    forms = {
        "simplified" if one in _SIMPLIFIED else one for one in given.options & {*_SIMPLIFIED, "concise", "normalized"}
    }
    if len(forms) > 1:
        raise InvalidData(f"options ask for {' and '.join(sorted(forms))} at once; choose one", "bad_request")
    attrs = frozenset(map(context.expand, given.names("attrs")))
    pick, omit = _projection(given, "pick", context), _projection(given, "omit", context)
    if attrs and (pick or omit):
        raise InvalidData("attrs is the older way to say pick and omit; send attrs or those", "bad_request")
    if both := pick & omit:
        raise InvalidData(f"{sorted(both)[0]} is both in pick and in omit; take it out of one", "bad_request")
    only = attrs | {"id", "type", "scope"} if attrs else pick
    form = forms.pop() if forms else "normalized"
    return View(context, form, "sysAttrs" in given.options, only, omit)


def _projection(given: Parameters, name: str, context: Context) -> frozenset[str]:
    """The members a projection names (clause 4.21): separated by , or |; those of linked entities are not read yet."""
    text = given.get(name)
    if text is None:
        return frozenset()
    if text.count("{") == text.count("}") > 0:
        raise NotSupported(f"{name} of linked entities, {text[:60]!r}, is not supported yet; leave the braces out")
    return frozenset(context.expand(name_from(one.strip())) for one in text.replace("|", ",").split(","))
