"""The city on the map: descriptor, base layers, facilities, values, one entity, texts. Routed by `routes.py`."""

import asyncio
import hashlib
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from haechi.core.errors import InvalidData, NotFound
from haechi.core.times import format_iso, to_us
from haechi.faces.console.services import ConsoleServices
from haechi.faces.console.shapes import LANGUAGES, entity_shown, shown
from haechi.faces.http import json_response, one_of
from haechi.services.context import reader as context


async def city(request: Request, services: ConsoleServices) -> Response:
    """*City*."""
    found = services.city
    west, south, east, north = found.frame
    domains = [
        {"id": one.id, "name": one.name, "icon": one.icon, "colour": one.colour} for one in found.domains.values()
    ]
    layers = [
        {
            "id": one.id,
            "url": f"/api/map/{one.id}.geojson",
            "role": one.role,
            "synthetic": one.synthetic,
            "attribution": one.attribution,
        }
        for one in found.map
    ]
    return json_response(
        {
            "id": found.id,
            "name": found.name,
            "country": found.country,
            "time_zone": found.time_zone,
            "languages": found.languages,
            "simulated": found.simulated,
            "frame": {"west": west, "south": south, "east": east, "north": north},
            "centre": found.centre,
            "zoom": found.zoom,
            "domains": domains,
            "map": layers,
            "now": format_iso(to_us(services.clock.now())),
        }
    )


async def layer(request: Request, services: ConsoleServices) -> Response:
    """One layer of the base map, by its id in city.toml: never a path the caller makes up."""
    wanted = request.path_params["id"]
    found = next((one for one in services.city.map if one.id == wanted), None)
    if found is None:
        raise NotFound(f"no map layer {wanted!r}; GET /api/city lists them")
    stat = await asyncio.to_thread(found.file.stat)
    response = FileResponse(
        found.file, media_type="application/geo+json", stat_result=stat, headers={"Cache-Control": "no-cache"}
    )
    return _unchanged(request, response.headers["etag"]) or response


async def facilities(request: Request, services: ConsoleServices) -> Response:
    """*Facilities*; the ETag is that of the content, so that values changing does not send names again."""
    wanted = _domain(request, services)
    content = await asyncio.to_thread(_facilities, services, wanted)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    return _unchanged(request, etag) or Response(content, 200, headers, "application/json")


def _facilities(services: ConsoleServices, wanted: str | None) -> bytes:
    return orjson.dumps(context.facilities(services.entities, _types(services, wanted), LANGUAGES))


def _types(services: ConsoleServices, wanted: str | None) -> dict[str, str]:
    return {kind.id: kind.domain for kind in services.city.types.values() if wanted in {None, kind.domain}}


async def latest(request: Request, services: ConsoleServices) -> Response:
    """*Latest*: current numeric values from the live model."""
    wanted = _domain(request, services)
    return json_response(await asyncio.to_thread(_latest, services, wanted))


def _latest(services: ConsoleServices, wanted: str | None) -> dict[str, Any]:
    found = context.latest(services.entities, _types(services, wanted))
    # Milliseconds throughout, as on the live socket: instants of both then sort as text.
    found["observed_at"] = [(one[:-1] + ".000")[:23] + "Z" for one in found["observed_at"]]
    return found


async def entity(request: Request, services: ConsoleServices) -> Response:
    """*Entity* with its alarms that have not ended."""
    return json_response(await asyncio.to_thread(_entity, services, request.path_params["id"]))


def _entity(services: ConsoleServices, id: str) -> dict[str, Any]:
    body = context.get(services.entities, id)
    if body is None:
        raise NotFound(f"no entity {id!r}; GET /api/facilities lists them")
    found = entity_shown(body, services.city, to_us(services.clock.now()))
    return {**found, "alarms": shown(services.alarms.alarms_of(id))}


async def texts(request: Request, services: ConsoleServices) -> Response:
    """Texts of domains and city in one language: names of types, attributes and domains, and what locales add."""
    language = request.path_params["lang"]
    if language not in LANGUAGES:
        raise NotFound(f"no language {language!r}; there are {', '.join(LANGUAGES)}")
    known = services.city
    built = {
        "types": {kind.id: kind.name[language] for kind in known.types.values()},
        "attributes": {
            f"{kind.id}.{one.id}": one.name[language]
            for kind in known.types.values()
            for one in kind.attributes.values()
        },
        "domains": {one.id: one.name[language] for one in known.domains.values()},
    }
    added = known.texts.get(language, {})
    merged = {name: {**built.get(name, {}), **section} for name, section in added.items() if isinstance(section, dict)}
    return json_response({**built, **merged})


def _domain(request: Request, services: ConsoleServices) -> str | None:
    if not request.query_params.get("domain"):
        return None
    try:
        return one_of(request, "domain", "", tuple(services.city.domains))
    except InvalidData as error:
        raise NotFound(str(error)) from error


def _unchanged(request: Request, etag: str) -> Response | None:
    known = request.headers.get("if-none-match", "")
    return Response(status_code=304, headers={"ETag": etag, "Cache-Control": "no-cache"}) if etag in known else None
