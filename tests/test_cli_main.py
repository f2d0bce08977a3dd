"""The command: options, help, messages; jobs themselves are in test_cli_runs."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from orchestration.cli.main import cli
from orchestration.ingest.contract import load_contract


def inventorybot(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_the_list_of_commands_says_of_each_what_it_does_in_a_line() -> None:
    width = 80 - len("  quarantine  ") - 2
    cut = [path for path, command in commands(cli) if command.get_short_help_str(width).endswith("...")]
    assert cut == []


OPTIONS = {
    f"{' '.join(path)} {option.opts[0]}": option
    for path, command in commands(cli)
    for option in command.params
    if isinstance(option, click.Option) and not option.hidden
}
NOT_FIRST = {"At", "Between", "For", "Of", "On", "Only", "So", "To", "Who", "Whom", "Why", "With"}
NUMBERS = {"integer", "float", "integer range", "float range"}
UNITS = r"(?i)\b(seconds|days|messages|number|percent|money|port|level)\b"


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_the_help_of_an_option_is_a_sentence_that_starts_with_a_verb_or_a_noun(option: click.Option) -> None:
    assert re.fullmatch(r"[A-Z].*[.]", option.help or "")
    assert (option.help or "").split()[0].rstrip(",;") not in NOT_FIRST


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_the_help_of_an_option_names_its_default(option: click.Option) -> None:
    needs_none = option.required or option.multiple or option.is_flag or option.show_default
    assert needs_none or "default" in (option.help or "")


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.type.name in NUMBERS])
def test_the_help_of_a_number_names_its_unit(name: str) -> None:
    assert re.search(UNITS, OPTIONS[name].help or "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--as-of", "yesterday"),
        ("backfill", "yesterday"),
        ("reproduce", "--as-of", "yesterday"),
        ("policy", "list", "--day", "yesterday"),
    ],
)
def test_a_day_that_is_none_is_told_with_the_way_to_write_it(home_folder: Path, arguments: tuple[str, ...]) -> None:
    result = inventorybot(*arguments)
    assert result.exit_code == 2
    assert "'yesterday' is not a day; write it as 2011-12-08" in result.output


def test_a_landing_folder_that_is_not_there_is_named(home_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORYBOT_LANDING", str(home_folder / "lnading"))
    result = inventorybot("refresh")
    assert result.exit_code == 1
    assert f"INVENTORYBOT_LANDING='{home_folder}/lnading' is not a folder" in result.output


def test_an_unwritable_home_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("INVENTORYBOT_HOME", str(tmp_path / "file" / "home"))
    result = inventorybot("run")
    assert result.exit_code == 1
    assert "cannot be written" in result.output
    assert "INVENTORYBOT_HOME" in result.output


def test_status_of_an_empty_home_says_how_to_begin(home_folder: Path) -> None:
    result = inventorybot("status")
    assert "Nothing is published" in result.output
    assert "inventorybot run" in result.output


def test_init_writes_a_template_for_every_table(tmp_path: Path) -> None:
    result = inventorybot("init", str(tmp_path / "mine"))
    assert result.exit_code == 0
    assert len(list((tmp_path / "mine" / "landing").glob("*/*.csv.template"))) == len(load_contract())
    assert "required, with sku, product_name, category, unit_cost, unit_price\n" in result.output


def test_a_folder_where_no_home_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = inventorybot("init", str(tmp_path / "file" / "home"))
    assert result.exit_code == 1
    assert f"{tmp_path}/file/home/landing/products/products.csv.template cannot be written" in result.output


def test_the_data_dictionary_is_written_from_any_folder(
    home_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = inventorybot("docs", "dictionary.html")
    assert result.exit_code == 0, result.output
    written = (tmp_path / "dictionary.html").read_text()
    assert "restock_recommendations" in written
    assert '"name": "order_units", "type": "decimal(18,3)"' in written
    assert "Example: Which promises to customers does the stock on the shelf not cover?" in written


def test_a_data_dictionary_without_a_folder_says_so(tmp_path: Path) -> None:
    result = inventorybot("docs", str(tmp_path / "none" / "dictionary.html"))
    assert result.exit_code == 1
    assert f"there is no folder {tmp_path}/none" in result.output


def test_a_data_dictionary_that_is_called_like_a_table_is_refused(tmp_path: Path) -> None:
    result = inventorybot("docs", str(tmp_path / "stock_alerts"))
    assert result.exit_code == 1
    assert "stock_alerts is not the name of an HTML file; write one, as in " in result.output
    assert list(tmp_path.iterdir()) == []
