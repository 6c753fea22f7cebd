"""`GET /api/history`: series, windows and the state at an instant, as JSON or Arrow. Routed by `routes.py`."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from haechi.core.errors import Busy, InvalidData
from haechi.core.times import SECOND, parse_iso
from haechi.faces.console.series import instants
from haechi.faces.http import json_response, one_of, whole_number
from haechi.ports import HistoryReader, SeriesQuery

AGGREGATES = ("mean", "min", "max", "sum", "count", "first", "last", "stddev")
MAX_SERIES = 1000  # entities times attributes of one question
MAX_ROWS = 1_000_000
AT_ONCE = 4
WAITING = 32
_ROWS_PER_BATCH = 20_000
_LOST_PLUS = re.compile(r" (\d\d:?\d\d)$")


class History:
    """Questions to history, a few at a time in worker threads; more wait, and too many are sent away with 429."""

    def __init__(self, reader: HistoryReader, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._reader = reader
        self._slots = asyncio.Semaphore(at_once)
        self._room = at_once + waiting

    async def answer(self, request: Request) -> Response:
        """`InvalidData` names the parameter; `Haechi-Truncated: true` when there are more rows than `limit`."""
        shape = one_of(request, "format", "json", ("json", "arrow"))
        question = _question(request)
        table = await self._ask(question)
        if shape == "arrow":
            return _arrow(table, _truncated(table, question))
        return await asyncio.to_thread(_json, table, _truncated(table, question))

    async def _ask(self, question: "SeriesQuery | _At") -> pa.Table:
        if self._room <= 0:
            raise Busy("too many questions to history at once; ask again in a second", 1)
        self._room -= 1
        try:
            async with self._slots:
                return await asyncio.to_thread(self._read, question)
        finally:
            self._room += 1

    def _read(self, question: "SeriesQuery | _At") -> pa.Table:
        if isinstance(question, SeriesQuery):
            return self._reader.series(question)
        return self._reader.latest(question.entities, question.attributes, question.at)


class _At:
    """What was true at an instant."""

    __slots__ = ("at", "attributes", "entities")

    def __init__(self, entities: tuple[str, ...], attributes: tuple[str, ...], at: int) -> None:
        self.entities = entities
        self.attributes = attributes
        self.at = at


def _question(request: Request) -> SeriesQuery | _At:
    query = request.query_params
    entities = tuple(dict.fromkeys(filter(None, query.getlist("entity"))))
    attributes = tuple(dict.fromkeys(filter(None, query.getlist("attribute"))))
    if not entities:
        raise InvalidData("name at least one entity=; entity= and attribute= may repeat", "bad_query")
    if len(entities) * max(1, len(attributes)) > MAX_SERIES:
        raise InvalidData(f"more than {MAX_SERIES} series; ask for fewer entities or attributes at once", "bad_query")
    at, start, end = (_instant(request, name) for name in ("at", "from", "to"))
    if at is not None:
        if start is not None or end is not None:
            raise InvalidData("give at= or from= and to=, not both", "bad_query")
        return _At(entities, attributes, at)
    if start is None or end is None:
        raise InvalidData("give from= and to=, or at=, as 2026-11-22T09:00:00Z", "bad_query")
    if start >= end:
        raise InvalidData("from= must be before to=; to= itself is not included", "bad_query")
    return _span(request, entities, attributes, (start, end))


def _span(
    request: Request, entities: tuple[str, ...], attributes: tuple[str, ...], span: tuple[int, int]
) -> SeriesQuery:
    window_s = whole_number(request, "window_s", 0, 0, 366 * 86_400)
    return SeriesQuery(
        entities=entities,
        attributes=attributes,
        start=span[0],
        end=span[1],
        window_us=window_s * SECOND or None,
        aggregates=_aggregates(request),
        known_at=_instant(request, "known_at"),
        limit=whole_number(request, "limit", 100_000, 1, MAX_ROWS),
        descending=one_of(request, "order", "asc", ("asc", "desc")) == "desc",
    )


def _aggregates(request: Request) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(filter(None, request.query_params.get("aggregate", "mean").split(","))))
    unknown = [one for one in wanted if one not in AGGREGATES]
    if unknown or not wanted:
        raise InvalidData(f"aggregate={','.join(unknown)!r}: give some of {', '.join(AGGREGATES)}", "bad_query")
    return wanted


def _instant(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        # An unescaped + in a query arrives as a space.
        return parse_iso(_LOST_PLUS.sub(r"+\1", text))
    except (ValueError, OverflowError) as error:
        raise InvalidData(f"{name}={text!r}: give an instant as 2026-11-22T09:00:00Z ({error})", "bad_query") from error


def _truncated(table: pa.Table, question: SeriesQuery | _At) -> dict[str, str]:
    full = isinstance(question, SeriesQuery) and table.num_rows >= question.limit
    return {"Haechi-Truncated": "true"} if full else {}


# --- JSON ---


def _json(table: pa.Table, headers: dict[str, str]) -> Response:
    columns = {name: _column(table, name) for name in table.column_names if name != "text"}
    if "text" in table.column_names and "value" in columns:
        texts = table.column("text").to_pylist()
        numbers = columns["value"]
        # A text observation holds JSON: it goes out as what it says, not as a string of JSON.
        columns["value"] = [
            number if text is None else orjson.Fragment(text) for number, text in zip(numbers, texts, strict=True)
        ]
    return json_response({"columns": columns}, headers=headers)


def _column(table: pa.Table, name: str) -> list[Any]:
    column = table.column(name)
    if not pa.types.is_timestamp(column.type):
        values: list[Any] = column.to_pylist()
        return values
    microseconds = pc.fill_null(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), 0).to_numpy()
    texts = instants(np.asarray(microseconds))
    if column.null_count == 0:
        return texts
    return [text if valid else None for text, valid in zip(texts, pc.is_valid(column).to_pylist(), strict=True)]


# --- Arrow ---


def _arrow(table: pa.Table, headers: dict[str, str]) -> Response:
    return StreamingResponse(_chunks(table), headers=headers, media_type="application/vnd.apache.arrow.stream")


def _chunks(table: pa.Table) -> AsyncIterator[bytes]:
    return iterate_in_threadpool(_written(table))


def _written(table: pa.Table) -> Iterator[bytes]:
    sink = _Sink()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), table.schema) as writer:
        for batch in table.to_batches(max_chunksize=_ROWS_PER_BATCH):
            writer.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


class _Sink:
    """A file that Arrow writes to and a response takes from, so that at most one batch is in memory twice."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def taken(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole

    def flush(self) -> None:
        """Nothing is held back."""
