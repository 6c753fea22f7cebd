"""The platform's own figures, gathered once for the console (`GET /api/vitals`) and for Prometheus (`GET /metrics`)."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.app.health import Health
from haechi.app.vitals import Heard
from haechi.core.alarm import LEVELS
from haechi.core.times import SECOND, format_iso
from haechi.faces.metrics import Labels, Metric
from haechi.plugins.stores.nats.state import LogState

Document = Mapping[str, Any]
Samples = Sequence[tuple[Labels, float]]


@dataclass(frozen=True, slots=True)
class Gauges:
    """Where the figures come from. `certificates` and `counts` are called in a worker thread."""

    health: Health
    heard: Heard
    log: Callable[[], Awaitable[LogState]]
    disk_free: Callable[[], int]  # bytes
    account: Callable[[], Awaitable[Document]]  # as `GET /api/account`
    counts: Callable[[], Document]  # *Counts* of the alarms
    certificates: Callable[[], Mapping[str, int | None]]  # link -> end in microseconds
    tail_rows: Callable[[], int]
    committed_at: Callable[[], int | None]  # microseconds, when history last said that it had committed
    clients: Callable[[], int]  # browsers on the live socket
    neighbours: Callable[[], Mapping[str, Mapping[str, float]]]  # processes that say nothing themselves
    log_max: int  # bytes the log may hold


class Measures:
    """Asks everybody, each time anew."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    async def vitals(self) -> Document:
        """*Vitals* of docs/reference/console-api.md."""
        gauges, log = self._gauges, await self._gauges.log()
        said = gauges.heard.said()
        committed, ends = gauges.committed_at(), await asyncio.to_thread(gauges.certificates)
        roles = {role: {**one["process"], "silent_s": gauges.heard.silent_s(role)} for role, one in said.items()}
        upkeep = said.get("pipeline", {}).get("upkeep", {})
        at = upkeep.get("at")
        return {
            "roles": roles | {name: {**one, "silent_s": None} for name, one in gauges.neighbours().items()},
            "links": said.get("gateway", {}).get("links", {}),
            "intake": said.get("gateway", {}).get("intake", {}),
            "projections": said.get("pipeline", {}).get("projections", {}),
            "log": {
                "last_seq": log.last_seq,
                "messages": log.messages,
                "bytes": log.bytes,
                "max_bytes": gauges.log_max,
            },
            "disk_free_bytes": gauges.disk_free(),
            "history": {
                "tail_rows": gauges.tail_rows(),
                "committed_at": None if committed is None else format_iso(committed),
                "upkeep_at": None if at is None else format_iso(at),
                "upkeep_took_s": None if at is None else upkeep["took_s"],
            },
            "live_clients": gauges.clients(),
            "certificates": {link: None if at is None else format_iso(at) for link, at in ends.items()},
        }

    async def metrics(self) -> Sequence[Metric]:
        """Every family of docs/operate/health.md."""
        gauges = self._gauges
        vitals, account = await self.vitals(), await gauges.account()
        counts = await asyncio.to_thread(gauges.counts)
        ends = await asyncio.to_thread(gauges.certificates)
        return [
            *_of_account(account),
            *_of_roles(vitals),
            *_of_links(vitals),
            *_of_projections(vitals),
            *_of_stores(vitals, gauges.committed_at()),
            *_of_upkeep(gauges.heard.said().get("pipeline", {}).get("upkeep", {})),
            _each("haechi_alarms_active", "Alarms that ask for a person.", "level", {k: counts[k] for k in LEVELS}),
            _one("haechi_alarms_unacknowledged", "Of these, not acknowledged yet.", counts["unacknowledged"]),
            _each("haechi_problem", "1 while the check finds the platform in trouble.", "check", self._problems()),
            _each("haechi_late_seconds", "How long a projection has been late.", "projection", gauges.health.late_s()),
            _ends(ends),
        ]

    def _problems(self) -> dict[str, float]:
        wrong = self._gauges.health.problems()
        return {name: float(name in wrong) for name in self._gauges.health.checks()}


def _one(name: str, text: str, value: float) -> Metric:
    return Metric(name, "gauge", text, [({}, value)])


def _each(name: str, text: str, label: str, values: Mapping[str, float], kind: str = "gauge") -> Metric:
    return Metric(name, kind, text, [({label: key}, value) for key, value in values.items()])


def _of_account(account: Document) -> list[Metric]:
    links: Mapping[str, Document] = account["links"]
    rejected = [
        ({"link": link, "reason": reason}, count)
        for link, one in links.items()
        for reason, count in one["rejected"].items()
    ]

    def counted(name: str, text: str, key: str) -> Metric:
        return _each(name, text, "link", {link: one[key] for link, one in links.items()}, "counter")

    def held(name: str, text: str, key: str) -> Metric:
        return _each(name, text, "link", {link: one[key] for link, one in links.items()})

    return [
        counted("haechi_received_total", "Samples that reached the link's door.", "received"),
        counted("haechi_stored_total", "Samples stored as observations.", "stored"),
        Metric("haechi_rejected_total", "counter", "Samples refused; the sender was told why.", rejected),
        counted("haechi_quarantined_total", "Samples put into quarantine.", "quarantined"),
        counted("haechi_replayed_total", "Samples that came back out of quarantine.", "replayed"),
        held("haechi_in_quarantine", "Samples in quarantine now.", "in_quarantine"),
        held("haechi_missing", "Samples received and not accounted for; 0 when the account balances.", "missing"),
        _each("haechi_lag_messages", "Messages on the log not applied yet.", "projection", account["behind"]),
    ]


def _of_roles(vitals: Document) -> list[Metric]:
    roles: Mapping[str, Mapping[str, float]] = vitals["roles"]

    def of(key: str) -> dict[str, float]:
        return {role: one[key] for role, one in roles.items() if one.get(key) is not None}

    cpu, memory = "haechi_process_cpu_seconds_total", "haechi_process_resident_memory_bytes"
    return [
        _each(memory, "Resident memory of the role's process.", "role", of("rss_bytes")),
        _each(cpu, "Processor time of the role's process.", "role", of("cpu_s"), "counter"),
        _each("haechi_role_silent_seconds", "Since the role last said how it is.", "role", of("silent_s")),
    ]


def _of_links(vitals: Document) -> list[Metric]:
    links: Mapping[str, Mapping[str, float]] = vitals["links"]
    figures = [({"link": link, "figure": name}, value) for link, one in links.items() for name, value in one.items()]
    intake: Mapping[str, float] = vitals["intake"]
    return [
        Metric("haechi_link", "gauge", "What the link's adapter counts itself, see its README.", figures),
        _each("haechi_intake", "The queue in front of the log: waiting messages, free room 0-1.", "figure", intake),
    ]


def _of_projections(vitals: Document) -> list[Metric]:
    work: Mapping[str, Mapping[str, float]] = vitals["projections"]

    def of(name: str, text: str, key: str) -> Metric:
        return _each(name, text, "projection", {one: figures[key] for one, figures in work.items()}, "counter")

    return [
        of("haechi_projection_busy_seconds_total", "Time the projection was at work.", "busy_s"),
        of(
            "haechi_projection_cpu_seconds_total",
            "Of it on a processor; the rest waited, mostly for the disk.",
            "cpu_s",
        ),
    ]


def _of_stores(vitals: Document, committed: int | None) -> list[Metric]:
    log, history = vitals["log"], vitals["history"]
    found = [
        _one("haechi_log_last_seq", "Number of the newest message on the log.", log["last_seq"]),
        _one("haechi_log_messages", "Messages the log holds.", log["messages"]),
        _one("haechi_log_bytes", "Bytes the log holds.", log["bytes"]),
        _one("haechi_log_max_bytes", "Bytes beyond which the log refuses appends.", log["max_bytes"]),
        _one("haechi_disk_free_bytes", "Free space where the platform writes.", vitals["disk_free_bytes"]),
        _one("haechi_history_tail_rows", "Rows of history in memory, not in files yet.", history["tail_rows"]),
        _one("haechi_live_clients", "Browsers on the live socket.", vitals["live_clients"]),
    ]
    if committed is not None:
        text = "When history last said that its files are complete, on the city's clock."
        found.append(_one("haechi_history_commit_timestamp_seconds", text, committed / SECOND))
    return found


def _of_upkeep(upkeep: Mapping[str, float | None]) -> list[Metric]:
    if not upkeep:
        return []
    stuck_s = max(upkeep["running_s"] or 0.0, upkeep["failing_s"] or 0.0)
    text = "How long the upkeep of history has been at one step or has failed."
    found = [_one("haechi_history_upkeep_stuck_seconds", text, stuck_s)]
    if (at := upkeep["at"]) is not None:
        last = "When files of history were last merged, rolled up or removed, on the city's clock."
        found.append(_one("haechi_history_upkeep_timestamp_seconds", last, at / SECOND))
        found.append(_one("haechi_history_upkeep_duration_seconds", "How long that took.", upkeep["took_s"] or 0.0))
    return found


def _ends(ends: Mapping[str, int | None]) -> Metric:
    values = {link: math.nan if at is None else at / SECOND for link, at in ends.items()}
    text = "When the certificate of the link ends; NaN when its file cannot be read."
    return _each("haechi_tls_certificate_expiry_timestamp_seconds", text, "link", values)
