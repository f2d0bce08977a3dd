"""The commands of planners, on a store of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestration.cli import cli
from serving.store import Store

Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INVENTORYBOT_HOME", str(tmp_path))
    monkeypatch.delenv("INVENTORYBOT_STORE_URL", raising=False)
    Store.migrate(f"sqlite:///{tmp_path / 'online_store.sqlite'}")
    return tmp_path


@pytest.fixture
def run(home: Path) -> Run:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments))

    return invoke


def set_policy(run: Run, *arguments: str) -> Result:
    return run("policy", "set", *arguments, "--from", "2011-01-01", "--reason", "season", "--author", "ann")


def test_a_policy_that_was_set_is_listed_with_scope_reason_and_author(run: Run) -> None:
    assert set_policy(run, "target_value", "0.98", "--segment", "abc_class=A").exit_code == 0
    listed = run("policy", "list", "--day", "2011-03-01").output
    assert "1       segment abc_class=A  target_value  0.98   2011-01-01  -   ann     season" in listed


def test_an_ended_policy_holds_until_the_day_before(run: Run) -> None:
    set_policy(run, "max_order_units", "12", "--sku", "MUG", "--location", "N")
    run("policy", "end", "1", "--from", "2011-03-01", "--reason", "over", "--author", "ann")
    assert "MUG at N" in run("policy", "list", "--day", "2011-02-28").output
    assert "No override holds on 2011-03-01" in run("policy", "list", "--day", "2011-03-01").output
    assert "(ended)" in run("policy", "list", "--all").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["target_value", "98"], "policy target_value is '98': give a service level between 0 and 1"),
        (["colour", "red"], "there is no policy setting 'colour'"),
        (["target_value", "0.9", "--segment", "A"], "write one as abc_class=A"),
        (["target_value", "0.9", "--sku", "MUG"], "--sku and --location belong together"),
        (["target_value", "0.9", "--segment", "abc_class=A", "--sku", "MUG"], "an override has one scope"),
        (["target_value", "0.9", "--to", "2010-01-01"], "valid_to 2010-01-01 lies before valid_from 2011-01-01"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_and_nothing_is_kept(run: Run, arguments: list[str], told: str) -> None:
    refused = set_policy(run, *arguments)
    assert refused.exit_code == 1
    assert told in refused.output
    assert "No override holds" in run("policy", "list", "--day", "2011-03-01").output


def test_ending_a_policy_that_is_not_there_says_how_to_find_it(run: Run) -> None:
    assert (
        "there is no override 7; `inventorybot policy list --all`" in run("policy", "end", "7", "--reason", "x").output
    )


def test_a_home_without_a_store_is_told_without_a_traceback(run: Run, home: Path) -> None:
    (home / "online_store.sqlite").unlink()
    refused = run("policy", "list")
    assert (refused.exit_code, refused.output.startswith("Error: ")) == (1, True)
