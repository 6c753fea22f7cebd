"""Errors of the tree as NGSI-LD ProblemDetails (clauses 5.5.2, 5.5.3 and 6.3.2). Used by every part of this face."""

from typing import NamedTuple

import orjson
from starlette.responses import Response

from haechi.core.errors import Busy, Conflict, HaechiError, InvalidData, NotFound, NotSupported, Refused, Unavailable

LENGTH_REQUIRED = 411
BASE = "https://uri.etsi.org/ngsi-ld/errors/"


class Problem(NamedTuple):
    """One row of table 6.3.2-1."""

    name: str  # last part of the type URI
    title: str
    status: int


_BAD_REQUEST = Problem("BadRequestData", "The request includes input data which does not meet the requirements", 400)
# `InvalidData.reason` chooses among the ways an input can be wrong; what is not named here is BadRequestData.
_INPUTS = {
    "invalid_request": Problem("InvalidRequest", "The request is not syntactically valid or not allowed", 400),
    "method": Problem("MethodNotAllowed", "This resource does not know that method", 405),
    "length_required": Problem("LengthRequired", "Content-Length is missing", 411),
    "not_acceptable": Problem("NotAcceptableMediaType", "None of the accepted media types can be given", 406),
    "too_large": Problem("RequestEntityTooLarge", "The payload is too large", 413),
    "media_type": Problem("UnsupportedMediaType", "The payload has a media type that is not taken here", 415),
    "not_supported": Problem("OperationNotSupported", "The operation is not supported", 422),
    "conflict": Problem("Conflict", "The request conflicts with what is registered or held here", 409),
    "too_complex": Problem("TooComplexQuery", "The query is too complex", 403),
    "tenant": Problem("NonexistentTenant", "There is no such tenant", 404),
    "loop": Problem("LoopDetected", "A loop of registrations leads back to this broker", 508),
    "ld_context": Problem("LdContextNotAvailable", "A remote JSON-LD @context could not be had", 504),
}
_CLASSES: dict[type[HaechiError], Problem] = {
    NotFound: Problem("ResourceNotFound", "The referred resource has not been found", 404),
    Conflict: Problem("AlreadyExists", "The referred element already exists", 409),
    NotSupported: Problem("OperationNotSupported", "The operation is not supported", 422),
    Refused: Problem("Refused", "The credentials or the role do not allow this", 403),
    Busy: Problem("TooManyRequests", "More is asked than can be stored now", 429),
    Unavailable: Problem("ServiceUnavailable", "A part of the platform does not answer now", 503),
}
_BUG = Problem("InternalError", "There has been an error during the operation", 500)


def problems() -> list[str]:
    """The last parts of all type URIs."""
    return sorted({one.name for one in (_BAD_REQUEST, *_INPUTS.values(), *_CLASSES.values())})


def problem_of(error: HaechiError) -> Problem:
    """The row of the table for an error of the tree; the nearest class counts."""
    if isinstance(error, InvalidData):
        return _INPUTS.get(error.reason, _BAD_REQUEST)
    return next((_CLASSES[kind] for kind in type(error).__mro__ if kind in _CLASSES), _BUG)


def details(error: HaechiError) -> dict[str, str | int]:
    """ProblemDetails (RFC 7807) with our message, which names the next move, as `detail`."""
    problem = problem_of(error)
    return {"type": BASE + problem.name, "title": problem.title, "detail": str(error), "status": problem.status}


def conflict(message: str) -> InvalidData:
    """What contradicts a registration (clauses 5.6, 5.9.2.4): not `AlreadyExists`, which is 409 too."""
    return InvalidData(message, "conflict")


def error_response(error: HaechiError, headers: dict[str, str] | None = None) -> Response:
    """The answer to a refused request, in application/json whatever was accepted; 411 has no body (clause 6.3.2)."""
    if isinstance(error, Busy):
        headers = {"Retry-After": str(error.retry_after_s), **(headers or {})}
    status = problem_of(error).status
    if status == LENGTH_REQUIRED:
        return Response(status_code=status, headers=headers)
    return Response(orjson.dumps(details(error)), status, headers, "application/json")
