"""What a rule is, as values: who it watches, its conditions and its levels. Made by `parse`, run by `evaluator`.

The form authors write is docs/reference/rules.md. Spans are microseconds here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from haechi.core.alarm import Level
from haechi.services.watch.hours import ALWAYS, Hours

Scalar = float | str | bool
Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Other:
    """A limit taken from another attribute of the same entity: value * times + plus."""

    attribute: str
    times: float = 1.0
    plus: float = 0.0


@dataclass(frozen=True, slots=True)
class Compare:
    """`op` is above, below, at_least, at_most, between, outside, equals or differs; two limits for between and
    outside."""

    attribute: str
    op: str
    limits: tuple[Scalar | Other, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """Change over the last `window_us`, per `per_us`, above (sign +1) or below (sign -1) `limit`."""

    attribute: str
    sign: int
    limit: float
    per_us: int
    window_us: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing has arrived for `for_us` on our clock."""

    attribute: str
    for_us: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """Observations come but have stayed within `epsilon` for `for_us`."""

    attribute: str
    for_us: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class Flagged:
    """The newest observation carries one of the quality flags in `mask`."""

    attribute: str
    mask: int


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple["Condition", ...]


Condition = Compare | Rate | Silence | Stuck | Flagged | All | AnyOf


def leaves(condition: Condition) -> Iterator[Compare | Rate | Silence | Stuck | Flagged]:
    """The conditions that look at an attribute, in the order written."""
    if isinstance(condition, All | AnyOf):
        for part in condition.parts:
            yield from leaves(part)
    else:
        yield condition


def attributes_of(condition: Condition) -> Iterator[str]:
    """Every attribute a condition reads, limits included."""
    for leaf in leaves(condition):
        yield leaf.attribute
        if isinstance(leaf, Compare):
            yield from (one.attribute for one in leaf.limits if isinstance(one, Other))


@dataclass(frozen=True, slots=True)
class LevelRule:
    """When one level is raised and when it ends. `clear` None: as soon as `when` does not hold."""

    level: Level
    when: Condition
    clear: Condition | None = None
    for_us: int = 0
    clear_for_us: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """Which entities: all that are given must match."""

    types: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ()

    def covers(self, entity: str, types: tuple[str, ...], scopes: tuple[str, ...]) -> bool:
        """Whether an entity of these types in these scopes is meant; a scope covers those below it."""
        if self.types and self.types.isdisjoint(types):
            return False
        if self.ids and entity not in self.ids:
            return False
        return not self.scopes or any(
            one == mine or one.startswith(mine + "/") for mine in self.scopes for one in scopes
        )


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a rule comes from; shown with each of its alarms."""

    clause: str = ""
    version: str = ""
    approved_by: str = ""
    valid_from: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `levels` from the highest to the lowest."""

    id: str
    name: Names
    text: Names
    domain: str
    scope: Scope
    attribute: str
    levels: tuple[LevelRule, ...]
    any_quality: bool = False
    hours: Hours = ALWAYS
    suppress: Condition | None = None
    playbook: str | None = None
    group: str = "rule"
    maintenance: bool = False
    enabled: bool = True
    provenance: Provenance = field(default_factory=Provenance)
    source: str = ""  # file and line it was read from
    line: int = 0

    def conditions(self) -> Iterator[Condition]:
        """Every condition of the rule."""
        for one in self.levels:
            yield one.when
            if one.clear is not None:
                yield one.clear
        if self.suppress is not None:
            yield self.suppress

    def attributes(self) -> tuple[str, ...]:
        """Every attribute the rule reads, its own first."""
        return tuple(
            dict.fromkeys([self.attribute, *(name for one in self.conditions() for name in attributes_of(one))])
        )
