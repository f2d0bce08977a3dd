"""The documents: generated parts as they are today, lengths, links, and every variable of the environment named."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from orchestration.cli.documents import FOLDERS, PARTS, described_settings, documents, generate, settings
from orchestration.home.settings import DBT_PROJECT, PROJECT_FOLDER, Settings

WRITTEN = [
    PROJECT_FOLDER / "README.md",
    *(file for folder in FOLDERS for file in sorted((PROJECT_FOLDER / folder).rglob("*.md"))),
]
NAMES = re.compile(r"<!-- generated: (\w+) -->")
OLD_WORDS = re.compile(r"(?<![^\W_])(told|tells|doors?|anew)(?![^\W_])")


def named(file: Path) -> str:
    return str(file.relative_to(PROJECT_FOLDER))


def test_every_generated_part_is_as_it_is_today():
    stale = [named(file) for file in documents() if generate(file.read_text()) != file.read_text()]
    assert not stale, f"{stale}: run `make docs`"


def test_every_part_stands_in_one_document():
    assert sorted(name for file in documents() for name in NAMES.findall(file.read_text())) == sorted(PARTS)


def test_a_part_that_nothing_is_made_for_is_named():
    with pytest.raises(KeyError, match=r"'prices'.*contract, tables"):
        generate("<!-- generated: prices -->\n<!-- /generated -->")


def test_text_that_people_write_stays():
    text = "# Title\n\nbefore\n\n<!-- generated: exceptions -->\nout of date\n<!-- /generated -->\n\nafter\n"
    made = generate(text)
    assert made.startswith("# Title\n\nbefore\n\n")
    assert made.endswith("\n\nafter\n")
    assert "out of date" not in made


def test_every_variable_that_code_reads_is_described():
    sources = [
        *(file for folder in ("orchestration", "ml", "serving") for file in (PROJECT_FOLDER / folder).rglob("*.py")),
        *(PROJECT_FOLDER / "dbt_project").glob("*.yml"),
        *(PROJECT_FOLDER / "dbt_project" / "macros").glob("*.sql"),
    ]
    read = {name for file in sources for name in re.findall(r"\bINVENTORYBOT_[A-Z_]*[A-Z]\b", file.read_text())}
    assert read - set(re.findall(r"\w+", settings())) == set()


def test_the_default_of_a_setting_is_described_as_it_is():
    defaults = {field.name: field.default for field in fields(Settings)}
    described = {
        name.removeprefix("INVENTORYBOT_").lower(): default
        for name, _, default in described_settings()
        if defaults.get(name.removeprefix("INVENTORYBOT_").lower()) is not None
    }
    shown = {name: str(defaults[name]) for name in described if isinstance(defaults[name], str | int | float)}
    assert len(shown) >= 6
    assert shown == {name: described[name] for name in shown}


def test_the_readme_is_short():
    assert (PROJECT_FOLDER / "README.md").stat().st_size <= 6_000


@pytest.mark.parametrize("file", [file for file in WRITTEN if not NAMES.search(file.read_text())], ids=named)
def test_a_document_is_short(file):
    assert file.stat().st_size <= 8_000


@pytest.mark.parametrize("file", WRITTEN, ids=named)
def test_a_link_leads_somewhere(file):
    links = re.findall(r"\]\(([^)#:]+)\)", file.read_text())
    assert [link for link in links if not (file.parent / link).exists()] == []


@pytest.mark.parametrize("file", [*WRITTEN, *(DBT_PROJECT / "models").rglob("*.yml")], ids=named)
def test_a_document_is_in_plain_english(file):
    assert OLD_WORDS.findall(file.read_text()) == []
