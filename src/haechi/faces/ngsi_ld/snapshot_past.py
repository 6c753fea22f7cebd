"""The past in a snapshot (clauses 5.2.41, 5.16.1): what temporal queries find here is copied beside its entities, and
/temporal/entities answers from the copy. Used by snapshots."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import structlog

from haechi.core.entity import Entity
from haechi.core.errors import HaechiError, InvalidData, NotSupported
from haechi.faces.ngsi_ld import temporal_queries
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.requests import Parameters
from haechi.ports import EntityQuery
from haechi.services.ngsi_ld.names import Context
from haechi.services.ngsi_ld.past_copies import copies, together
from haechi.services.ngsi_ld.snapshots import LARGEST, pages
from haechi.services.ngsi_ld.temporal_answers import Asked
from haechi.services.ngsi_ld.temporal_search import Search

_events = structlog.get_logger("snapshots")
_NAMED = ("id", "type", "scope", "createdAt", "modifiedAt")


@dataclass(frozen=True, slots=True)
class PastQuery:
    """One of snapshotTemporalQueries, ready to be asked."""

    search: Search
    asked: Asked
    selectors: list[EntityQuery]


def read(face: Face, given: Any, context: Context) -> PastQuery:
    """A Query with its temporalQ; `InvalidData` names what is wrong, `NotSupported` what is not copied."""
    if not isinstance(given, dict) or "temporalQ" not in given:
        raise InvalidData("each of snapshotTemporalQueries is a Query with a temporalQ (clause 5.2.41)", "bad_request")
    if "aggrParams" in given:
        raise InvalidData("a snapshot keeps instances: leave aggrParams out, and ask it for sums", "bad_request")
    members, selectors = temporal_queries.posted_from(given, context)
    search, asked = temporal_queries.search_of(face, Parameters(members, frozenset()), context)
    if asked.time.by == "deleted_at":
        raise NotSupported("what was deleted in a time is not copied; ask by observedAt, createdAt or modifiedAt")
    return PastQuery(search, asked, selectors)


async def filled(face: Face, id: str, queries: Sequence[PastQuery]) -> list[str]:
    """Copies what they find into the snapshot; what became of each."""
    results: list[str] = []
    tables: list[pa.Table] = []
    for one in queries:
        try:
            found = await _found(face, one)
            rows = await asyncio.to_thread(_copied, face, found, one.asked)
            tables = [await asyncio.to_thread(together, [*tables, rows])]
            await _poured(face, id, found)
        except HaechiError as error:
            _events.warning("snapshot_past_not_filled", snapshot=id, error=str(error))
            results.append("failure")
        else:
            results.append("success" if found else "empty")
    if tables and not await _kept(face, id, tables[0]):
        return ["failure" for _ in results]
    return results


async def _kept(face: Face, id: str, rows: pa.Table) -> bool:
    try:
        await asyncio.to_thread(face.services.shelf.copies.open(face.past_name(id)).past.keep, rows)
    except HaechiError as error:
        _events.warning("snapshot_past_not_filled", snapshot=id, error=str(error))
        return False
    return True


def _copied(face: Face, found: Sequence[Entity], asked: Asked) -> pa.Table:
    return together([pa.concat_tables(copies(face.history, [one["id"] for one in found], asked))] if found else [])


async def _found(face: Face, query: PastQuery) -> list[Entity]:
    found, _ = await face.ask(query.search.page, query.selectors, (LARGEST, 0), False, "")
    if len(found) > LARGEST:
        raise InvalidData(f"the snapshot would hold more than {LARGEST} entities; narrow its queries", "too_complex")
    return found


async def _poured(face: Face, id: str, found: Sequence[Entity]) -> None:
    """Who they are; what they have now is no part of what was."""
    heads = {one["id"]: {**{name: one[name] for name in _NAMED if name in one}, "attrs": {}} for one in found}
    await face.services.shelf.copies.open(face.past_name(id)).pour(heads)


async def cloned(face: Face, id: str, source: str) -> str:
    """The past of a snapshot into another."""
    there = face.services.shelf.copies.open(face.past_name(source))
    here = face.services.shelf.copies.open(face.past_name(id))
    try:
        for some in await asyncio.to_thread(lambda: list(pages(there.store, EntityQuery()))):
            await here.pour(some)
        await asyncio.to_thread(lambda: here.past.keep(there.past.whole()))
    except HaechiError as error:
        _events.warning("snapshot_past_not_filled", snapshot=id, error=str(error))
        return "failure"
    return "success"
