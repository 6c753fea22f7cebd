"""The live feed of the console: what changed, conflated, to any number of clients that read at their own pace.

`app.py` gives it each batch of the log and each notice of the bus; `socket.py` lets clients read. Nothing is queued for
a client: it owns three numbers (the last beat, event and tick it was sent), so one that does not read costs no memory
and, when it reads again, gets the newest value of each series once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa

from haechi.core.errors import Busy, Unavailable
from haechi.core.times import format_iso
from haechi.faces.console.series import Series

EVENTS_KEPT = 20_000  # newest state of that many alarms and incidents; a client further behind must fetch them again
BEATS_PER_TICK = 2
CLIENTS_MAX = 1_000


class Client:
    """Where one connection stands. `domains` None means all of the city, `entities` None all of those."""

    __slots__ = ("beat", "domains", "entities", "event", "tick", "wake")

    def __init__(self, beat: int, event: int, tick: int) -> None:
        self.beat = beat
        self.event = event
        self.tick = tick
        self.domains: frozenset[str] | None = None
        self.entities: frozenset[str] | None = None
        self.wake = asyncio.Event()

    def watch(self, domains: frozenset[str] | None, entities: frozenset[str] | None = None) -> None:
        """Narrows to these domains and entities, or to all; what it did not watch until now comes with all its
        values."""
        if _more(self.domains, domains) or _more(self.entities, entities):
            self.beat = 0
        self.domains, self.entities = domains, entities


def _more(before: frozenset[str] | None, now: frozenset[str] | None) -> bool:
    return before is not None and (now is None or not now <= before)


class LiveHub:
    """Shared by all clients; called on the event loop's thread only. `now` gives microseconds."""

    def __init__(self, domain_of: Callable[[str], str], now: Callable[[], int]) -> None:
        self._now = now
        self._series = Series(domain_of)
        self._beat = BEATS_PER_TICK  # the beat that is open: what comes now carries this number
        self._tick = 1
        self._seq = 0
        self._events: OrderedDict[tuple[str, str], tuple[int, str]] = OrderedDict()
        self._event = 0
        self._forgotten = 0  # number of the newest event that was dropped
        self._clients: set[Client] = set()
        self._built: dict[tuple[int, frozenset[str] | None, frozenset[str] | None], str] = {}

    # --- what happens ---

    def feed(self, batch: pa.RecordBatch, seq: int = 0) -> None:
        """A batch of observations (`observation.SCHEMA`) from the log; `seq` of its record, shown in `hello`."""
        self._seq = max(self._seq, seq)
        self._series.put(batch, self._beat)

    def tell(self, kind: str, id: str, body: Mapping[str, Any]) -> None:
        """An alarm, an incident or the counts (`kind`) are now so; only the newest state of each `id` is kept."""
        self._event += 1
        self._events.pop((kind, id), None)
        self._events[kind, id] = (self._event, orjson.dumps({"type": kind, kind: body}).decode())
        if len(self._events) > EVENTS_KEPT:
            self._forgotten = self._events.popitem(last=False)[1][0]
        self._wake()

    def beat(self) -> None:
        """Ends a window of 500 ms: what changed in it goes out, and each second a tick."""
        self._beat += 1
        self._built.clear()
        self._tick = self._beat // BEATS_PER_TICK
        self._wake()

    def _wake(self) -> None:
        for client in self._clients:
            client.wake.set()

    # --- who watches ---

    @property
    def watching(self) -> int:
        """Clients connected now."""
        return len(self._clients)

    def join(self) -> tuple[Client, str]:
        """A new client and its `hello`; from here on it misses nothing. `Busy` when there are enough."""
        if len(self._clients) >= CLIENTS_MAX:
            raise Busy(f"{CLIENTS_MAX} screens are connected already; close one, or try again later", 10)
        client = Client(self._beat - 1, self._event, self._tick)
        self._clients.add(client)
        hello = {"type": "hello", "now": format_iso(self._now()), "seq": self._seq}
        return client, orjson.dumps(hello).decode()

    def leave(self, client: Client) -> None:
        """Forgets the client."""
        self._clients.discard(client)

    def messages(self, client: Client) -> Iterator[str]:
        """What the client has not been sent yet, alarms first; asking counts as sent.

        `Unavailable` when alarms it never saw are forgotten: it must connect again and fetch them.
        """
        if client.event < self._forgotten:
            raise Unavailable("too far behind; connect again and fetch alarms and incidents")
        yield from self._news(client)
        if client.beat < self._beat - 1:
            since, client.beat = client.beat, self._beat - 1
            latest = self._latest(since, client)
            if latest:
                yield latest
        if client.tick < self._tick:
            client.tick = self._tick
            yield orjson.dumps({"type": "tick", "now": format_iso(self._now())}).decode()

    def _news(self, client: Client) -> Iterator[str]:
        news = []
        for number, text in reversed(self._events.values()):
            if number <= client.event:
                break
            news.append(text)
        client.event = self._event
        yield from reversed(news)

    def _latest(self, since: int, client: Client) -> str:
        # Clients that keep up ask for the same window: it is built once for all of them.
        key = (since, client.domains, client.entities)
        text = self._built.get(key)
        if text is None:
            text = self._built[key] = self._series.changed(*key).decode()
        return text
