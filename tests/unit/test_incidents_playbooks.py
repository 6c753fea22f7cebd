"""Playbooks from Markdown: three languages become one procedure, and every mistake is named with its line."""

from pathlib import Path

import pytest

from haechi.core.errors import InvalidSettings
from haechi.services.incidents import load_playbooks, problems

GOOD = """\
+++
name = "관 파손"
version = "2"
+++
말.

## 판단 {#assess}
1. [ ] 비교한다 {#compare}
2. [ ] CCTV {#cctv optional}

## 조치 {#handle}
- [ ] 잠근다 {#isolate}
   시설 카드를 본다.

말.
"""


def write(folder: Path, **changed: str) -> Path:
    for language in ("ko", "zh", "en"):
        text = changed.get(language, GOOD.replace("비교한다", f"compare-{language}"))
        if text:
            (folder / f"burst.{language}.md").write_text(text, "utf-8")
    return folder


def test_steps_are_merged_by_their_id(tmp_path: Path) -> None:
    book = load_playbooks([write(tmp_path)])["burst"]
    assert [(one.id, one.phase, one.mandatory) for one in book.steps] == [
        ("compare", "assess", True),
        ("cctv", "assess", False),
        ("isolate", "handle", True),
    ]
    assert book.steps[0].text == {"ko": "compare-ko", "zh": "compare-zh", "en": "compare-en"}
    assert book.steps[2].text["ko"] == "잠근다 시설 카드를 본다."
    assert (book.name["ko"], book.version) == ("관 파손", "2")


def test_the_citys_playbook_wins_over_the_domains(tmp_path: Path) -> None:
    for name in ("domain", "city"):
        (tmp_path / name).mkdir()
    write(tmp_path / "domain")
    write(tmp_path / "city", **dict.fromkeys(("ko", "zh", "en"), GOOD.replace("관 파손", "다른")))
    assert load_playbooks([tmp_path / "domain", tmp_path / "city"])["burst"].name["en"] == "다른"


@pytest.mark.parametrize(
    ("language", "text", "line", "what"),
    [
        ("zh", "", 0, "not there in zh"),
        ("zh", GOOD.replace("+++\nname", "name"), 1, "front matter"),
        ("zh", GOOD.replace('"관 파손"', "관"), 2, "TOML"),
        ("zh", GOOD.replace("name", "title"), 2, "no name"),
        ("zh", GOOD.replace("{#assess}", "{#think}"), 7, "'think'"),
        ("zh", GOOD.replace(" {#compare}", ""), 8, "no id"),
        ("zh", GOOD.replace("{#cctv optional}", "{#compare}"), 9, "twice"),
        ("zh", GOOD.replace("optional", "perhaps"), 9, "'perhaps'"),
        ("zh", GOOD.replace("[ ]", ""), 0, "no step"),
        ("zh", GOOD.replace("#isolate", "#shut"), 0, "'isolate'"),
        ("zh", GOOD.replace(" optional", ""), 9, "differs"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, language: str, text: str, line: int, what: str) -> None:
    found = problems(write(tmp_path, **{language: text}))
    first = next((one for one in found if what in one.what), None)
    assert first is not None, [str(one) for one in found]
    assert (first.line, first.file) == (line, str(tmp_path / f"burst.{language}.md"))
    assert first.mend


def test_a_file_name_without_a_language_is_named(tmp_path: Path) -> None:
    (tmp_path / "burst.md").write_text(GOOD, "utf-8")
    assert "language" in problems(tmp_path)[0].what


def test_loading_refuses_with_every_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="not there in zh"):
        load_playbooks([write(tmp_path, zh="")])


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert load_playbooks([tmp_path / "nothing"]) == {}
