"""What names mean: terms of the core and of user @contexts to internal names and back (clauses 4.4, 5.5.7, 6.3.5).

Internal names are the terms of the core and default contexts; every other IRI is kept whole. Used by all of this face.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from haechi.core.errors import InvalidData, NotSupported
from haechi.core.plain import Plain

CORE_URL = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"
LINK_REL = "http://www.w3.org/ns/json-ld#context"
CORE = "https://uri.etsi.org/ngsi-ld/"
DEFAULT = CORE + "default-context/"
_CORE_URLS = re.compile(r"https?://uri\.etsi\.org/ngsi-ld/v1/ngsi-ld-core-context(-v1\.\d+)?\.jsonld")
# Terms of the core context a city might use as names of types or attributes; they expand outside the default context.
_GEOJSON = ("geometry", "properties", "bbox", "Feature", "Point", "Polygon")
_ELSEWHERE = {"description": "http://purl.org/dc/terms/description", "title": "http://purl.org/dc/terms/title"} | {
    name: "https://purl.org/geojson/vocab#" + name for name in _GEOJSON
}
_CORE_TERMS = frozenset(
    """
    location observationSpace operationSpace scope status attributes coordinates entity entities format information
    management mode operations reason scopeQ success tenant timeAt uri data detail endpoint q value object languageMap
    vocab json valueList objectList unitCode observedAt createdAt modifiedAt deletedAt expiresAt datasetId instanceId
    objectType valueType lang key accept avg max min sum stddev sumsq totalCount distinctCount updated unchanged
    containedBy isActive join local notification throttling timeout timerel timeproperty Property GeoProperty
    Relationship LanguageProperty VocabProperty JsonProperty ListProperty ListRelationship TemporalProperty DateTime
    Date Time Notification Subscription Attribute EntityType EntityMap Snapshot
    """.split()  # noqa: SIM905 - a list of words is read as one
)
_MOST_TERMS = 5000
_REMEMBERED = 20_000  # names a context keeps the short form of
_DEEPEST = 10
_NO_TERMS = frozenset({"@version", "@protected", "@vocab", "@base", "@language", "@direction", "@propagate"})
_GEN_DELIMS = frozenset(":/?#[]@")


def iri_of(name: str) -> str:
    """The IRI of an internal name."""
    if ":" in name:
        return name
    return _ELSEWHERE.get(name) or (CORE if name in _CORE_TERMS else DEFAULT) + name


def internal(iri: str) -> str:
    """The internal name of an IRI: short where it is a term of the core or default context."""
    for base in (DEFAULT, CORE):
        name = iri.removeprefix(base)
        if name != iri and ":" not in name and iri_of(name) == iri:
            return name
    return next((name for name, known in _ELSEWHERE.items() if known == iri), iri)


@dataclass(frozen=True, slots=True)
class Context:
    """The context of one request. `urls` are what a response names; `terms` map a user's terms to IRIs."""

    urls: tuple[str, ...] = ()
    terms: Mapping[str, str] = field(default_factory=dict)
    vocab: str = ""
    _compact: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    plain: Plain = field(init=False, repr=False, compare=False)  # reads what clients send in these terms

    def __post_init__(self) -> None:
        # Of several terms the shortest, then the first by letters (JSON-LD 1.1 API, 4.3); dicts keep the last.
        shortest = sorted(self.terms, key=lambda term: (len(term), term), reverse=True)
        reverse = {internal(self.terms[term]): term for term in shortest if not _protected(term)}
        object.__setattr__(self, "_compact", reverse)
        object.__setattr__(self, "plain", Plain(self.expand))

    def expand(self, term: str) -> str:
        """The internal name a client's term or IRI stands for."""
        if term in self.terms and not _protected(term):
            return internal(self.terms[term])
        prefix, colon, rest = term.partition(":")
        if colon and not rest.startswith("//"):
            if prefix in self.terms:
                return internal(self.terms[prefix] + rest)
            return internal(CORE + rest) if prefix == "ngsi-ld" else internal(term)
        if colon:
            return internal(term)
        return internal(self.vocab + term) if self.vocab and not _protected(term) else term

    def compact(self, name: str) -> str:
        """The shortest name this client understands as that internal name."""
        found = self._compact.get(name)
        if found is None:
            plain = ":" not in name and self.expand(name) == name
            found = name if plain else self._shortened(iri_of(name))
            if len(self._compact) < _REMEMBERED:
                self._compact[name] = found
        return found

    def _shortened(self, iri: str) -> str:
        """A compact IRI by the shortest way a prefix allows (JSON-LD 1.1, 4.1.5), else the IRI."""
        prefixes = {"ngsi-ld": CORE, **{term: base for term, base in self.terms.items() if base[-1:] in _GEN_DELIMS}}
        fitting = [(term, base) for term, base in prefixes.items() if base and iri.startswith(base) and iri != base]
        ways = [f"{term}:{iri.removeprefix(base)}" for term, base in fitting]
        return min(ways, key=lambda way: (len(way), way), default=iri)

    @property
    def link(self) -> str:
        """The value of the Link header (clause 6.3.6); of several contexts the first of the user's."""
        url = self.urls[0] if self.urls else CORE_URL
        return f'<{url}>; rel="{LINK_REL}"; type="application/ld+json"'

    @property
    def body(self) -> str | list[str]:
        """The value of `@context` in an application/ld+json answer: what the client named, which implies the core
        (clause 5.5.7)."""
        return (self.urls[0] if len(self.urls) == 1 else list(self.urls)) if self.urls else CORE_URL


def _protected(term: str) -> bool:
    return term in _CORE_TERMS or term in _ELSEWHERE


CORE_CONTEXT = Context()


def resolve(given: object, documents: Mapping[str, Any]) -> Context:
    """The context of an `@context` value: URLs (of the core, or keys of `documents`), objects of terms, lists of
    both. What JSON-LD allows and has no meaning for names is passed over; `InvalidData` names what is wrong."""
    terms: dict[str, str] = {}
    vocab = _apply(given, documents, terms, 0)
    urls = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, str)]
    return Context(tuple(one for one in urls if not is_core(one)), terms, vocab)


def is_core(url: str) -> bool:
    """Whether the URL is that of a core context: built in, and always the last word."""
    return _CORE_URLS.fullmatch(url) is not None


def urls_in(given: object) -> list[str]:
    """The URLs an `@context` value (or a whole document) names that are not the core's, in order."""
    if isinstance(given, str):
        return [] if is_core(given) else [given]
    if isinstance(given, list):
        return [url for one in given for url in urls_in(one)]
    return urls_in(given["@context"]) if isinstance(given, Mapping) and "@context" in given else []


def _apply(part: object, documents: Mapping[str, Any], terms: dict[str, str], depth: int) -> str:
    """Adds what one part defines to `terms`; returns its @vocab."""
    if depth > _DEEPEST:
        raise InvalidData(f"the @context nests deeper than {_DEEPEST} levels, or includes itself", "bad_request")
    if part is None:
        terms.clear()
        return ""
    if isinstance(part, str):
        return "" if is_core(part) else _apply(documents[part], documents, terms, depth + 1)
    if isinstance(part, list):
        vocab = ""
        for one in part:
            vocab = _apply(one, documents, terms, depth + 1) or vocab
        return vocab
    if not isinstance(part, Mapping):
        raise InvalidData("@context holds URLs and objects of terms; see JSON-LD 1.1, 3.1", "bad_request")
    if "@context" in part:
        return _apply(part["@context"], documents, terms, depth + 1)
    return _read_terms(part, terms)


def _read_terms(part: Mapping[str, Any], terms: dict[str, str]) -> str:
    """Adds the terms of one object to `terms`; returns its @vocab."""
    if len(part) > _MOST_TERMS:
        raise InvalidData(f"@context has more than {_MOST_TERMS} terms; send only those in use", "bad_request")
    fresh: list[str] = []
    for term, definition in part.items():
        if term in _NO_TERMS:
            continue
        if term.startswith("@"):
            raise NotSupported(f"@context uses {term}, which is not read yet; map terms to IRIs only")
        iri = _iri_in(term, definition)
        if iri is None:
            terms.pop(term, None)
        elif not iri.startswith("@"):  # an alias of a keyword names no attribute
            terms[term] = iri
            fresh.append(term)
    vocab = part.get("@vocab", "")
    vocab = vocab if isinstance(vocab, str) else ""
    for term in fresh:
        terms[term] = _absolute(terms[term], terms, vocab)
    return vocab


def _iri_in(term: str, definition: object) -> str | None:
    """What a term definition (JSON-LD 1.1, 9.15.1) maps its term to; None: to nothing."""
    if isinstance(definition, Mapping):
        if "@context" in definition:
            raise InvalidData(
                f"@context scopes a context to {term}, which clause 5.5.7 forbids; take it out", "bad_request"
            )
        definition = definition.get("@id", term)
    if definition is None or isinstance(definition, str):
        return definition
    raise InvalidData(f"@context maps {term} to something that is no IRI; write an absolute IRI", "bad_request")


def _absolute(iri: str, terms: Mapping[str, str], vocab: str) -> str:
    prefix, colon, rest = iri.partition(":")
    if colon and not rest.startswith("//") and prefix in terms and terms[prefix] != iri:
        return terms[prefix] + rest
    if not colon:
        whole = vocab + iri if vocab else iri_of(iri)
        return terms.get(iri, whole) if terms.get(iri) != iri else whole
    return CORE + rest if prefix == "ngsi-ld" else iri
