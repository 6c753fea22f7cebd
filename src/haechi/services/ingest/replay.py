"""Brings quarantined messages back once the mapping is mended. Used by `haechi quarantine replay` and the console
face."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.core.errors import NotFound
from haechi.core.frame import Frame, Tally, encode
from haechi.ports import Log, RecordStore
from haechi.services.ingest.account import PAGE, STEP, message_of
from haechi.services.ingest.batch import Builder
from haechi.services.ingest.mapping import Mapper


@dataclass(frozen=True, slots=True)
class Replayed:
    """Messages brought back, messages that still cannot be understood, and seq of the last append (0: none)."""

    replayed: int
    still_quarantined: int
    seq: int


def held(store: RecordStore, link: str | None = None, limit: int = PAGE) -> list[dict[str, Any]]:
    """Messages in quarantine, oldest first."""
    where = {"state": "held"} | ({"link": link} if link else {})
    return store.find("quarantine", where, order="received_at", limit=limit)


def chosen(store: RecordStore, ids: Sequence[str] | None, link: str | None) -> Iterator[list[dict[str, Any]]]:
    """Messages in quarantine in groups: these (`NotFound` names those that never were), or all, oldest first."""
    if ids is not None:
        entries = {one: store.get("quarantine", one) for one in ids}
        if unknown := [one for one, entry in entries.items() if entry is None]:
            raise NotFound(f"no message {', '.join(unknown)}; `haechi quarantine list` shows them")
        yield [one for one in entries.values() if one and one["state"] == "held" and link in (None, one["link"])]
        return
    where, offset = {"link": link} if link else {}, 0
    # Not only those held: what is brought back meanwhile must not shift the pages.
    while page := store.find("quarantine", where, order="received_at", limit=STEP, offset=offset):
        offset += len(page)
        yield [one for one in page if one["state"] == "held"]


async def replay_all(
    log: Log, mappers: Mapping[str, Mapper], groups: Iterator[Sequence[Mapping[str, Any]]]
) -> Replayed:
    """As `replay` for group after group, and the sums."""
    total = Replayed(0, 0, 0)
    while (entries := await asyncio.to_thread(next, groups, None)) is not None:
        more = await replay(log, mappers, entries)
        total = Replayed(
            total.replayed + more.replayed,
            total.still_quarantined + more.still_quarantined,
            max(total.seq, more.seq),
        )
    return total


async def replay(log: Log, mappers: Mapping[str, Mapper], entries: Sequence[Mapping[str, Any]]) -> Replayed:
    """Maps the entries again and appends what is understood now.

    A message comes back whole or not at all: one with a sample that still fails stays as it is. The append is named
    after
    the entry, so that two replays at once store it once.
    """
    replayed = seq = 0
    for entry in entries:
        builder = Builder(mappers)
        builder.add(message_of(entry), frozenset(entry.get("samples") or entry["fields"]))
        if builder.quarantined:
            continue
        # A message that could not be decoded stood for one sample; what it holds beyond that is received now.
        count = int(entry["count"])
        tally = Tally(builder.stored - count, builder.stored, -count, replayed=builder.stored)
        frame = Frame(tallies={entry["link"]: tally}, resolved=(entry["id"],), observations=builder.observations())
        seq = await log.append("obs", encode(frame), f"replay-{entry['id']}")
        replayed += 1
    return Replayed(replayed, len(entries) - replayed, seq)
