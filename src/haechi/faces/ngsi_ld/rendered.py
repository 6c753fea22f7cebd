"""Stored documents as their answers, remembered: the same document is shown to the next client without being read
again. Used by retrieval and by queries that leave entities whole."""

from collections import OrderedDict

import orjson

from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.representation import View, shown

VIEWS = 8  # contexts and forms remembered at once
DOCUMENTS = 2_000  # of each, about 1.5 kB a piece

_Known = OrderedDict[bytes, bytes]


class Rendered:
    """One per face. What is remembered is found by the very bytes that are stored, so it is never out of date."""

    def __init__(self) -> None:
        # The context is kept beside what was made with it, so that its id is not given to another.
        self._views: OrderedDict[tuple[int, str, bool], tuple[Context, _Known]] = OrderedDict()

    def of(self, documents: list[bytes], view: View) -> list[bytes]:
        """Each document as JSON for the client; the view shows whole entities."""
        known = self._known(view)
        found = []
        for document in documents:
            answer = known.get(document)
            if answer is None:
                answer = known[document] = orjson.dumps(shown(orjson.loads(document), view))
                if len(known) > DOCUMENTS:
                    known.popitem(last=False)
            found.append(answer)
        return found

    def _known(self, view: View) -> _Known:
        key = (id(view.context), view.form, view.sys_attrs)
        if key not in self._views:
            self._views[key] = (view.context, OrderedDict())
            if len(self._views) > VIEWS:
                self._views.popitem(last=False)
        return self._views[key][1]
