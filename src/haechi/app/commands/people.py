"""`haechi device`, `haechi user` and `haechi token`: who may connect, who may work, which programs may look."""

import argparse
import asyncio
import json
import os
import secrets
from pathlib import Path

import msgspec

from haechi.app.clock import clock_of
from haechi.app.parts import device_registry_in, load_city, service_tokens_in
from haechi.core.errors import InvalidSettings
from haechi.core.times import format_iso
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.services.users import accounts


def device_issue(arguments: argparse.Namespace) -> int:
    """Makes secrets for devices of the city and shows them once: JSON {device: {link: secret}}. A file that holds
    others keeps them."""
    city = load_city(arguments.city)
    registry = device_registry_in(arguments.data)
    chosen = set(arguments.devices)
    pairs = sorted({(one.device, one.link) for one in city.devices if not chosen or one.device in chosen})
    missing = chosen - {device for device, _ in pairs}
    if missing:
        print(f"haechi: not in devices.csv of {city.id}: {', '.join(sorted(missing))}")
        return 2
    if not chosen:
        pairs = [pair for pair in pairs if not registry.knows(*pair)]
    if not pairs:
        print("every device of the city has a secret; name a device to give it a new one")
        return 0
    made = _written(arguments.out) if arguments.out else {}

    def tell(secrets: list[str]) -> None:
        for (device, link), secret in zip(pairs, secrets, strict=True):
            made.setdefault(device, {})[link] = secret
        if arguments.out:
            _write_private(arguments.out, json.dumps(made, indent=1))
            print(f"{len(pairs)} secrets written to {arguments.out}; they cannot be shown again")
        else:
            print(json.dumps(made, indent=1))

    registry.issue_all(pairs, tell)
    return 0


def _written(file: Path) -> dict[str, dict[str, str]]:
    """The secrets a file holds already."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, str]])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise InvalidSettings(f"{file} does not hold secrets of devices ({error}); give another --out") from error


def _write_private(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(file.name + ".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    except OSError as error:
        raise InvalidSettings(f"{file} cannot be written ({error.strerror}); give another --out") from error


def device_list(arguments: argparse.Namespace) -> int:
    """One line per registered device."""
    for one in device_registry_in(arguments.data).all():
        print(f"{one.id:<28} {'enabled ' if one.enabled else 'disabled'} {', '.join(sorted(one.secrets))}")
    return 0


def device_disable(arguments: argparse.Namespace) -> int:
    """Shuts a device out from its next connection on."""
    device_registry_in(arguments.data).set_enabled(arguments.device, enabled=False)
    return 0


def device_enable(arguments: argparse.Namespace) -> int:
    """Lets a device in again with the secret it has."""
    device_registry_in(arguments.data).set_enabled(arguments.device, enabled=True)
    return 0


def _accounts(data: Path) -> accounts.Accounts:
    store = SqliteRecords(data / "users.db", accounts.COLLECTIONS)
    return accounts.Accounts(store, clock_of(None), lambda: secrets.token_urlsafe(32))


def user_add(arguments: argparse.Namespace) -> int:
    """Adds a person and prints the password, this once."""
    password = secrets.token_urlsafe(18)
    asyncio.run(_accounts(arguments.data).add(arguments.user, password, arguments.role, arguments.name))
    print(f"user {arguments.user}, role {arguments.role}, password {password}  (shown this once)")
    return 0


def user_list(arguments: argparse.Namespace) -> int:
    """One line per person."""
    for one in asyncio.run(_accounts(arguments.data).users()):
        print(f"{one['user']:<20} {one['role']:<12} {one['name']}")
    return 0


def user_password(arguments: argparse.Namespace) -> int:
    """Gives a person a new password and prints it, this once."""
    password = secrets.token_urlsafe(18)
    asyncio.run(_accounts(arguments.data).set_password(arguments.user, password))
    print(f"user {arguments.user}, new password {password}  (shown this once)")
    return 0


def token_create(arguments: argparse.Namespace) -> int:
    """Makes a token for a program and prints it, this once, or writes it to a file readable by you alone."""
    token = service_tokens_in(arguments.data).create(arguments.name, arguments.scope, arguments.days)
    if arguments.out:
        _write_private(arguments.out, token)
        print(f"token {arguments.name}, scope {arguments.scope}: written to {arguments.out}; it cannot be shown again")
    else:
        print(f"token {arguments.name}, scope {arguments.scope}: {token}  (shown this once)")
    return 0


def token_list(arguments: argparse.Namespace) -> int:
    """One line per token."""
    for one in service_tokens_in(arguments.data).all():
        print(f"{one['name']:<24} {one['scope']:<10} ends {format_iso(one['expires_at'])}")
    return 0


def token_revoke(arguments: argparse.Namespace) -> int:
    """Ends a token at once."""
    service_tokens_in(arguments.data).revoke(arguments.name)
    print(f"token {arguments.name} revoked")
    return 0
