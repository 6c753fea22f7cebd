"""Which part of a running platform holds the others up, and why: from two words of each role some seconds apart.

Pure: `haechi.app.look` gathers, `haechi doctor` prints.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FULL = 0.9  # of one processor core: ran on it, or was ready to and had to wait
SLOW_APPEND_S, SLOW_SYNC_S = 0.1, 0.02
STUCK_S = 2.0
BUSY = 0.6  # of the time at work: a projection that is behind because it works
FAR_BEHIND = 1_000  # messages
AFTER = {"watch": "context", "incidents": "watch"}  # who waits for whom
Word = Mapping[str, Any]  # what a role says of itself on `health.<role>`


@dataclass(frozen=True, slots=True)
class Look:
    """`words`: of each role that spoke, its first and last word within `span_s` seconds. `behind`: messages per
    projection at its end. `sync_s`: what writing and syncing four kilobytes beside the log takes now."""

    span_s: float
    words: Mapping[str, tuple[Word, Word]]
    states: Mapping[str, str] = field(default_factory=dict)  # "stopped", "waiting for the disk": role or nats-server
    behind: Mapping[str, int] = field(default_factory=dict)
    log_answers: bool = True
    sync_s: float = 0.0
    nats_cores: float = 0.0  # processor cores nats-server used


@dataclass(frozen=True, slots=True)
class Verdict:
    """`part` holds the others up (empty: nobody does), `what` was measured, `move` is what to do."""

    part: str
    what: str
    move: str = ""


def verdicts(look: Look) -> list[Verdict]:
    """The bottleneck first, then what else is slow; one without a `part` when everything keeps up."""
    found = [
        *_stopped(look),
        *_log(look),
        *_gateway(look),
        *_pipeline(look),
        *_api(look),
    ]
    return found or [_senders(look)]


def _stopped(look: Look) -> list[Verdict]:
    return [
        Verdict(name, f"the process of {name} is {how}", f"let it go on: `kill -CONT` its process; who stopped {name}?")
        for name, how in look.states.items()
        if how == "stopped"
    ]


def _log(look: Look) -> list[Verdict]:
    sync = f"writing and syncing 4 KiB beside it takes {_ms(look.sync_s)}"
    disk = "the disk is slow: give DATA a faster one, take other writers off it, or run with --durability os"
    server = "look into DATA/log/nats-server.log and at the load of this machine: the disk itself is quick enough"
    if not look.log_answers:
        what = look.states.get("nats-server") or "no answer within five seconds"
        move = disk if look.sync_s > SLOW_SYNC_S else server
        return [] if what == "stopped" else [Verdict("log", f"the log does not answer ({what}); {sync}", move)]
    usual_s, now_s = _append_s(look), float(_after(look, "gateway").get("intake", {}).get("append_s_now", 0))
    if now_s < STUCK_S and usual_s < SLOW_APPEND_S:
        return []
    what = f"an append takes {_ms(max(usual_s, now_s))}, {sync}; nats-server uses {look.nats_cores:.0%} of a core"
    return [Verdict("log", what, disk if look.sync_s > SLOW_SYNC_S else server)]


def _gateway(look: Look) -> list[Verdict]:
    cores = _cores(look, "gateway")
    if cores is None or sum(cores) < FULL:
        return []
    ran, waited = cores
    what = f"the gateway ran {ran:.0%} and waited {waited:.0%} of the time for one core, at {_rate(look)} messages/s"
    move = "send more samples in one message: a message costs more than a sample; senders are slowed meanwhile"
    if waited > ran:
        move = "the machine has too few processors for all that runs on it: take something off it"
    return [Verdict("gateway", what, move)]


def _pipeline(look: Look) -> list[Verdict]:
    late = {name: count for name, count in look.behind.items() if count > FAR_BEHIND}
    roots = [name for name in late if AFTER.get(name) not in late]
    if not roots or look.states.get("pipeline") == "stopped":
        return []
    name = max(roots, key=late.__getitem__)
    busy_s = _grown(look, "pipeline", "projections", name, "busy_s")
    cpu_s = _grown(look, "pipeline", "projections", name, "cpu_s")
    cores = _grown(look, "pipeline", "process", "cpu_s") / look.span_s
    busy = busy_s / look.span_s
    share = f"at work {busy:.0%} of the time, the pipeline uses {cores:.0%} of a core"
    what = f"{name} is {late[name]:,} messages behind; {share}, a sync takes {_ms(look.sync_s)}"
    return [Verdict("pipeline", what, _why_late(name, busy, cpu_s / busy_s if busy_s else 0.0, cores))]


def _why_late(name: str, busy: float, on_cpu: float, cores: float) -> str:
    if cores >= FULL or (busy >= BUSY and on_cpu > 0.5):
        return f"processor: {name} works as fast as its core allows and catches up when less comes; watch `behind`"
    if busy >= BUSY:
        return f"disk: {name} spends its time writing; give DATA a faster disk, or look for `projection_waits`"
    return f"{name} waits for the log or cannot write: look for `projection_waits` in the platform's messages"


def _api(look: Look) -> list[Verdict]:
    cores, late_s = _cores(look, "api"), _after(look, "api").get("process", {}).get("late_s", 0.0)
    if (cores is None or sum(cores) < FULL) and late_s < STUCK_S:
        return []
    ran, waited = cores or (0.0, 0.0)
    what = f"the api ran {ran:.0%} and waited {waited:.0%} of the time for one core; it answers {_ms(late_s)} late"
    return [
        Verdict("api", what, "fewer screens and programs at once, longer pauses between questions, or a faster core")
    ]


def _senders(look: Look) -> Verdict:
    cores = _cores(look, "gateway")
    share = f", the gateway uses {sum(cores):.0%} of a core" if cores else ""
    pace = f"nothing holds up {_rate(look)} messages/s: senders set the pace"
    return Verdict("", f"{pace}{share}, an append takes {_ms(_append_s(look))}")


def _append_s(look: Look) -> float:
    """What an append of the span took on average."""
    count = _grown(look, "gateway", "intake", "appends_total")
    return _grown(look, "gateway", "intake", "append_s_total") / count if count else 0.0


def _rate(look: Look) -> str:
    return f"{_grown(look, 'gateway', 'intake', 'messages_total') / look.span_s:,.0f}"


def _cores(look: Look, role: str) -> tuple[float, float] | None:
    """Shares of the span its main thread ran, and was ready and waited for a processor."""
    if "run_s" not in _after(look, role).get("process", {}):
        return None
    return tuple(_grown(look, role, "process", key) / look.span_s for key in ("run_s", "wait_s"))  # type: ignore[return-value]


def _after(look: Look, role: str) -> Word:
    return look.words[role][1] if role in look.words else {}


def _grown(look: Look, role: str, *path: str) -> float:
    """How much a counter rose; 0 when the role said nothing of it."""
    if role not in look.words:
        return 0.0
    before, after = (_at(word, path) for word in look.words[role])
    return max(0.0, after - before)


def _at(word: Any, path: tuple[str, ...]) -> float:
    for name in path:
        word = word.get(name, {})
    return float(word) if isinstance(word, int | float) else 0.0


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
