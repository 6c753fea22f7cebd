"""Runs ETSI's NGSI-LD test suite, kept beside the project, against a platform of its own; prints what passed by area.

    git clone https://github.com/marek-mraz/ngsi-ld-test-suite SUITE      (commits: docs/reference/conformance.md)
    python3 -m venv SUITE/.venv && SUITE/.venv/bin/pip install -r SUITE/requirements.txt
    .venv/bin/python scripts/etsi_suite.py SUITE OUT [folder below TP/NGSI-LD]

`OUT/failures.txt` lists what failed: area, case, message. The MQTT cases want a broker on 127.0.0.1:1883 and 8085.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from haechi.testing.platform import Platform

TINY = Path(__file__).parents[1] / "tests" / "cities" / "tiny"
CONTEXTS = ("ngsi-ld-test-suite.jsonld", "ngsi-ld-test-suite-compound.jsonld")
# Where the cases say these lie. No network is asked: the city preloads them from the suite's own copies.
BASES = (
    "https://forge.etsi.org/rep/cim/ngsi-ld-test-suite/-/raw/develop/resources/jsonld-contexts/",
    "https://raw.githubusercontent.com/marek-mraz/ngsi-ld-test-suite/main/resources/jsonld-contexts/",
)
OTHERS = {
    "https://fiware.github.io/NGSI-LD_TestSuite/ldContext/testContext.jsonld": CONTEXTS[0],
    "https://fiware.github.io/data-models/context.jsonld": CONTEXTS[0],
    "https://easy-global-market.github.io/ngsild-api-data-models/ngsildTestSuite/ngsildTestSuiteV1.8-compound.jsonld": (
        CONTEXTS[1]
    ),
}
# A history answer of the suite's paging cases holds so many instances; everything else runs as cities run it.
OPTIONS = ("--temporal-instances", "30")
HOSTS = ("notification_server", "context_source", "context_server")
# The suite knows no accounts: every request its libraries make carries the token.
LOGIN = """import os, requests
made = requests.Session.__init__
def init(self, *args, **kwargs):
    made(self, *args, **kwargs)
    self.headers["Authorization"] = "Bearer " + os.environ["HAECHI_TOKEN"]
requests.Session.__init__ = init
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("--robot", type=Path, help="the suite's robot; default: SUITE/.venv/bin/robot")
    given = parser.parse_args()
    suite, out = given.suite.resolve(), given.out.resolve()
    robot = given.robot or suite / ".venv" / "bin" / "robot"
    with tempfile.TemporaryDirectory(prefix="etsi-") as work:
        run(suite, Path(work), out, [str(robot), "--outputdir", str(out)], Path("TP/NGSI-LD") / given.folder)
    summary(out)


def run(suite: Path, work: Path, out: Path, robot: list[str], cases: Path) -> None:
    """Robot over a copy of the suite that knows where the platform, and the suite's own servers, listen."""
    city, copy = (
        made_city(suite, work),
        Path(shutil.copytree(suite, work / "suite", ignore=shutil.ignore_patterns(".venv"))),
    )
    (work / "login").mkdir()
    (work / "login" / "sitecustomize.py").write_text(LOGIN)
    with Platform(city, work / "data", OPTIONS) as platform:
        for one in platform.request("GET", "/ngsi-ld/v1/entities?local=true&limit=1000"):
            platform.request("DELETE", f"/ngsi-ld/v1/entities/{one['id']}")  # cases count what there is
        point_at(copy / "resources" / "variables.py", platform.url, own_ports="MQTT" not in str(cases))
        path = f"{work / 'login'}:{copy / 'libraries'}"
        environment = {**os.environ, "PYTHONPATH": path, "HAECHI_TOKEN": platform.token()}
        command = [*robot, "--log", "NONE", "--report", "NONE", "--console", "dotted", str(copy / cases)]
        # Its exit code counts failures.
        subprocess.run(command, cwd=copy, env=environment, check=False)  # noqa: S603 - the suite the caller names


def made_city(suite: Path, work: Path) -> Path:
    """The small test city with the suite's contexts preloaded."""
    city = Path(shutil.copytree(TINY, work / "city"))
    (city / "contexts").mkdir()
    for name in CONTEXTS:
        shutil.copy(suite / "resources" / "jsonld-contexts" / name, city / "contexts" / name)
    urls = {base + name: name for base in BASES for name in CONTEXTS} | OTHERS
    text = "".join(f'\n[[context]]\nurl = "{url}"\nfile = "contexts/{name}"\n' for url, name in urls.items())
    with (city / "city.toml").open("a") as file:
        file.write(text)
    return city


def point_at(variables: Path, url: str, own_ports: bool) -> None:
    """Writes addresses into the suite's variables; MQTT cases keep their ports, which they hold in two places."""
    text = variables.read_text()
    text = re.sub(r"^(url|temporal_api_url) = .*$", rf"\1 = '{url}/ngsi-ld/v1'", text, flags=re.M)
    for name in (*HOSTS, "mqtt_broker"):
        text = re.sub(rf"^{name}_host = .*$", f"{name}_host = '127.0.0.1'", text, flags=re.M)
    for name in HOSTS if own_ports else ():
        text = re.sub(rf"^{name}_port = .*$", f"{name}_port = {free_port()}", text, flags=re.M)
    variables.write_text(text)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def summary(out: Path) -> None:
    """Passed and all cases of each area, as rows of Markdown; the failures beside the output."""
    passed, total, failures = Counter[str](), Counter[str](), list[str]()
    root = ElementTree.parse(out / "output.xml").getroot().find("suite")  # noqa: S314 - our own run wrote it
    assert root is not None
    for area, case in cases_of(root, []):
        status = case.find("status")
        assert status is not None
        total[area] += 1
        passed[area] += status.get("status") == "PASS"
        if status.get("status") != "PASS":
            failures.append("\t".join((area, case.get("name", ""), " ".join((status.text or "").split())[:160])))
    for area in sorted(total):
        print(f"| {area} | {passed[area]} | {total[area]} |")
    print(f"| **all** | **{passed.total()}** | **{total.total()}** |")
    (out / "failures.txt").write_text("\n".join(failures) + "\n")


def cases_of(suite: ElementTree.Element, above: list[str]) -> list[tuple[str, ElementTree.Element]]:
    """Each case with its area: the two folders below the suite's root."""
    here = [*above, suite.get("name", "")]
    found = [("/".join(here[1:3]), one) for one in suite.findall("test")]
    return found + [one for inner in suite.findall("suite") for one in cases_of(inner, here)]


if __name__ == "__main__":
    main()
