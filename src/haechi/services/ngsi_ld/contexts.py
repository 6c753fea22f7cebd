"""The @contexts this broker knows (clause 5.13): preloaded, hosted for clients, downloaded once, made for
subscriptions. Used by every NGSI-LD resource and by notifications."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from haechi.core.errors import HaechiError, InvalidData, NotFound
from haechi.core.times import SECOND, to_us
from haechi.ports import Change, Clock, RecordStore
from haechi.services.ngsi_ld.names import Context, is_core, resolve, urls_in

COLLECTIONS: Mapping[str, tuple[str, ...]] = {"contexts": ("url", "kind")}
KINDS = ("Cached", "Hosted", "ImplicitlyCreated")
PATH = "/ngsi-ld/v1/jsonldContexts/"
RESOLVED = 1_000  # resolved contexts kept in memory
INCLUDED = 50  # documents one context may include
FAIL_FAST_US = 5 * SECOND  # a URL that did not answer is not asked again for so long
FAILURES = 1_000

Download = Callable[[str], Awaitable[bytes]]


@dataclass(slots=True)
class Entry:
    """One stored context. `url` is empty for those served from here; `used_at` and `hits` count since the start."""

    id: str
    kind: str
    url: str
    body: Any
    created_at: int
    used_at: int | None = None
    hits: int = 0

    def used(self, now: int) -> None:
        """Counts a hit."""
        self.used_at, self.hits = now, self.hits + 1

    @property
    def location(self) -> str:
        """Where it is found: its own URL, or the path below this broker."""
        return self.url or PATH + self.id


class Contexts:
    """`preloaded`: URL -> document, never downloaded; `download` raises an error of the tree for what cannot be had."""

    def __init__(
        self,
        store: RecordStore,
        download: Download,
        clock: Clock,
        new_id: Callable[[], str],
        preloaded: Mapping[str, Any] | None = None,
    ) -> None:
        self._store, self._download, self._clock, self._new_id = store, download, clock, new_id
        self._preloaded = preloaded or {}
        self._entries: dict[str, Entry] = {}  # by id
        self._by_url: dict[str, Entry] = {}
        self._resolved: OrderedDict[bytes, tuple[Context, tuple[Entry, ...]]] = OrderedDict()
        self._failed: OrderedDict[str, tuple[int, HaechiError]] = OrderedDict()
        self._downloads: dict[str, asyncio.Task[Entry]] = {}
        for one in store.find("contexts", limit=1_000_000):
            self._keep(Entry(one["id"], one["kind"], one["url"], one["body"], one["created_at"]))

    # --- for requests ---

    async def resolve(self, given: object, *, counted: bool = True) -> Context:
        """The context of an `@context` value; its documents are downloaded where this broker lacks them. `counted`:
        that is a use of them."""
        key = orjson.dumps(given)
        found = self._resolved.get(key)
        if found is None:
            found = await self._resolve(given)
            self._resolved[key] = found
            if len(self._resolved) > RESOLVED:
                self._resolved.popitem(last=False)
        else:
            self._resolved.move_to_end(key)
        now = to_us(self._clock.now())
        for entry in found[1] if counted else ():
            entry.used(now)
        return found[0]

    async def _resolve(self, given: object) -> tuple[Context, tuple[Entry, ...]]:
        documents: dict[str, Any] = {}
        used: list[Entry] = []
        asked = urls_in(given)
        while asked:
            url = asked.pop(0)
            if url in documents:
                continue
            if len(documents) >= INCLUDED:
                raise InvalidData(f"the @context includes more than {INCLUDED} others; send its terms", "bad_request")
            entry = await self._document(url)
            documents[url] = entry.body
            used.append(entry)
            asked += urls_in(entry.body)
        return resolve(given, documents), tuple(used)

    async def _document(self, url: str) -> Entry:
        entry = self._find(url)
        if entry is None and url in self._preloaded:  # a copy that nobody has to download; it is not stored again
            entry = Entry(self._new_id(), "Cached", url, self._preloaded[url], to_us(self._clock.now()))
            self._keep(entry)
        return entry if entry is not None else await self._fetched(url)

    # --- clause 5.13 ---

    def add(self, body: object) -> Entry:
        """5.13.2: hosted from here on; `InvalidData` when it is no context."""
        document = checked(body, "the body", "invalid_request")
        return self._create("Hosted", "", {"@context": document["@context"]})

    def implicit(self, given: object) -> Entry:
        """An `@context` written in place, stored so that it can be named in a Link header; the same one is stored
        once."""
        for one in self._entries.values():
            if one.kind == "ImplicitlyCreated" and one.body == {"@context": given}:
                return one
        return self._create("ImplicitlyCreated", "", {"@context": given})

    def listed(self, kind: str | None = None) -> list[Entry]:
        """5.13.3."""
        return [one for one in self._entries.values() if kind is None or one.kind == kind]

    def get(self, name: str) -> Entry:
        """5.13.4: by its local id or its URL; `NotFound`."""
        if is_core(name):
            return Entry("core", "Cached", name, None, 0)
        entry = self._find(name) or self._entries.get(name)
        if entry is None:
            raise NotFound(f"no @context {name} is stored here; GET /ngsi-ld/v1/jsonldContexts lists those that are")
        return entry

    def delete(self, entry: Entry) -> None:
        """5.13.5."""
        if is_core(entry.url):
            raise InvalidData("the core @context is part of this broker and stays", "bad_request")
        self._store.commit([Change("contexts", entry.id, None)])
        del self._entries[entry.id]
        self._by_url.pop(entry.url, None)
        self._resolved.clear()

    async def reload(self, entry: Entry) -> None:
        """5.13.5 with reload=true: downloaded anew; the old one stays when that fails."""
        if entry.kind != "Cached":
            raise InvalidData(
                f"{entry.location} is no copy: nothing to reload; delete it without reload", "bad_request"
            )
        if is_core(entry.url):
            return  # it is built in: there is nothing newer
        if entry.url not in self._preloaded:
            entry.body = await self._downloaded(entry.url)
            self._commit(entry)
        self._resolved.clear()

    # --- inside ---

    def _find(self, url: str) -> Entry | None:
        found = self._by_url.get(url)
        if found is None and (path := urlsplit(url).path).startswith(PATH):
            found = self._entries.get(path.removeprefix(PATH))
        return found

    def _keep(self, entry: Entry) -> None:
        self._entries[entry.id] = entry
        if entry.url:
            self._by_url[entry.url] = entry

    def _create(self, kind: str, url: str, body: Any) -> Entry:
        entry = Entry(self._new_id(), kind, url, body, to_us(self._clock.now()))
        self._commit(entry)
        self._keep(entry)
        return entry

    def _commit(self, entry: Entry) -> None:
        body = {"kind": entry.kind, "url": entry.url, "body": entry.body, "created_at": entry.created_at}
        self._store.commit([Change("contexts", entry.id, body)])

    async def _fetched(self, url: str) -> Entry:
        """One download however many requests wait for it."""
        now = to_us(self._clock.now())
        failed_at, error = self._failed.get(url, (0, None))
        if error is not None and now - failed_at < FAIL_FAST_US:
            raise error
        task = self._downloads.get(url)
        if task is None:
            task = self._downloads[url] = asyncio.create_task(self._cached(url))
            task.add_done_callback(lambda _: self._downloads.pop(url, None))
        try:
            return await asyncio.shield(task)
        except HaechiError as error:
            self._failed[url] = (now, error)
            if len(self._failed) > FAILURES:
                self._failed.popitem(last=False)
            raise

    async def _cached(self, url: str) -> Entry:
        body = await self._downloaded(url)
        self._failed.pop(url, None)
        return self._create("Cached", url, body)

    async def _downloaded(self, url: str) -> Any:
        if not url.startswith(("http://", "https://")) or is_core(url):
            raise InvalidData(f"the @context {url[:200]!r} is no http(s) URL; name one that can be had", "bad_request")
        try:
            content = await self._download(url)
        except HaechiError as error:
            raise InvalidData(
                f"the @context {url} cannot be had: {error}; preload it, or write its terms into the request",
                "ld_context",
            ) from error
        try:
            return checked(orjson.loads(content), url)
        except (HaechiError, orjson.JSONDecodeError) as error:
            raise InvalidData(f"the @context {url} is none: {error}; mend it there", "bad_request") from error


def checked(body: object, what: str, reason: str = "bad_request") -> Mapping[str, Any]:
    """A document with an `@context` whose own terms can be read (what it includes is looked at in use)."""
    if not isinstance(body, Mapping) or "@context" not in body:
        raise InvalidData(f"{what} is no JSON object with an @context; see JSON-LD 1.1, 3.1", reason)
    resolve(body["@context"], {url: {"@context": {}} for url in urls_in(body)})
    return body
