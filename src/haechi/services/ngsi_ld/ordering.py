"""Ordered answers (clause 4.23): `orderBy`, `collation` and `orderFrom` to ranks of entities. Used by queries."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from haechi.core import geo
from haechi.core.collation import Key, ordering
from haechi.core.errors import InvalidData
from haechi.services.ngsi_ld.geoq import distance_from
from haechi.services.ngsi_ld.paths import Instant, Path, targets

MOST = 16  # members to order by
_TERM = re.compile(r"([^\s;,\[\]]+)(?:\[([^\s;,\[\]]+)\])?(?:;(asc|desc|dist-asc|dist-desc))?")
_WHOLE = frozenset({"id", "type", "scope"})  # members of an entity that are no attributes
_ABSENT = 9
Rank = tuple[int, Any]
Entity = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """One member to order by: its rank in an entity, and whether the highest comes first."""

    rank: Callable[[Entity], Rank]
    descending: bool


def parse(given: Callable[[str], str | None], expand: Callable[[str], str]) -> tuple[Order, ...]:
    """What to order by, first things first; empty when nothing was asked. Raises `InvalidData`."""
    text, collation = given("orderBy"), given("collation")
    compare = None if collation is None else ordering(collation)
    reference = _reference(given("orderFrom"), given("orderGeometry"))
    if text is None:
        return ()
    terms = [one.strip() for one in re.split(r",(?![^\[]*\])", text)]
    if len(terms) > MOST:
        raise InvalidData(f"orderBy names more than {MOST} members; name fewer", "bad_request")
    return tuple(_order(one, expand, compare, reference) for one in terms)


def _reference(coordinates: str | None, kind: str | None) -> Any:
    if coordinates is None:
        return None
    try:
        found = orjson.loads(coordinates)
    except orjson.JSONDecodeError as error:
        raise InvalidData(f"orderFrom must be a JSON array such as [126.7,37.6]: {error}", "bad_request") from error
    try:
        return geo.check({"type": kind or "Point", "coordinates": found})
    except InvalidData as error:
        raise InvalidData(f"orderFrom: {error}", "bad_request") from error


def _order(term: str, expand: Callable[[str], str], compare: Callable[[str], Key] | None, reference: Any) -> Order:
    match = _TERM.fullmatch(term)
    if match is None:
        raise InvalidData(
            f"orderBy={term[:60]!r}: write a member such as name, name.createdAt or address[city], then ;asc, ;desc,"
            " ;dist-asc or ;dist-desc",
            "bad_request",
        )
    name, inside, direction = match.groups(default="")
    if name in _WHOLE and not inside:
        return Order(lambda entity: _of_member(entity, name, compare), direction == "desc")
    names = [name] if "://" in name or name.startswith("urn:") else name.split(".")
    if not all(names):
        raise InvalidData(f"orderBy={term[:60]!r} has an empty name; write a.b", "bad_request")
    path = Path(tuple(map(expand, names)), tuple(inside.split(".")) if inside else ())
    if not direction.startswith("dist"):
        return Order(lambda entity: _ranked(next(iter(targets(entity, path)), None), compare), direction == "desc")
    if reference is None:
        raise InvalidData(f"{term[:60]!r} needs orderFrom: the place that distances are from", "bad_request")
    measure = distance_from(reference)
    return Order(lambda entity: _far(next(iter(targets(entity, path)), None), measure), direction == "dist-desc")


def _of_member(entity: Entity, name: str, compare: Callable[[str], Key] | None) -> Rank:
    value = entity.get(name)
    return _ranked(" ".join(value) if isinstance(value, list) else value, compare)


def _ranked(value: Any, compare: Callable[[str], Key] | None) -> Rank:
    """Numbers, then texts, objects, lists, booleans, instants (clause 4.23.2); those without come last."""
    if value is None:
        return _ABSENT, 0
    if isinstance(value, bool):
        return 5, value
    if isinstance(value, int | float):
        return 1, value
    if isinstance(value, str):
        return 2, value if compare is None else compare(value)
    if isinstance(value, Instant):
        return 6, value.us
    return (4 if isinstance(value, list) else 3), orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _far(geometry: Any, measure: Callable[[Mapping[str, Any]], float]) -> Rank:
    if not geo.is_geometry(geometry):
        return _ABSENT, 0
    try:
        return 1, measure(geometry)
    except (ValueError, TypeError, IndexError):
        return _ABSENT, 0


def arranged(ranks: list[tuple[tuple[Rank, ...], str]], orders: tuple[Order, ...]) -> list[str]:
    """Ids in that order; equal ones stay as they came. What an entity lacks puts it last either way."""
    for place in reversed(range(len(orders))):
        there = [one for one in ranks if one[0][place][0] != _ABSENT]
        there.sort(key=lambda one: one[0][place], reverse=orders[place].descending)
        ranks = there + [one for one in ranks if one[0][place][0] == _ABSENT]
    return [id for _, id in ranks]
