"""Settings of an OPC UA link: what is refused, by which name; asyncua is asked for only then."""

import subprocess
import sys
import tomllib
from typing import Any

import pytest

from haechi import registry
from haechi.core.errors import InvalidSettings
from haechi.plugins.adapters.opcua import settings as module
from haechi.plugins.adapters.opcua.settings import read

NODE = {"node": "ns=2;s=Pressure", "field": "pressure"}
GOOD: dict[str, Any] = {"anonymous": True, "device": [{"id": "S-1"}], "node": [NODE]}


def test_what_the_sample_says_is_read() -> None:
    sample = tomllib.loads((registry.folder("adapter", "opcua") / "sample.toml").read_text("utf-8"))
    found = read(sample["settings"])
    nodes = found.nodes("SERVER-1")
    assert [(one.node, one.channel) for one in nodes if one.field == "level"] == [
        ("ns=2;s=TANK-1.Level", "TANK-1"),
        ("ns=2;s=TANK-2.Level", "TANK-2"),
    ]
    server = found.server(found.device[0])
    assert (server.url, server.security, server.user) == ("opc.tcp://127.0.0.1:4840/", "Basic256Sha256", "haechi")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"anonymous": False}, "device.0.user: give user and password_file, or say anonymous"),
        ({"user": "u", "password_file": "p"}, "not both"),
        ({"anonymous": False, "user": "u"}, "password_file: name a file"),
        ({"anonymous": False, "user": "u", "password_file": "p", "security": "None"}, 'security: "None" would show'),
        ({"security": "Basic128Rsa15"}, "security"),
        ({"security": ""}, "security"),
        ({"mode": "none"}, "mode"),
        ({"publishing_ms": 0}, "publishing_ms"),
        ({"queue": 0}, "queue"),
        ({"device": [{"id": "S-1", "url": "http://x:1/"}]}, "device.0.url"),
        ({"device": [{"id": "S-1", "url": "opc.tcp://me:geheim@x:1/"}]}, "no user in it"),
        ({"device": [{"id": "S-1"}, {"id": "S-1"}]}, "device.1.id"),
        ({"device": [{"id": "../S"}]}, "has a slash"),
        ({"device": [{"id": "S-1", "certificate_sha256": "abc"}]}, "certificate_sha256"),
        ({"device": [{"id": "S-1", "pasword_file": "p"}]}, "device.0.pasword_file"),
        ({"node": []}, r"no \[\[settings.node\]\] is for 'S-1'"),
        ({"node": [{**NODE, "node": "Pressure"}]}, "node.0.node"),
        ({"node": [{**NODE, "node": "ns=x;s=P"}]}, "node.0.node"),
        ({"node": [{**NODE, "field": ""}]}, "node.0.field"),
        ({"node": [{**NODE, "channels": ["a"]}]}, "node.0.channels"),
        ({"node": [{**NODE, "node": "ns=2;s={channel}"}]}, "node.0.channels"),
        ({"node": [NODE, NODE]}, "twice"),
        ({"node": [{**NODE, "deadbnd": 1.0}]}, "node.0.deadbnd"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_the_mend(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSettings, match=named) as refused:
        read({**GOOD, **changes})
    assert "geheim" not in str(refused.value), "what might be a password is not repeated"


def test_without_asyncua_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(InvalidSettings, match=r"pip install 'haechi\[opcua\]'"):
        read(GOOD)


def test_nothing_imports_asyncua_before_a_link_starts() -> None:
    code = (
        "import sys\n"
        "from haechi import registry\n"
        "registry.create('adapter', 'opcua'); registry.create('codec', 'opcua')({})\n"
        f"assert registry.settings_fault('adapter', 'opcua', {GOOD!r}) == ''\n"
        "assert not {'asyncua', 'cryptography'} & {one.partition('.')[0] for one in sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
