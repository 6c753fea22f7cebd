"""The device registry: secrets issued once, checked by the gateway, changed by another process while it runs."""

import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from haechi.core.errors import InvalidData, NotFound
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.services.users.devices import COLLECTIONS, Devices


@pytest.fixture
def devices(tmp_path: Path) -> Devices:
    numbers = count()
    file = tmp_path / "devices.db"
    return Devices(SqliteRecords(file, COLLECTIONS), file, lambda: f"secret-{next(numbers)}")


def test_only_the_issued_secret_on_its_own_link_is_let_in(devices: Devices) -> None:
    secret = devices.issue("P-017", "water-mqtt")
    assert devices.verify("P-017", secret, "water-mqtt")
    assert not devices.verify("P-017", secret, "air-mqtt")
    assert not devices.verify("P-017", secret + "x", "water-mqtt")
    assert not devices.verify("P-018", secret, "water-mqtt")
    assert not devices.verify("P-017", "", "water-mqtt")


def test_a_second_secret_ends_the_first_and_leaves_other_links_alone(devices: Devices) -> None:
    old = devices.issue("P-017", "water-mqtt")
    other = devices.issue("P-017", "backup")
    new = devices.issue("P-017", "water-mqtt")
    assert not devices.verify("P-017", old, "water-mqtt")
    assert devices.verify("P-017", new, "water-mqtt") and devices.verify("P-017", other, "backup")


def test_a_protocol_without_secrets_knows_the_device_but_never_verifies_it(devices: Devices) -> None:
    devices.allow([("MN88", "air-hj212")])
    assert devices.knows("MN88", "air-hj212") and not devices.knows("MN88", "water-mqtt")
    assert not devices.verify("MN88", "", "air-hj212")


def test_a_disabled_device_is_shut_out_until_it_is_enabled(devices: Devices) -> None:
    secret = devices.issue("P-017", "water-mqtt")
    devices.set_enabled("P-017", False)
    assert not devices.verify("P-017", secret, "water-mqtt") and not devices.knows("P-017", "water-mqtt")
    devices.set_enabled("P-017", True)
    assert devices.verify("P-017", secret, "water-mqtt")


def test_secrets_do_not_lie_in_the_file(devices: Devices, tmp_path: Path) -> None:
    secret = devices.issue("P-017", "water-mqtt")
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_many_devices_are_issued_in_one_commit_in_the_order_asked(devices: Devices) -> None:
    wanted = [(f"P-{number:05}", "water-mqtt") for number in range(12_000)]
    secrets = devices.issue_all(wanted)
    assert len(set(secrets)) == 12_000 and len(devices.all()) == 12_000
    assert devices.verify("P-11999", secrets[-1], "water-mqtt")


def test_a_device_without_a_name_and_an_unknown_one_are_refused(devices: Devices) -> None:
    with pytest.raises(InvalidData, match="name both"):
        devices.issue("", "water-mqtt")
    with pytest.raises(NotFound, match="haechi device list"):
        devices.set_enabled("P-999", False)


WRITER = """
import sys
from pathlib import Path
from haechi.plugins.stores.sqlite.records import SqliteRecords
from haechi.services.users.devices import COLLECTIONS, Devices
file = Path(sys.argv[1])
print(Devices(SqliteRecords(file, COLLECTIONS), file, lambda: "from-the-command-line").issue("P-017", "water-mqtt"))
"""


def test_the_gateway_sees_what_another_process_issued(devices: Devices, tmp_path: Path) -> None:
    assert not devices.knows("P-017", "water-mqtt")
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path / "devices.db")], capture_output=True, text=True, check=True
    )
    assert devices.verify("P-017", done.stdout.strip(), "water-mqtt")
