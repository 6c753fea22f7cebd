"""The stores and registries of a run, opened. Used by the roles and by commands that look into a data folder."""

import secrets
from pathlib import Path

from haechi import registry
from haechi.app.city import domain_folders
from haechi.app.clock import clock_of
from haechi.app.settings import RunSettings
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.services.cities.city import Around
from haechi.services.cities.city import load_city as load
from haechi.services.cities.model import City
from haechi.services.ingest import account
from haechi.services.users import accounts, devices


def around() -> Around:
    """What a city package is checked against in this installation."""
    return Around(domain_folders(), registry.names("adapter"), registry.names("codec"))


def load_city(path: Path) -> City:
    """The city; `InvalidSettings` lists every mistake."""
    return load(path, around())


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
