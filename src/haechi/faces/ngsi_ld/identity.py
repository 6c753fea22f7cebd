"""/info/sourceIdentity (clauses 5.15.1, 5.2.40): who this broker is to others, per tenant."""

from starlette.requests import Request
from starlette.responses import Response

from haechi.core.times import SECOND, format_iso, to_us
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.requests import parameters
from haechi.services.ngsi_ld.names import CORE_CONTEXT


async def identity(face: Face, request: Request) -> Response:
    """GET: the alias by which a request knows that it has been here before, and since when this process runs."""
    parameters(request, "")
    services = face.services
    now, alias = to_us(services.clock.now()), services.sources.alias
    body = {
        "id": f"urn:ngsi-ld:ContextSourceIdentity:{alias}",
        "type": "ContextSourceIdentity",
        "contextSourceAlias": alias,
        "contextSourceUptime": f"PT{max(0, now - services.tenants.started_at) // SECOND}S",
        "contextSourceTimeAt": format_iso(now),
    }
    return face.answer(request, body, CORE_CONTEXT)
