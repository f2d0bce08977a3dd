"""The commands of planners, on a store of their own."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.small_marts import build_of, small_home

from orchestration.cli.main import cli
from serving.store import Decision, Outbox, Store

Run = Callable[..., Result]


@pytest.fixture
def run(home_folder: Path) -> Run:
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
        (["target_value", "98"], "policy target_value is '98': give a service level above 0 and below 1"),
        (["colour", "red"], "there is no policy setting 'colour'"),
        (["target_value", "0.9", "--segment", "A"], "write abc_class=A"),
        (["target_value", "0.9", "--segment", "abc_class=A and"], "a condition is missing"),
        (["target_value", "0.9", "--segment", ""], "a condition is missing"),
        (["target_value", "0.9", "--sku", "MUG"], "--sku and --location belong together"),
        (["target_value", "0.9", "--segment", "abc_class=A", "--sku", "MUG"], "an override has one scope"),
        (["target_value", "0.9", "--to", "2010-01-01"], "valid_to 2010-01-01 is before valid_from 2011-01-01"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_and_nothing_is_kept(run: Run, arguments: list[str], told: str) -> None:
    refused = set_policy(run, *arguments)
    assert refused.exit_code == 1
    assert told in refused.output
    assert "No override holds" in run("policy", "list", "--day", "2011-03-01").output


@pytest.fixture
def built(home_folder: Path) -> None:
    """Give the home a build with items p00 … p03, the even ones in the north."""
    settings = small_home(home_folder, days=3, series=4)
    (settings.exports / "build.json").write_text(json.dumps(asdict(build_of())))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sku", "p00", "--location", "south"], "which is not in the data (the item is known at north): correct"),
        (
            ["--sku", "p0", "--location", "north"],
            "which is not in the data (similar names there: p02, p00): correct",
        ),
        (["--segment", "category=wine"], "which has no items: correct its segment, or end the override"),
        (["--segment", "xyz_class=X"], "0.98 and 0.9 of 4 items; the later one, 0.98, holds"),
    ],
)
def test_a_policy_that_cannot_be_followed_as_it_stands_is_kept_with_a_hint(
    run: Run, built: None, arguments: list[str], told: str
) -> None:
    assert "hint" not in set_policy(run, "target_value", "0.9", "--segment", "abc_class=A").output
    kept = set_policy(run, "target_value", "0.98", *arguments)
    assert kept.exit_code == 0
    assert kept.stderr.startswith("hint: ")
    assert told in kept.stderr


def test_ending_a_policy_that_is_not_there_says_how_to_find_it(run: Run) -> None:
    assert (
        "there is no override 7; `inventorybot policy list --all`" in run("policy", "end", "7", "--reason", "x").output
    )


def test_a_home_without_a_store_is_told_to_restore_its_backup(run: Run, home_folder: Path) -> None:
    (home_folder / "online_store.sqlite").unlink()
    refused = run("policy", "list")
    assert (refused.exit_code, refused.output.startswith("Error: ")) == (1, True)
    assert "restore its latest backup with `inventorybot store restore FILE`" in refused.output


@pytest.fixture
def proposed(home_folder: Path) -> list[str]:
    """Two proposals as a run makes them; return their ids."""
    lines = [
        {
            "sku": sku,
            "location_id": "N",
            "supplier_id": "ACME",
            "order_units": units,
            "unit_cost": Decimal("1.25"),
            "order_by_date": date(2011, 12, 12),
            "expires_date": date(2011, 12, 12),
            "expected_date": date(2011, 12, 20),
        }
        for sku, units in (("CUP", 12), ("MUG", 48))
    ]
    with Store.open(f"sqlite:///{home_folder / 'online_store.sqlite'}") as store:
        return store.propose(date(2011, 12, 8), lines, seen_version=0, author="run").proposed


@pytest.mark.parametrize("command", [("what-if", "--demand", "5"), ("reproduce",)])
def test_a_home_without_a_publication_is_told_so_and_left_as_it_is(
    run: Run, home_folder: Path, command: tuple[str, ...]
) -> None:
    before = sorted(home_folder.iterdir())
    assert f"nothing is published in {home_folder} yet" in run(*command).output
    assert sorted(home_folder.iterdir()) == before


def test_approving_for_a_supplier_that_waits_for_nothing_says_who_waits(run: Run, proposed: list[str]) -> None:
    result = run("proposals", "approve", "--supplier", "nobody")
    assert result.exit_code == 1
    assert "no proposal for supplier 'nobody' waits; there are some for ACME" in result.output


def exported(run: Run) -> dict[str, str]:
    """Export to the terminal, and return order units by proposal."""
    answer = run("proposals", "export")
    assert answer.exit_code == 0, answer.output
    return {row["proposal_id"]: row["order_units"] for row in csv.DictReader(io.StringIO(answer.stdout))}


def test_proposals_are_listed_with_state_and_quantity(run: Run, proposed: list[str]) -> None:
    listed = run("proposals", "list").output
    assert all(proposal_id in listed for proposal_id in proposed)
    line = next(line.split() for line in listed.splitlines() if " MUG " in line)
    assert [line[0], *line[3:9]] == ["2011-12-12", "MUG", "N", "48", "60.00", "proposed", "ACME"]
    assert listed.splitlines()[-1] == "2 proposals, 75.00"


def test_what_an_approval_adjusted_is_listed_and_shown(run: Run, proposed: list[str], home_folder: Path) -> None:
    with Store.open(f"sqlite:///{home_folder / 'online_store.sqlite'}") as store:
        named = next(made.proposal_id for made in store.proposals() if made.sku == "MUG")
        store.decide([Decision(named, "approved", "a", "ann", order_units=Decimal(36))])
    line = next(line for line in run("proposals", "list").output.splitlines() if named in line)
    assert "36 (48 proposed)" in line and " 45.00 " in line
    shown = run("proposals", "show", named).output
    assert "36 (48 proposed)" in shown and "adjusted by ann: 36 units are ordered" in shown


def test_transfers_are_listed_beside_orders_with_where_they_leave_and_approved_at_once(
    run: Run, proposed: list[str], home_folder: Path
) -> None:
    move = {"sku": "MUG", "location_id": "S", "from_location_id": "N", "order_units": 6, "unit_cost": "0.04"}
    move |= {"order_by_date": "2011-12-10", "detail": {"product_name": "Mug", "reason": "Move 6 from N to S."}}
    with Store.open(f"sqlite:///{home_folder / 'online_store.sqlite'}") as store:
        order = {"sku": "CUP", "location_id": "N", "supplier_id": "ACME", "order_units": 12}
        version = store.open_orders().version
        ids = store.propose(date(2011, 12, 8), [move, order], seen_version=version, author="run").proposed
    first = run("proposals", "list").output.splitlines()[1]
    for text in ("2011-12-10", "Mug", "MUG", " S ", " 6 ", "0.24", "transfer from N", "Move 6 from N to S."):
        assert text in first, text
    answer = run("proposals", "approve", "--transfers").output
    assert answer == f"{next(each for each in ids if each in first)}: approved\n1 approved\n"


def test_many_orders_are_acknowledged_from_a_file_and_what_is_refused_is_named(
    run: Run, proposed: list[str], tmp_path: Path
) -> None:
    run("proposals", "approve", "--all")
    cup, mug = exported(run)
    told = tmp_path / "told.csv"
    told.write_text(f"proposal_id,erp_order,ordered_units\n{cup},PO-1,6\n{mug},,0\ngone,PO-2,\n")
    answer = run("proposals", "acknowledge", "--csv", str(told))
    assert answer.exit_code == 1
    assert "gone: REFUSED, there is no such proposal" in answer.output
    assert "2 recorded, 0 known before, 1 refused" in answer.output
    listed = run("proposals", "list").output
    assert (cup in listed, mug in listed, " 6 " in listed) == (True, False, True)
    assert "name a proposal and its order" in run("proposals", "acknowledge").output


def test_a_folder_has_the_orders_and_what_was_withdrawn(run: Run, proposed: list[str], tmp_path: Path) -> None:
    run("proposals", "approve", "--all")
    run("proposals", "export", "--folder", str(tmp_path / "orders"))
    run("proposals", "cancel", proposed[0], "--reason", "too dear")
    answer = run("proposals", "export", "--folder", str(tmp_path / "orders"))
    assert "1 proposals exported, 1 withdrawn since they were" in answer.output
    (row,) = csv.DictReader(io.StringIO((tmp_path / "orders" / "withdrawals.csv").read_text()))
    assert (row["proposal_id"], row["reason"]) == (proposed[0], "too dear")


def test_nothing_undecided_is_exported(run: Run, proposed: list[str]) -> None:
    assert exported(run) == {}


def test_twenty_exports_name_one_order_line_per_proposal(run: Run, proposed: list[str]) -> None:
    run("proposals", "approve", "--all")
    erp: dict[str, str] = {}
    for _ in range(20):
        erp |= exported(run)
    assert erp == dict(zip(proposed, ["12.000", "48.000"], strict=True))


def test_an_export_that_could_not_be_written_is_handed_out_again(run: Run, proposed: list[str], tmp_path: Path) -> None:
    run("proposals", "approve", *proposed)
    failed = run("proposals", "export", "--csv", str(tmp_path / "nowhere" / "orders.csv"))
    assert (failed.exit_code, "nothing is lost, export again" in failed.output) == (1, True)
    run("proposals", "export", "--csv", str(tmp_path / "orders.csv"))
    assert all(proposal_id in (tmp_path / "orders.csv").read_text() for proposal_id in proposed)


def test_what_is_acknowledged_is_exported_no_longer(run: Run, proposed: list[str]) -> None:
    run("proposals", "approve", "--supplier", "ACME")
    exported(run)
    assert run("proposals", "acknowledge", proposed[0], "PO-7").exit_code == 0
    assert set(exported(run)) == {proposed[1]}


def test_a_rejection_is_listed_with_its_terms_and_reason(run: Run, proposed: list[str]) -> None:
    rejected = run("proposals", "reject", proposed[0], "--reason", "too dear", "--author", "ann")
    assert rejected.output == f"{proposed[0]}: rejected\n1 rejected\n"
    listed = run("proposals", "list", "--state", "rejected").output
    assert "rejected by ann until 2012-01-05 or until more than 18 are needed: too dear" in listed


def test_a_rejection_until_a_day_that_has_been_is_refused(
    run: Run, proposed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = run("proposals", "reject", proposed[0], "--until", "2011-12-08", "--reason", "too dear")
    assert (refused.exit_code, "is no later than the business day" in refused.output) == (1, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--until", "9999-01-01"], "rejected by ann until 9999-01-01: too dear"),
        (["--until-grows", "10"], "rejected by ann until more than 13.2 are needed: too dear"),
    ],
)
def test_a_rejection_takes_the_terms_it_is_given(run: Run, proposed: list[str], options: list[str], told: str) -> None:
    run("proposals", "reject", proposed[0], *options, "--reason", "too dear", "--author", "ann")
    assert told in run("proposals", "show", proposed[0]).output


def test_a_rejected_proposal_is_approved_after_all_and_exported(run: Run, proposed: list[str]) -> None:
    for arguments in (["approve"], ["reject", "--reason", "too dear"], ["approve"]):
        assert run("proposals", *arguments, proposed[0]).exit_code == 0
    assert set(exported(run)) == {proposed[0]}


def test_approving_one_that_is_not_there_approves_none_and_says_so_of_each(run: Run, proposed: list[str]) -> None:
    refused = run("proposals", "approve", proposed[0], "none", proposed[1])
    assert refused.exit_code == 1
    assert f"{proposed[0]}: would be approved\n" in refused.stdout
    assert "none: REFUSED, there is no such proposal" in refused.stderr
    assert "1 of 3 cannot be approved: nothing was changed" in refused.stderr
    assert exported(run) == {}


def test_approving_again_changes_nothing_and_says_who_did(run: Run, proposed: list[str]) -> None:
    run("proposals", "approve", *proposed, "--author", "ann")
    again = run("proposals", "approve", proposed[0], "--author", "bob")
    assert (again.exit_code, "approved already: approved by ann at" in again.output) == (0, True)
    assert again.output.endswith("0 approved, 1 were already approved\n")


def test_what_the_erp_will_not_order_is_cancelled_with_its_reason(run: Run, proposed: list[str]) -> None:
    run("proposals", "approve", "--all")
    exported(run)
    assert run("proposals", "cancel", proposed[0], "--reason", "out of stock there").exit_code == 0
    assert set(exported(run)) == {proposed[1]}
    assert "out of stock there" in run("proposals", "show", proposed[0]).output


def stored(home_folder: Path) -> Store:
    return Store.open(f"sqlite:///{home_folder / 'online_store.sqlite'}")


def test_what_is_held_back_is_named_at_an_export(run: Run, proposed: list[str], home_folder: Path) -> None:
    run("proposals", "approve", *proposed)
    with stored(home_folder) as store:
        fence, held = store.claim("generation", "run"), {proposed[0]: "product CUP is discontinued"}
        store.publish("generation", fence, None, {}, Outbox(date(2011, 12, 8), [], 99, {}, held=held))
    answer = run("proposals", "export")
    assert f"not exported: {proposed[0]}, 12 of CUP: product CUP is discontinued; cancel it" in answer.stderr
    assert "MUG" in answer.stdout and "CUP" not in answer.stdout


def test_an_export_to_a_database_that_is_not_named_says_how(
    run: Run, proposed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVENTORYBOT_EXPORT_URL", raising=False)
    assert "INVENTORYBOT_EXPORT_URL is not set" in run("proposals", "export", "--postgresql").output


def test_approving_wants_to_know_what(run: Run, proposed: list[str]) -> None:
    assert "name the proposals to approve, or give --all" in run("proposals", "approve").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--budget", "0"], "--budget 0 buys nothing; give money above 0, or leave it out"),
        (["--price", "-100"], "--price -100 leaves no price; give more than -100"),
        ([], "give at least one of --demand, --lead-time, --service, --price and --budget"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(run: Run, arguments: list[str], told: str) -> None:
    refused = run("what-if", *arguments)
    assert refused.exit_code == 1
    assert told in refused.output


def test_scoring_without_an_override_says_where_to_look(run: Run) -> None:
    assert "no override holds; `inventorybot policy list --all`" in run("policy", "score").output
    assert "there is no override 7" in run("policy", "score", "7").output
