"""The @context a client names in a Link header (clause 6.3.5). Used by every resource."""

import re
from collections.abc import Sequence

from haechi.core.errors import InvalidData
from haechi.services.ngsi_ld.contexts import Contexts
from haechi.services.ngsi_ld.names import CORE_CONTEXT, LINK_REL, Context


def link_context(headers: Sequence[str]) -> str | None:
    """The URL of the @context in Link headers (clause 6.3.5); None when there is none."""
    found = []
    for header in headers:
        for target, parameters in re.findall(r"<([^>]*)>((?:\s*;[^,<]*)*)", header):
            if re.search(r'rel\s*=\s*"?' + re.escape(LINK_REL) + r'"?', parameters):
                found.append(target)
    if len(found) > 1:
        raise InvalidData("several Link headers name a JSON-LD @context; send one", "invalid_request")
    return found[0] if found else None


async def query_context_of(links: Sequence[str], contexts: Contexts) -> Context:
    """The context that Link headers name, else the core context (clause 6.3.5)."""
    url = link_context(links)
    return CORE_CONTEXT if url is None else await contexts.resolve(url)
