"""How a tenant's ids and types are called inside (decision 016). Used by the wrappers here and by the notifier.

What belongs to the tenant `a` is called `@:a:@name`; what belongs to the city, the default tenant, keeps its name.
No URI and no name of a type starts with `@`, so that nothing a client or device sends can be of another tenant; and
where a type is read out of a URN, the marked one tells none.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from haechi.core.errors import InvalidData

MARK = "@"
DEFAULT = ""  # the city's own
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")


def checked(name: str) -> str:
    """The name of a tenant a client gave."""
    if _NAME.fullmatch(name) is None:
        raise InvalidData(
            f"{name[:80]!r} cannot name a tenant; use up to 64 letters, digits, _, - and .", "bad_request"
        )
    return name


def prefix(tenant: str) -> str:
    """What stands before each of its names."""
    return f"{MARK}:{tenant}:{MARK}" if tenant else ""


def split(name: str) -> tuple[str, str]:
    """The tenant of an inner name, and the name outside."""
    if not name.startswith(MARK):
        return DEFAULT, name
    tenant, _, rest = name[2:].partition(f":{MARK}")
    return tenant, rest


def belongs(name: str, tenant: str) -> bool:
    """Whether an inner name is the tenant's."""
    return name.startswith(prefix(tenant)) if tenant else not name.startswith(MARK)


def inside(tenant: str, names: Iterable[str]) -> tuple[str, ...]:
    """Inner names."""
    before = prefix(tenant)
    return tuple(before + one for one in names)


def document_inside(tenant: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """A stored entity, or parts of one, as it is kept."""
    before = prefix(tenant)
    found = {**document, "id": before + document["id"]}
    if "type" in found:
        found["type"] = [before + one for one in found["type"]]
    return found


def document_outside(document: Mapping[str, Any]) -> dict[str, Any]:
    """A stored entity as its tenant knows it."""
    return {**document, "id": split(document["id"])[1], "type": [split(one)[1] for one in document["type"]]}
