"""Client libraries that nobody here wrote drive the NGSI-LD interface: ngsildclient (PyPI) and ngsijs (npm), each in a
process of its own (ngsijs is AGPL: a peer of the tests, nothing that ships)."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from haechi.testing.platform import Platform

PEERS = Path(__file__).parents[1] / "peers" / "ngsi_ld"
PYTHON = Path(__file__).parents[2] / ".venv" / "peers" / "ngsi_ld" / "bin" / "python"


def test_two_foreign_clients_create_query_subscribe_and_look_back(
    platform: Platform, notified: tuple[str, list[dict[str, Any]]]
) -> None:
    uri, came = notified
    by_python(driven(platform, str(PYTHON), str(PEERS / "drive.py"), str(platform.http_port), uri))
    platform.wait_for(lambda: values(came, "NO2") == [55], 30, "ngsildclient's subscription did not notify once")
    by_node(driven(platform, "node", str(PEERS / "drive.cjs"), platform.url, uri))
    platform.wait_for(lambda: values(came, "temperature") == [25], 30, "ngsijs' subscription did not notify once")


def driven(platform: Platform, *command: str) -> dict[str, Any]:
    """What the client saw."""
    assert PYTHON.exists(), "make test installs the peers"
    environment = {**os.environ, "TOKEN": platform.token()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def values(came: list[dict[str, Any]], attribute: str) -> list[Any]:
    found = [one[attribute] for body in came for one in body["data"] if attribute in one]
    return [one["value"] for one in found]


def by_python(seen: dict[str, Any]) -> None:
    name = "urn:ngsi-ld:AirQualityObserved:py:{}".format
    temporal = seen.pop("temporal")
    assert seen == {
        "connected": True,
        "created": True,
        "read": 21,
        "exists": [True, False],
        "batch": True,
        "count": 5,
        "query": [name(3), name(4), name(5)],
        "types": True,
        "subscribed": True,
        "updated": True,
        "changed": 55,
        "unsubscribed": True,
        "deleted": True,
        "left": 4,
    }
    assert sorted(value for value, _ in temporal["NO2"]["values"]) == [21, 55]


def by_node(seen: dict[str, Any]) -> None:
    assert sorted(value for value, _ in seen.pop("temporal")) == [19, 25]
    types = seen.pop("types")
    assert "Room" in types["typeList"]
    assert seen == {
        "location": "/ngsi-ld/v1/entities/urn:ngsi-ld:Room:js:1",
        "again": "AlreadyExistsError",
        "read": 19,
        "query": 1,
        "subscription": True,
        "changed": 25,
        "humidity": 0.4,
        "gone": "NotFoundError",
    }
