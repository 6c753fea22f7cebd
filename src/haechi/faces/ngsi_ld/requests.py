"""Reads requests: media types, bodies, @context, parameters (clauses 6.3.3 to 6.3.11). Used by all resources."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from starlette.requests import Request

from haechi.core.entity import NULL
from haechi.core.errors import HaechiError, InvalidData, NotSupported
from haechi.faces.http import header_of, headers_of
from haechi.faces.ngsi_ld.links import link_context
from haechi.services.ngsi_ld.contexts import Contexts
from haechi.services.ngsi_ld.names import CORE_CONTEXT, Context

LARGEST = 10 * 2**20
TURN = 1_000  # members of a batch that are looked at at once
DEEPEST = 60  # levels of arrays and objects in a body
JSON, LD, MERGE = "application/json", "application/ld+json", "application/merge-patch+json"
GEO = "application/geo+json"
_LATER = frozenset(
    """
    csourceIds via splitEntities entityMap
    timerel timeAt endTimeAt lastN snapshotId entityId
    """.split()  # noqa: SIM905 - a list of words is read as one
)
_SEVERAL = frozenset(("id", "type", "attrs", "options"))  # clients repeat these for several values
_FORMS = frozenset(("keyValues", "simplified", "concise", "normalized"))
_OPTIONS = _FORMS | {"sysAttrs", "count", "noOverwrite", "update", "replace"}


_NO_LINK = f"with {LD} the @context stands in the body; leave the Link header out"


@dataclass(frozen=True, slots=True)
class Parameters:
    """The query parameters of one request, those it may have."""

    given: Mapping[str, str]
    options: frozenset[str]

    def get(self, name: str) -> str | None:
        return self.given.get(name)

    def names(self, name: str) -> tuple[str, ...]:
        """A comma-separated list; empty when absent."""
        text = self.given.get(name)
        if text is None:
            return ()
        found = tuple(one.strip() for one in text.split(","))
        if not all(found):
            raise InvalidData(f"{name}={text!r} has an empty member; separate names by single commas", "bad_request")
        return found

    def flag(self, name: str) -> bool:
        """`true` or `false`; false when absent."""
        text = self.given.get(name, "false")
        if text not in {"true", "false"}:
            raise InvalidData(f"{name} must be true or false, not {text!r}", "bad_request")
        return text == "true"

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number in bounds."""
        text = self.given.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdecimal() or len(text) > 12 or not low <= int(text) <= high:
            raise InvalidData(f"{name} must be a whole number from {low} to {high}, not {text[:40]!r}", "bad_request")
        return int(text)


_NONE = Parameters({}, frozenset())


def parameters(request: Request, allowed: str, forms: frozenset[str] = frozenset()) -> Parameters:
    """The query parameters; refuses those the resource does not have (clause 5.5.2) and names what there is.

    `forms` are representations of this resource beside those that all know.
    """
    if not request.scope["query_string"]:
        return _NONE
    known = {*allowed.split(), "options", "format", "local"}
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given and name not in _SEVERAL:
            raise InvalidData(f"{name} stands twice; say it once, with commas between values", "invalid_request")
        if name in known:
            given[name] = f"{given[name]},{value}" if name in given else value
        elif name in _LATER:
            raise NotSupported(f"the parameter {name} is not supported here yet; leave it out")
        else:
            raise InvalidData(f"no parameter {name!r} here; there are {', '.join(sorted(known))}", "invalid_request")
    found = Parameters(given, _options(given, forms))
    found.flag("local")
    found.flag("splitEntities")
    return found


def _options(given: Mapping[str, str], more: frozenset[str]) -> frozenset[str]:
    """`format` goes before a form that `options` names (clause 6.3.7)."""
    form, forms = given.get("format"), _FORMS | more
    if form is not None and form not in forms:
        raise InvalidData(f"unknown format {form!r}; there are {', '.join(sorted(forms))}", "invalid_request")
    chosen = frozenset(one for one in given.get("options", "").split(",") if one)
    if wrong := sorted(chosen - _OPTIONS - more):
        known = ", ".join(sorted(_OPTIONS | more))
        raise InvalidData(f"unknown option {wrong[0]!r}; there are {known}", "invalid_request")
    return chosen if form is None else (chosen - forms) | {form}


def answer_type(request: Request, offered: Sequence[str] = (JSON, LD)) -> str:
    """The representation the client prefers; of several it likes as much the first offered (clause 6.3.4)."""
    return _preferred(request.headers.get("accept", "*/*") or "*/*", tuple(offered))


@lru_cache(maxsize=256)
def _preferred(header: str, offered: tuple[str, ...]) -> str:
    ranges = [item.partition(";") for item in header.lower().split(",")]
    weights = {media.strip(): _weight(rest) for media, _, rest in ranges}
    liked = {one: _liking(one, weights) for one in offered}
    best = max(offered, key=lambda one: liked[one])  # the first of equals
    if liked[best] <= 0:
        raise InvalidData(f"{header!r} accepts none of {', '.join(offered)}; accept one of them", "not_acceptable")
    return best


def _liking(media: str, weights: Mapping[str, float]) -> float:
    """The weight of the most specific range that covers it (RFC 9110, 12.5.1)."""
    ranges = (media, media.partition("/")[0] + "/*", "*/*")
    return next((weights[one] for one in ranges if one in weights), 0.0)


def _weight(parameters: str) -> float:
    for one in parameters.split(";"):
        name, _, value = one.partition("=")
        if name.strip().lower() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 1.0  # no weight that RFC 9110 knows: as if there were none
    return 1.0


async def read(request: Request, contexts: Contexts, merge: bool = False) -> tuple[Any, Context]:
    """The JSON body without `@context`, and the context; `merge`: application/merge-patch+json is taken too."""
    body, media = await _json(request, (JSON, LD, MERGE) if merge else (JSON, LD))
    return await _with_context(request, _nulls(body) if media == MERGE else body, media, contexts)


def _nulls(body: Any) -> Any:
    """A JSON merge patch (RFC 7396) with the NGSI-LD Null for null."""
    if isinstance(body, dict):
        return {name: _nulls(one) if name != "@context" else one for name, one in body.items()}
    return NULL if body is None else body


async def body_of(request: Request) -> Any:
    """The JSON body as it is, its `@context` included."""
    return (await _json(request, (JSON, LD)))[0]


async def read_named(request: Request) -> tuple[Any, Any]:
    """The JSON body without `@context`, and the `@context` value as the client wrote it (None: the core's)."""
    body, media = await _json(request, (JSON, LD, MERGE) if request.method == "PATCH" else (JSON, LD))
    return _named(request, body, media)


async def read_batch(request: Request, contexts: Contexts) -> list[tuple[Any, Context | HaechiError]]:
    """The members of a batch, each with its context or what is wrong with that: the other members go on (5.6.7.4)."""
    body, media = await _json(request, (JSON, LD, MERGE))
    if not isinstance(body, list) or not body or None in body:
        raise InvalidData("a batch is a JSON array with at least one member, and null is none", "bad_request")
    link = link_context(headers_of(request.scope, b"link"))
    if media == LD and link is not None:
        raise InvalidData(_NO_LINK, "bad_request")
    named = _Named(contexts)
    found = []
    for place, one in enumerate(body):
        if place % TURN == 0:
            await asyncio.sleep(0)  # others have their turn, also between this and reading the JSON
        found.append(await _member(one, media, link, named))
    return found


class _Named:
    """Contexts that members of one batch name: each is looked up once."""

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._found: dict[bytes, Context | HaechiError] = {}

    async def context(self, given: Any) -> Context | HaechiError:
        key = b"" if given is None else orjson.dumps(given)
        if key not in self._found:
            self._found[key] = await self._resolved(given)
        return self._found[key]

    async def _resolved(self, given: Any) -> Context | HaechiError:
        try:
            return CORE_CONTEXT if given is None else await self._contexts.resolve(given)
        except HaechiError as error:
            return error


async def _member(body: Any, media: str, link: str | None, named: _Named) -> tuple[Any, Context | HaechiError]:
    try:
        rest, given = _parted(body, media, link)
    except HaechiError as error:
        return body, error
    found = await named.context(given)
    return (body if isinstance(found, HaechiError) else rest), found


async def _json(request: Request, allowed: tuple[str, ...]) -> tuple[Any, str]:
    if header_of(request.scope, b"content-length") is None:
        raise InvalidData("say with Content-Length how long the body is", "length_required")
    media = (header_of(request.scope, b"content-type") or "").partition(";")[0].strip().lower()
    if media not in allowed:
        raise InvalidData(f"Content-Type is {media or 'missing'}; send one of {', '.join(allowed)}", "media_type")
    return parse(await _bytes(request)), media


async def _with_context(request: Request, body: Any, media: str, contexts: Contexts) -> tuple[Any, Context]:
    """One document and its context."""
    rest, given = _named(request, body, media)
    return rest, CORE_CONTEXT if given is None else await contexts.resolve(given)


def _named(request: Request, body: Any, media: str) -> tuple[Any, Any]:
    """One document without its `@context`, and the value of that, None when there is none; where it stands follows
    from the media type (clause 6.3.5)."""
    return _parted(body, media, link_context(headers_of(request.scope, b"link")))


def _parted(body: Any, media: str, link: str | None) -> tuple[Any, Any]:
    inside = isinstance(body, dict) and "@context" in body
    if media == LD:
        if link is not None:
            raise InvalidData(_NO_LINK, "bad_request")
        if not isinstance(body, dict):
            raise InvalidData("the body is no JSON object; send one", "invalid_request")
        if not inside:
            raise InvalidData(f"with {LD} the body needs an @context; add it or send {JSON}", "bad_request")
    elif inside and media != MERGE:
        raise InvalidData(
            f"an @context in the body needs Content-Type: {LD}; or name it in a Link header", "bad_request"
        )
    if not inside:
        return body, link
    return {name: value for name, value in body.items() if name != "@context"}, body["@context"]


async def _bytes(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST:
            raise InvalidData(f"the body is larger than {LARGEST} bytes; send it in several parts", "too_large")
    return bytes(content)


def parse(content: bytes) -> Any:
    """The JSON value; refuses what is no JSON and what nests too deep to be worked on."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidData(f"the body is not JSON: {error}", "invalid_request") from error
    if content.count(b"[") + content.count(b"{") > DEEPEST and _is_deep(body):
        raise InvalidData(f"the body nests deeper than {DEEPEST} levels; flatten it", "bad_request")
    return body


def _is_deep(body: Any) -> bool:
    """Whether arrays and objects lie in each other on more than `DEEPEST` levels."""
    level, depth = [body], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            return True
        level = [
            inner
            for one in level
            for inner in (one.values() if type(one) is dict else one if type(one) is list else ())
            if type(inner) is dict or type(inner) is list
        ]
    return False
