"""`GET /metrics`: the platform's own figures in the Prometheus text format 0.0.4. `app.measures` gathers them."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from haechi.faces.http import answering, require

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]
Collect = Callable[[], Awaitable["Sequence[Metric]"]]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family: base units, seconds or bytes. A `counter` only rises and its name ends in `_total`."""

    name: str
    kind: str  # "counter" | "gauge"
    help: str
    samples: Sequence[tuple[Labels, float]]


def render(metrics: Sequence[Metric]) -> str:
    """The exposition: HELP, TYPE and the samples of each family; a family without samples is left out."""
    return "".join(line + "\n" for one in metrics if one.samples for line in _lines(one))


def _lines(metric: Metric) -> list[str]:
    head = [f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.kind}"]
    return head + [f"{metric.name}{_labels(labels)} {_number(value)}" for labels, value in metric.samples]


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    quoted = [f'{name}="{_escaped(value).replace(chr(34), chr(92) + chr(34))}"' for name, value in labels.items()]
    return "{" + ",".join(quoted) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def routes(collect: Collect) -> list[BaseRoute]:
    """The path, for whoever is logged in; a scraper sends `Authorization: Bearer`."""

    async def metrics(request: Request) -> Response:
        require(request, "viewer")
        return Response(render(await collect()), headers={"Content-Type": CONTENT_TYPE})

    return [Route("/metrics", answering(metrics), methods=["GET"])]
