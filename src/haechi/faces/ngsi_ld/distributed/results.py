"""Makes one answer of what became of the parts of a change (clauses 5.2.16 to 5.2.19, 6.3.17). Used by writing and
batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.responses import Response

from haechi.core.errors import HaechiError
from haechi.faces.ngsi_ld.distributed.asking import Answer, details_of
from haechi.faces.ngsi_ld.errors import details, error_response
from haechi.faces.ngsi_ld.face import json_answer, no_content
from haechi.services.ngsi_ld.names import iri_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part: `error` is ProblemDetails, None when it went well; `attributes` are internal names;
    `source` the registration, None for this broker."""

    error: Mapping[str, Any] | None = None
    attributes: Sequence[str] = ()
    source: str | None = None
    kept: Sequence[Mapping[str, Any]] = ()  # NotUpdatedDetails of a part that went well but for these
    response: Response | None = field(default=None, compare=False)  # of this broker


def of_answer(answer: Answer, attributes: Sequence[str]) -> Outcome:
    """What a source's answer means for its part."""
    source = answer.registration.id
    if answer.status == 207:
        named = answer.body.get("notUpdated") if isinstance(answer.body, dict) else None
        if isinstance(named, list) and named and all(isinstance(one, dict) for one in named):
            left = [{**one, "registrationId": source} for one in named]
            return Outcome(None, _others(attributes, left), source, left)
        return Outcome(_partial(answer), attributes, source)
    return Outcome(None if answer.ok else details_of(answer), attributes, source)


def _partial(answer: Answer) -> dict[str, Any]:
    errors = answer.body.get("errors") if isinstance(answer.body, dict) else None
    if isinstance(errors, list) and errors and isinstance(errors[0], dict) and isinstance(errors[0].get("error"), dict):
        found: dict[str, Any] = errors[0]["error"]
        return found
    detail = f"{answer.registration.endpoint} did a part of it only"
    return {"type": "about:blank", "title": "Multi-Status", "detail": detail, "status": 207}


def of_error(error: HaechiError, attributes: Sequence[str], source: str | None = None) -> Outcome:
    """A part that this broker refuses."""
    return Outcome(details(error), attributes, source)


def of_response(response: Response, attributes: Sequence[str]) -> Outcome:
    """What this broker's own part came to."""
    if response.status_code == 207:
        body = orjson.loads(bytes(response.body))
        left = body.get("notUpdated")
        if left is not None:
            return Outcome(None, body.get("updated", []), None, left, response)
        errors = body["errors"]
        return Outcome(errors[0]["error"], attributes, None, (), response)
    if response.status_code >= 400:
        return Outcome(orjson.loads(bytes(response.body)), attributes, None, (), response)
    return Outcome(None, attributes, None, (), response)


def _others(attributes: Sequence[str], left: Sequence[Mapping[str, Any]]) -> list[str]:
    gone = {one.get("attributeName") for one in left}
    return [one for one in attributes if one not in gone and iri_of(one) not in gone]


def entity_answer(id: str, outcomes: Sequence[Outcome], done: Response) -> Response:
    """For what is about an entity: `done` when all went well, the error when the only part failed, else 207 with a
    BatchOperationResult."""
    failed = [one for one in outcomes if one.error is not None]
    if not failed:
        return done
    if len(outcomes) == 1 and failed[0].error is not None:
        return _refused(failed[0])
    errors = [_batch_error(id, one) for one in failed]
    return json_answer({"success": [id] if len(failed) < len(outcomes) else [], "errors": errors}, 207)


def _batch_error(id: str, outcome: Outcome) -> dict[str, Any]:
    source = {} if outcome.source is None else {"registrationId": outcome.source}
    return {"entityId": id, **source, "error": outcome.error}


def attributes_answer(outcomes: Sequence[Outcome]) -> Response:
    """For what is about attributes: 204, the error when the only part failed, else 207 with an UpdateResult."""
    left: list[Mapping[str, Any]] = [one for outcome in outcomes for one in outcome.kept]
    failed = [one for one in outcomes if one.error is not None]
    if len(outcomes) == 1 and failed:
        return _refused(failed[0])
    for one in failed:
        assert one.error is not None
        reason = str(one.error.get("detail") or one.error.get("title"))
        source = {} if one.source is None else {"registrationId": one.source}
        left += [{"attributeName": _iri(name), "reason": reason, **source} for name in one.attributes]
    if not left and not failed:
        return no_content()
    done = [_iri(name) for one in outcomes if one.error is None for name in one.attributes]
    return json_answer({"updated": list(dict.fromkeys(done)), "notUpdated": left}, 207)


def _iri(name: str) -> str:
    return name if name == "scope" or ":" in name else iri_of(name)


def _refused(outcome: Outcome) -> Response:
    if outcome.response is not None and outcome.response.status_code >= 400:
        return outcome.response
    assert outcome.error is not None
    return json_answer(outcome.error, int(outcome.error.get("status", 502)))


def local(error: HaechiError) -> Response:
    """An error of this broker's own part as a response."""
    return error_response(error)
