"""Runs ETSI's NGSI-LD test suite, kept beside the project, against a platform of its own; prints what passed by area.

    git clone https://github.com/marek-mraz/ngsi-ld-test-suite SUITE      (commits: docs/reference/conformance.md)
    python3 -m venv SUITE/.venv && SUITE/.venv/bin/pip install -r SUITE/requirements.txt
    .venv/bin/python scripts/etsi_suite.py SUITE OUT [folder below TP/NGSI-LD]

It ends with Markdown: figures by area, then every failing case with its message (also OUT/report.md, beside the
platform.log). The MQTT cases want a broker on 127.0.0.1:1883 and 8085. Several runs at once have ports, folders and
topics of their own.
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from haechi.app.supervisor import free_port
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
    "http://smartdatamodels.org/context.jsonld": CONTEXTS[0],
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
# What the cases of one file leave behind must not decide those of the next: many take for granted that they are alone.
SWEEP = """import os, requests
ROBOT_LISTENER_API_VERSION = 3
KINDS = ("csourceRegistrations?idPattern=.*", "csourceSubscriptions?", "subscriptions?", "entities?local=true")
def end_suite(data, result):
    if data.suites:
        return
    session, root = requests.Session(), os.environ["HAECHI_URL"]
    for kind in KINDS:
        left = session.get(f"{root}/{kind}&limit=1000")
        left.raise_for_status()
        path, query = kind.split("?")
        for one in left.json():
            session.delete(f"{root}/{path}/{one['id']}", params="local=true" if path == "entities" else None)
def close():
    os._exit(0)  # all is written; a mock server that a failed case left would keep robot for ever
"""


def main() -> None:
    suite, out, folder, robot = asked(__doc__)
    with tempfile.TemporaryDirectory(prefix="etsi-") as work:
        run(suite, Path(work), out, robot, Path("TP/NGSI-LD") / folder)
    publish(out)


def asked(description: str | None) -> tuple[Path, Path, str, list[str]]:
    """The suite, where its output goes, which folder of cases (empty: all), and how robot is called."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("--robot", type=Path, help="the suite's robot; default: SUITE/.venv/bin/robot")
    given = parser.parse_args()
    suite, out = given.suite.resolve(), given.out.resolve()
    robot = given.robot or suite / ".venv" / "bin" / "robot"
    return suite, out, given.folder, [str(robot), "--outputdir", str(out)]


def publish(out: Path) -> None:
    """Prints the report and keeps it beside robot's output."""
    text = report(out)
    (out / "report.md").write_text(text)
    print(text)


def run(suite: Path, work: Path, out: Path, robot: list[str], cases: Path) -> None:
    """Robot over a copy of the suite that knows where the platform, and the suite's own servers, listen."""
    city, copy = (
        made_city(suite, work),
        Path(shutil.copytree(suite, work / "suite", ignore=shutil.ignore_patterns(".venv"))),
    )
    (work / "login").mkdir()
    (work / "login" / "sitecustomize.py").write_text(LOGIN)
    (work / "login" / "sweep.py").write_text(SWEEP)
    with Platform(city, work / "data", OPTIONS) as platform:
        for one in platform.request("GET", "/ngsi-ld/v1/entities?local=true&limit=1000"):
            platform.request("DELETE", f"/ngsi-ld/v1/entities/{one['id']}")  # cases count what there is
        point_at(copy, platform.url)
        path = f"{work / 'login'}:{copy / 'libraries'}"
        root = f"{platform.url}/ngsi-ld/v1"
        environment = {**os.environ, "PYTHONPATH": path, "HAECHI_TOKEN": platform.token(), "HAECHI_URL": root}
        command = [*robot, "--log", "NONE", "--report", "NONE", "--console", "dotted", "--listener", "sweep"]
        # Its exit code counts failures.
        subprocess.run([*command, str(copy / cases)], cwd=copy, env=environment, check=False)  # noqa: S603 - the suite the caller names
    shutil.copy(work / "data" / "platform.log", out)


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


def point_at(copy: Path, url: str) -> None:
    """Writes addresses into the copy: its variables, and cases that hold the broker's address or a topic themselves."""
    variables = copy / "resources" / "variables.py"
    text = variables.read_text()
    text = re.sub(r"^(url|temporal_api_url) = .*$", rf"\1 = '{url}/ngsi-ld/v1'", text, flags=re.M)
    for name in (*HOSTS, "mqtt_broker"):
        text = re.sub(rf"^{name}_host = .*$", f"{name}_host = '127.0.0.1'", text, flags=re.M)
    ports: set[int] = set()
    while len(ports) < len(HOSTS):
        ports.add(free_port())
    for name, port in zip(HOSTS, ports, strict=True):
        text = re.sub(rf"^{name}_port = .*$", f"{name}_port = {port}", text, flags=re.M)
    variables.write_text(text)
    for case in (copy / "TP").rglob("*.robot"):
        text = case.read_text()
        pointed = text.replace("http://localhost:9090", url)
        pointed = re.sub(r"^(\$\{topic\} +)(\S+)$", rf"\1\2-{os.getpid()}", pointed, flags=re.M)
        if pointed != text:
            case.write_text(pointed)


def report(out: Path) -> str:
    """Two tables of Markdown: passed and all cases of each area; each failing case with what robot says of it."""
    passed, total, failures = Counter[str](), Counter[str](), list[str]()
    root = ElementTree.parse(out / "output.xml").getroot().find("suite")  # noqa: S314 - our own run wrote it
    assert root is not None
    for area, case in cases_of(root):
        status = case.find("status")
        assert status is not None
        total[area] += 1
        passed[area] += status.get("status") == "PASS"
        if status.get("status") != "PASS":
            message = " ".join((status.text or "").split())[:160].replace("|", "\\|")
            failures.append(f"| {area} | {case.get('name', '')} | {message} |")
    figures = [f"| {area} | {passed[area]} | {total[area]} |" for area in sorted(total)]
    figures.append(f"| **all** | **{passed.total()}** | **{total.total()}** |")
    lines = ["| area | passed | cases |", "| --- | --- | --- |", *figures]
    return "\n".join([*lines, "", "| area | fails | message |", "| --- | --- | --- |", *sorted(failures)]) + "\n"


def cases_of(suite: ElementTree.Element) -> list[tuple[str, ElementTree.Element]]:
    """Each case with its area: the two folders below TP/NGSI-LD that its file lies in, whichever folder was run."""
    folders = Path(suite.get("source", "")).parts
    found = []
    for one in suite.findall("test"):
        below = folders[folders.index("NGSI-LD") + 1 : -1]
        found.append(("/".join(below[:2]), one))
    return found + [one for inner in suite.findall("suite") for one in cases_of(inner)]


if __name__ == "__main__":
    main()
