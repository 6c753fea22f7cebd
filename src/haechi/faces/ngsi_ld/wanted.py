"""How one request wants its entities: media type, view, join, edition (clauses 4.3.6.8, 4.5, 6.3.4, 6.3.15). Used by
retrieval and queries."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace

from starlette.requests import Request

from haechi.core.errors import InvalidData
from haechi.faces.ngsi_ld.requests import GEO, JSON, LD, Parameters, answer_type
from haechi.faces.ngsi_ld.views import PARAMETERS, join_of, view_of
from haechi.services.ngsi_ld import versions
from haechi.services.ngsi_ld.linked import Join
from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.representation import View

MOST = 200  # remembered
LONGEST = 200  # characters of parameters worth remembering
_READ = frozenset(f"{PARAMETERS} geometryProperty options format".split())


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `answers` needs to know. `bare`: GeoJSON without the @context inside."""

    media: str
    view: View
    join: Join
    geoproperty: str
    bare: bool
    version: versions.Version | None

    @property
    def whole(self) -> bool:
        """Whether the client sees whole entities as JSON, in one of the forms every client may ask for."""
        view = self.view
        narrowed = view.only or view.without or view.datasets or view.languages
        return self.media == JSON and not (narrowed or self.join.form or self.version)


class Asked:
    """What was wanted lately, one per face: most requests want what others did."""

    def __init__(self) -> None:
        # The context is kept beside what was read with it, so that its id is not given to another.
        self._known: OrderedDict[Hashable, tuple[Context, Wanted]] = OrderedDict()

    def of(self, request: Request, given: Parameters, context: Context) -> Wanted:
        """Reads headers and parameters; `InvalidData` names what does not go together."""
        shown = tuple(item for item in given.given.items() if item[0] in _READ)
        key = (id(context), shown, request.headers.get("accept"), request.headers.get("prefer"))
        found = self._known.get(key)
        if found is not None:
            return found[1]
        wanted = _read(request, given, context)
        if sum(len(value) for _, value in shown) < LONGEST:
            self._known[key] = (context, wanted)
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        return wanted


def _read(request: Request, given: Parameters, context: Context) -> Wanted:
    media = answer_type(request, (JSON, LD, GEO))
    geoproperty = given.get("geometryProperty")
    if geoproperty is not None and media != GEO:
        raise InvalidData(f"geometryProperty is for GeoJSON: send Accept: {GEO}, or leave it out", "bad_request")
    prefer = request.headers.get("prefer")
    version = versions.preferred(prefer)
    view = view_of(given, context)
    if version is not None:
        view = replace(view, unknown=versions.unknown_in(version))
    bare = prefer is not None and "body=json" in prefer.replace(" ", "").replace('"', "")
    return Wanted(media, view, join_of(given), context.expand(geoproperty or "location"), bare, version)
