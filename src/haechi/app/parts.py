"""The stores and registries of a run, opened. Used by the roles and by commands that look into a data folder."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from haechi import registry
from haechi.app.city import carries_commands, domain_folders
from haechi.app.clock import clock_of
from haechi.app.settings import RunSettings
from haechi.core import entity as stored
from haechi.plugins.stores.iceberg.settings import HistorySettings
from haechi.plugins.stores.sqlite.entities import SqliteEntities
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.ports import EntityStore, HistoryFiles, HistoryStore, RecordStore
from haechi.services import commands, incidents, watch
from haechi.services.cities import Around
from haechi.services.cities.city import load_city as load
from haechi.services.cities.model import City
from haechi.services.ingest import account
from haechi.services.ngsi_ld import contexts, snapshots
from haechi.services.registrations import registry as registrations
from haechi.services.subscriptions import book
from haechi.services.tenants import known
from haechi.services.users import accounts, devices, tokens
from haechi.services.watch.described import Described, from_document, from_urn
from haechi.services.watch.parse import city_rules
from haechi.services.watch.rules import Rule


def around() -> Around:
    """What a city package is checked against in this installation."""
    return Around(
        domain_folders(),
        registry.names("adapter"),
        registry.names("codec"),
        settings_fault=registry.settings_fault,
        rule_problems=watch.problems,
        playbook_problems=incidents.problems,
        rules=watch.load_rules,
        carriers={name: how for name in registry.names("adapter") if (how := carries_commands(name))},
    )


_kept: dict[Path, City] = {}


def load_city(path: Path) -> City:
    """The city; `InvalidSettings` lists every mistake."""
    return _kept.get(path) or load(path, around())


def keep_city(path: Path, city: City) -> None:
    """For the roles that this process becomes: they need not read the package again."""
    _kept[path] = city


def account_store(data: Path, *, read_only: bool = True) -> SqliteRecords:
    """Accounts and quarantine; written by the pipeline alone."""
    return SqliteRecords(data / "account.db", account.COLLECTIONS, read_only=read_only)


def device_registry(settings: RunSettings) -> devices.Devices:
    """The devices' secrets; written by `haechi device`, read by the gateway."""
    return device_registry_in(settings.folder)


def device_registry_in(data: Path) -> devices.Devices:
    """As `device_registry`, for a data folder in which nothing has run yet."""
    file = data / "devices.db"
    return devices.Devices(SqliteRecords(file, devices.COLLECTIONS), file, lambda: secrets.token_urlsafe(24))


def user_accounts(settings: RunSettings) -> accounts.Accounts:
    """People and their sessions; written by the api role and `haechi user`."""
    store = SqliteRecords(settings.folder / "users.db", accounts.COLLECTIONS)
    return accounts.Accounts(store, clock_of(None), lambda: secrets.token_urlsafe(32))


def service_tokens(settings: RunSettings) -> tokens.Tokens:
    """Tokens of programs, beside the people; written by `haechi token`."""
    return service_tokens_in(settings.folder)


def service_tokens_in(data: Path) -> tokens.Tokens:
    """As `service_tokens`, for a data folder in which nothing has run yet."""
    store = SqliteRecords(data / "users.db", accounts.COLLECTIONS)
    return tokens.Tokens(store, clock_of(None), lambda: secrets.token_urlsafe(32))


def entity_store(settings: RunSettings, *, read_only: bool = False) -> SqliteEntities:
    """The live model; written by the pipeline alone."""
    return SqliteEntities(settings.folder / "context.db", read_only=read_only)


def history_settings(settings: RunSettings) -> HistorySettings:
    """What a run says of history."""
    return HistorySettings(retention_days=settings.retention_days)


def history_store(settings: RunSettings) -> HistoryStore:
    """The table of history, for its one writer."""
    from haechi.plugins.stores.iceberg.store import IcebergStore  # noqa: PLC0415 - pyiceberg is heavy: the writer alone

    return IcebergStore(settings.folder / "history", history_settings(settings))


def history_files(settings: RunSettings) -> HistoryFiles:
    """The committed files of history, for any number of readers."""
    from haechi.plugins.stores.iceberg.reader import IcebergFiles  # noqa: PLC0415 - the gateway does without DuckDB

    return IcebergFiles(settings.folder / "history", history_settings(settings))


def alarm_store(settings: RunSettings, *, read_only: bool = False) -> RecordStore:
    """Alarms, their transitions and what rules remember; written by the pipeline alone."""
    return SqliteRecords(settings.folder / "watch.db", watch.COLLECTIONS, read_only=read_only)


def incident_store(settings: RunSettings, *, read_only: bool = False) -> RecordStore:
    """Incidents and which alarms they hold; written by the pipeline alone."""
    return SqliteRecords(settings.folder / "incidents.db", incidents.COLLECTIONS, read_only=read_only)


def context_store(settings: RunSettings) -> RecordStore:
    """The @contexts stored here; written by the api role."""
    return SqliteRecords(settings.folder / "jsonld.db", contexts.COLLECTIONS)


def registration_store(settings: RunSettings) -> RecordStore:
    """Context source registrations and who watches them; written by the api role."""
    return SqliteRecords(settings.folder / "registrations.db", registrations.COLLECTIONS)


def subscription_store(settings: RunSettings) -> RecordStore:
    """NGSI-LD subscriptions; written by the api role, looked into by the pipeline."""
    return SqliteRecords(settings.folder / "subscriptions.db", book.COLLECTIONS)


def tenant_store(settings: RunSettings) -> RecordStore:
    """Which tenants there are; written by the api role."""
    return SqliteRecords(settings.folder / "tenants.db", known.COLLECTIONS)


def ends_store(settings: RunSettings) -> RecordStore:
    """Which entities have something that ends, and when; written by the api role."""
    return SqliteRecords(settings.folder / "ends.db", {"ends": ()})


def snapshot_store(settings: RunSettings) -> RecordStore:
    """Which snapshots there are; written by the api role. Their entities lie beside it, a file each."""
    return SqliteRecords(settings.folder / "snapshots.db", snapshots.COLLECTIONS)


def command_store(settings: RunSettings, *, read_only: bool = False) -> RecordStore:
    """Setpoints and their steps; written by the pipeline alone."""
    return SqliteRecords(settings.folder / "commands.db", commands.COLLECTIONS, read_only=read_only)


def current_value(store: EntityStore) -> Callable[[str, str], Any]:
    """The value of an attribute of an entity in the live model, None when there is none."""

    def value(entity: str, attribute: str) -> Any:
        document = store.load([entity]).get(entity)
        return None if document is None else stored.value(orjson.loads(document), attribute)

    return value


def load_playbooks(city: City) -> dict[str, incidents.Playbook]:
    """The playbooks of the domains, then the city's own."""
    folders = [domain.folder / "playbooks" for domain in city.domains.values()]
    return incidents.load_playbooks([*folders, city.folder / "playbooks"])


def load_rules(city: City) -> list[Rule]:
    """The rules in force: those of the domains, then the city's own."""
    folders = [(domain.folder / "rules", domain.id) for domain in city.domains.values()]
    return city_rules([*folders, (city.folder / "rules", "")], city.time_zone)


def describe(store: EntityStore, city: City) -> Callable[[str], Described]:
    """What watch asks about an entity, from the live model; scopes are called what the city's locales call them."""
    named = {language: texts.get("scopes", {}) for language, texts in city.texts.items()}

    def described(entity: str) -> Described:
        document = store.load([entity]).get(entity)
        if document is None:
            return from_urn(entity)
        found = from_document(orjson.loads(document))
        scope = next(iter(found.scope), "")
        if "address" in found.values or not all(scope in names for names in named.values()):
            return found
        return replace(found, place={language: names[scope] for language, names in named.items()})

    return described
