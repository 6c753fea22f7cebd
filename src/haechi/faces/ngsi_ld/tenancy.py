"""Gives each request the face of its tenant (clauses 4.14, 5.5.10, 6.3.14). The one place that tells tenants apart.

Every service is the tenant's own before a resource sees it; a service that is neither mapped nor named as common to all
tenants here keeps the process from starting, so that no new one can leak.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import fields, replace
from typing import Any

from starlette.requests import Request

from haechi.core.errors import InvalidData, NotFound
from haechi.faces.http import header_of
from haechi.faces.ngsi_ld.face import Face
from haechi.faces.ngsi_ld.services import NgsiServices
from haechi.services.registrations.copies import Copy
from haechi.services.tenants.evolution import TenantEvolution
from haechi.services.tenants.known import MOST
from haechi.services.tenants.live import CityEntities, TenantEntities
from haechi.services.tenants.names import DEFAULT, checked, split
from haechi.services.tenants.told import TenantNotifier

HEADER = "NGSILD-Tenant"
_RAW_HEADER = HEADER.lower().encode()
_MAPPED = frozenset({"store", "write", "contexts", "notifier", "history", "sources"})
_COMMON = frozenset({"clock", "watched_anew", "tenants", "expiry", "shelf", "instances_most", "every_source"})
# What makes a tenant that is not there yet (clause 5.5.10); every other operation needs one that is.
_MAKING = frozenset(
    {
        ("entities",),
        ("entityOperations", "create"),
        ("entityOperations", "upsert"),
        ("temporal", "entities"),
        ("subscriptions",),
        ("csourceRegistrations",),
        ("csourceSubscriptions",),
        ("jsonldContexts",),
    }
)
# Who this is, and that there is no @context, can be told before anything is stored.
_ALWAYS = frozenset({("info", "sourceIdentity"), ("jsonldContexts",)})
_WITH_BODY = frozenset({"POST", "PATCH", "PUT"})


class Faces:
    """One face per tenant, kept."""

    def __init__(self, services: NgsiServices) -> None:
        assert {one.name for one in fields(services)} == _MAPPED | _COMMON, "say of each service whose it is"
        self._services = services = replace(services, write=services.expiry.write)
        self.city = Face(_city(services))
        self._faces: dict[str, Face] = {DEFAULT: self.city}
        services.expiry.holding = self._holding

    def _holding(self, id: str) -> AbstractAsyncContextManager[None]:
        tenant, bare = split(id)
        return self._face(tenant).writes.holding([bare])

    def _face(self, name: str) -> Face:
        if name not in self._faces:
            self._room()
            self._faces[name] = Face(_own(self._services, name), name)
        return self._faces[name]

    def of(self, request: Request, resource: tuple[str, ...]) -> Face:
        """`InvalidData` when there is no such tenant and the operation makes none."""
        name = header_of(request.scope, _RAW_HEADER) or DEFAULT
        if name == DEFAULT:
            return self._faces[DEFAULT]
        if not self._services.tenants.knows(checked(name)):
            self._missing(request, resource, name)
        return self._face(name)

    def with_copy(self, id: str) -> tuple[Face, Copy]:
        """Whose subscription has this id at another source; `NotFound` when nobody's has."""
        for tenant, sources in self._services.every_source.made():
            if (copy := sources.copies.find(id)) is not None:
                return self._face(tenant) if tenant else self.city, copy
        raise NotFound(f"no subscription of ours is called {id} at another source; take yours back")

    def _room(self) -> None:
        """Names of tenants that never came to be do not pile up."""
        if len(self._faces) >= MOST:
            self._faces = {name: face for name, face in self._faces.items() if self._services.tenants.knows(name)}

    @staticmethod
    def _missing(request: Request, resource: tuple[str, ...], name: str) -> None:
        if resource in _ALWAYS or (request.method == "POST" and resource in _MAKING):
            return
        if request.method in _WITH_BODY and "content-length" not in request.headers:
            raise InvalidData("say with Content-Length how long the body is", "length_required")
        raise InvalidData(
            f"no tenant {name!r} here; create something in it first, or leave {HEADER} out for the city's own", "tenant"
        )


def _city(services: NgsiServices) -> NgsiServices:
    tenants = services.tenants
    return replace(
        services,
        store=CityEntities(services.store, tenants.any),
        notifier=TenantNotifier(services.notifier, DEFAULT, tenants.ensure),
    )


def _own(services: NgsiServices, tenant: str) -> NgsiServices:
    tenants = services.tenants
    mapped: dict[str, Any] = {
        "store": TenantEntities(services.store, tenant),
        "write": tenants.writer(tenant, services.write),
        "contexts": tenants.contexts(tenant),
        "notifier": TenantNotifier(services.notifier, tenant, tenants.ensure),
        "sources": services.every_source.of(tenant),
        "history": TenantEvolution(services.history, tenant) if services.history else None,
    }
    return replace(services, **mapped)
