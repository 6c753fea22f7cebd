"""What the evaluator remembers of one series (one attribute of one entity). Fed in log order; rebuilt from its
checkpoint and journal after a restart, so `feed` depends on nothing but its arguments and what was fed before.
"""

import math
from typing import Any

from haechi.core.quality import Quality
from haechi.core.times import DAY

DOUBTFUL = int(Quality.OUT_OF_RANGE | Quality.DEVICE_DOUBT | Quality.STUCK)
STALE_US = DAY  # received this long after it was observed: history, not a matter for people now
RESTLESS = -1  # `until` of a series without a calm band; `eased` where none was tried
LONGEST_REST = 31  # observations after which a band is tried again that was left at once
SLICES = 64  # a rate window keeps about this many values: memory stays bounded whatever a device's pace is


class Series:
    """The newest observation, since when the value has not moved, and the values of the rate window."""

    __slots__ = (
        "at",
        "attribute",
        "bounds",
        "doubts",
        "eased",
        "entity",
        "epsilon",
        "high",
        "index",
        "low",
        "moved_at",
        "moved_from",
        "patience",
        "quality",
        "received",
        "rest",
        "seq",
        "unit",
        "until",
        "value",
        "watchers",
        "window",
        "window_us",
    )  # fmt: skip

    def __init__(self, index: int, entity: str, attribute: str) -> None:
        """`index` is its number in checkpoint and journal."""
        self.index, self.entity, self.attribute = index, entity, attribute
        self.value: Any = None
        self.unit: str | None = None
        self.at, self.received, self.seq, self.quality = -1, -1, 0, 0
        self.moved_from: Any = None
        self.moved_at = -1
        self.epsilon = 0.0  # of the stuck condition that watches it
        self.window: list[tuple[int, float]] | tuple[()] = ()  # of some sixty at most; a deque takes 760 bytes
        self.window_us = 0  # longest rate window that watches it, 0: none
        self.doubts: frozenset[str] = frozenset()  # maintenance rules that say this sensor is not to be believed
        self.watchers: list[Any] = []
        self.bounds: tuple[Any, ...] = ()  # watchers that compare others with this value
        # the calm band, see `calm`: from `low` to `high`, until before `until`; -1: there is none
        self.low, self.high, self.until = math.inf, -math.inf, RESTLESS
        self.eased, self.rest, self.patience = RESTLESS, 0, 0

    def feed(self, at: int, received: int, value: Any, quality: int, seq: int) -> bool:
        """Takes one observation; False when it is late or stale: something arrived, but the newest value stays."""
        if received > self.received:  # noqa: PLR1730 - hot path: max() costs three times this
            self.received = received
        if at < self.at or received - at > STALE_US:
            return False
        self.seq = seq
        if self.moved_at < 0 or self._moved(value):
            self.moved_from, self.moved_at = value, at
        self.at, self.value, self.quality = at, value, quality
        if self.window_us and not quality & DOUBTFUL and value.__class__ is float:
            self.slide(at, value)
        return True

    def same(self, at: int, value: Any, quality: int) -> bool:
        """Whether a value that is no number says, within the calm band, what the last one said."""
        return (
            self.at <= at < self.until
            and quality == self.quality
            and value.__class__ is self.value.__class__
            and value.__class__ is not float
            and bool(value == self.value)
        )

    def ripe(self, before: int) -> bool:
        """Whether to look for a calm band now; `before` is the record of the observation before this one. A band that
        is left at once every time is looked for ever more seldom."""
        if self.rest:
            self.rest -= 1
            return False
        if self.eased == before:
            self.patience = min(LONGEST_REST, 2 * self.patience + 1)
            self.rest, self.eased = self.patience, RESTLESS
            return False
        if self.eased != RESTLESS:
            self.patience = 0
        return True

    def _moved(self, value: Any) -> bool:
        old = self.moved_from
        if value.__class__ is float and old.__class__ is float:
            return bool(abs(value - old) > self.epsilon)
        return bool(value != old)

    def slide(self, at: int, value: float) -> None:
        """Takes a number into the rate window."""
        window = self.window
        assert isinstance(window, list), "a series with a window keeps one, see `widen`"
        if not window or at - window[-1][0] >= self.window_us // SLICES:
            window.append((at, value))
        while window[0][0] < at - self.window_us:
            del window[0]

    def widen(self, window_us: int) -> None:
        """Keeps the values of a window of at least that length from now on."""
        self.window_us = max(self.window_us, window_us)
        self.window = list(self.window)

    def doubt(self, rule: str, doubted: bool) -> None:
        """A maintenance rule says whether this sensor is to be believed."""
        self.doubts = self.doubts | {rule} if doubted else self.doubts - {rule}

    def slope(self, window_us: int, per_us: int) -> float | None:
        """Change per `per_us` over the window; None when observations cover less than half of it."""
        start = self.at - window_us
        for at, value in self.window:
            if at >= start:
                span = self.at - at
                return (self.value - value) * per_us / span if span * 2 >= window_us else None
        return None

    def known(self, mask: int, heeds: bool) -> bool:
        """Whether the newest value may be believed: none of these quality flags and, if it heeds them, no doubts."""
        return self.at >= 0 and not self.quality & mask and not (heeds and self.doubts)

    def dump(self) -> list[Any]:
        """Everything `load` needs, as JSON."""
        return [
            self.entity, self.attribute, self.value, self.unit, self.at, self.received, self.seq, self.quality,
            self.moved_from, self.moved_at, [list(one) for one in self.window],
        ]  # fmt: skip

    def load(self, dumped: list[Any]) -> None:
        """Takes the state out of a checkpoint."""
        (
            _,
            _,
            self.value,
            self.unit,
            self.at,
            self.received,
            self.seq,
            self.quality,
            self.moved_from,
            self.moved_at,
        ) = dumped[:10]
        if dumped[10] or self.window_us:
            self.window = [(at, value) for at, value in dumped[10]]

    def forget(self) -> None:
        """The attribute was deleted: nothing is known any more."""
        self.value, self.at, self.moved_from, self.moved_at, self.quality = None, -1, None, -1, 0
        self.window = [] if self.window_us else ()
        self.until = RESTLESS
