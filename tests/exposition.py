"""Reads the Prometheus text format 0.0.4 as strictly as Prometheus does, for tests of `GET /metrics`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

Key = tuple[tuple[str, str], ...]
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_HEAD = re.compile(rf"# (HELP|TYPE) ({_NAME}) (.*)")
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(,|$)')
_BACK = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}


@dataclass
class Family:
    """One metric: samples by their labels."""

    help: str
    kind: str = ""
    samples: dict[Key, float] = field(default_factory=dict)

    def at(self, **labels: str) -> float:
        return self.samples[tuple(sorted(labels.items()))]


def parse(text: str) -> Mapping[str, Family]:
    """The families; AssertionError names the line that is wrong."""
    assert text.endswith("\n"), "the last line has no line feed"
    found: dict[str, Family] = {}
    current = ""
    for line in text[:-1].split("\n"):
        if head := _HEAD.fullmatch(line):
            current = _head(found, current, *head.groups())
            continue
        sample = _SAMPLE.fullmatch(line)
        assert sample and sample[1] == current and found[current].kind, line
        key = _labels(sample[2] or "", line)
        assert key not in found[current].samples, f"twice: {line}"
        found[current].samples[key] = float(sample[3])
    return found


def _head(found: dict[str, Family], current: str, word: str, name: str, rest: str) -> str:
    if word == "HELP":
        assert name not in found, f"{name} twice"
        found[name] = Family(_plain(rest))
    else:
        assert name == current and rest in {"counter", "gauge"}, f"TYPE {name} {rest}"
        assert (rest == "counter") == name.endswith("_total"), name
        found[name].kind = rest
    return name


def _labels(text: str, line: str) -> Key:
    labels, at = [], 0
    while at < len(text):
        one = _LABEL.match(text, at)
        assert one, line
        labels.append((one[1], _plain(one[2])))
        at = one.end()
    return tuple(sorted(labels))


def _plain(text: str) -> str:
    return re.sub(r'\\[\\n"]', lambda one: _BACK[one[0]], text)
