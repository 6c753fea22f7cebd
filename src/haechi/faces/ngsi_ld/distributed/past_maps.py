"""Entity maps of temporal queries that reach other sources (clauses 5.5.14, 5.7.4.4). Used by `past`."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote

from starlette.requests import Request

from haechi.core.times import to_us
from haechi.faces.ngsi_ld import entity_maps
from haechi.faces.ngsi_ld.face import Face
from haechi.services.ngsi_ld.entity_maps import LOCAL, EntityMap, lifetime_s

T = TypeVar("T")
Document = dict[str, Any]
Given = Mapping[str, str]
Heard = Mapping[str, Sequence[tuple[str, Document]]]  # by entity: from which registration, and what


def followed(
    face: Face, request: Request, given: Given, own: Mapping[str, Document], heard: Heard
) -> tuple[EntityMap | None, int]:
    """The map that a query follows (200), or makes of all that was found (201; clause 5.7.4.4)."""
    named = request.headers.get(entity_maps.HEADER)
    if named is None and given.get("entityMap") != "true":
        return None, 200
    known = None if named is None else face.maps.known(unquote(named.rpartition("/")[2]), _now(face))
    return (made(face, given, list(own), heard), 201) if known is None else (known, 200)


def made(face: Face, given: Given, own: Sequence[str], heard: Heard) -> EntityMap:
    """A map of all that was found: what is here first, each with where it is."""
    entities: dict[str, list[str]] = {id: [LOCAL] for id in own}
    for id, many in heard.items():
        entities.setdefault(id, []).extend(dict.fromkeys(registration for registration, _ in many))
    life_s = lifetime_s(given.get("entityMapLifetime"))
    return face.maps.add(f"urn:ngsi-ld:entitymap:{uuid.uuid4()}", entities, _now(face), life_s)


def among(known: EntityMap, found: Mapping[str, T]) -> dict[str, T]:
    """Those of the map, in its order."""
    return {id: found[id] for id in known.entities if id in found}


def _now(face: Face) -> int:
    return to_us(face.services.clock.now())
