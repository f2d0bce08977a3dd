"""A transfer from proposal to shelf in a small home: counted once at every step, whatever becomes of the store."""

import csv
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.commands import inventorybot
from support.lived_days import copied, read
from support.small_landing import DAYS, FIRST_DAY, add_file

from serving.store import Proposal, Store

DAY = timedelta(days=1)
THURSDAY = FIRST_DAY + (DAYS - 1) * DAY
MOVEMENT_COLUMNS = [
    *("source", "document", "line", "revision", "occurred_at", "sku", "location_id", "movement_type"),
    *("quantity_units", "reference"),
]
MOVED, REJECTED, LEFT, EMPTY = "bread", "cocoa", "dates", "eggs"


@dataclass
class Loop:
    """A home with a shop that lacks three products and another one that has far too much of them.

    Attributes:
        home: the home.
        seen: by step, what the run after it published of the product that is moved: its two recommendations.
        proposals: by step, every proposal of the store.
        alerts: by step, what was wrong with the product that is out of stock.
        handed: rows of the ERP's files.
        listed: what `proposals list` said before anybody decided.
    """

    home: Path
    seen: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    proposals: dict[str, list[Proposal]] = field(default_factory=dict)
    handed: list[dict[str, str]] = field(default_factory=list)
    alerts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    listed: str = ""
    day: int = 0

    def command(self, *arguments: str) -> str:
        answer = inventorybot(self.home, *arguments)
        assert answer.returncode == 0, f"{arguments}: {answer.stdout[-2000:]}\n{answer.stderr[-4000:]}"
        return answer.stdout

    def deliver(self, *more: list[Any]) -> None:
        """Deliver the movements of the next morning, which ends the day before it."""
        self.day += 1
        at = (THURSDAY + self.day * DAY).replace(hour=8).isoformat()
        rows = [
            ["pos", f"M{self.day}", n, 0, at, "apple", place, "sale", -1, ""] for n, place in enumerate(("L1", "L2"))
        ]
        rows += [[*row[:4], at, *row[4:]] for row in more]
        add_file(self.home / "landing" / "stock_movements" / f"day{self.day}.csv", MOVEMENT_COLUMNS, rows)

    def order_line(self, made: Proposal, *, received: bool) -> None:
        """Let the ERP tell of the order line of a proposal that it has as P-77."""
        units = int(made.order_units)
        names = [
            *("purchase_order_id", "line", "supplier_id", "sku", "location_id", "ordered_at", "expected_date"),
            *("ordered_units", "received_units", "received_at", "status", "proposal_id"),
        ]
        at = (THURSDAY + (self.day + 1) * DAY).replace(hour=7).isoformat()
        told = [units, units, at, "received"] if received else [units, 0, "", "open"]
        ordered = [(THURSDAY + 2 * DAY).isoformat(), (THURSDAY + 9 * DAY).date().isoformat()]
        row = ["P-77", 1, "S1", made.sku, "L1", *ordered, *told, made.proposal_id]
        add_file(self.home / "landing" / "purchase_order_lines" / f"day{self.day}.csv", names, [row])

    def run(self, step: str) -> None:
        self.command("refresh")
        rows = read(self.home, f"select * from reporting.restock_recommendations where sku = '{MOVED}'")
        self.seen[step] = {row["location_id"]: row for row in rows}
        self.alerts[step] = read(self.home, f"select * from reporting.stock_alerts where sku = '{EMPTY}'")
        with Store.open(f"sqlite:///{self.home / 'online_store.sqlite'}") as store:
            self.proposals[step] = store.proposals(limit=10_000)

    def of(self, step: str, sku: str, *, transfers: bool, states: Iterable[str] = ("proposed",)) -> list[Proposal]:
        return [
            made
            for made in self.proposals[step]
            if (made.sku, made.is_transfer) == (sku, transfers) and made.state in states
        ]

    @property
    def move(self) -> Proposal:
        (made,) = self.of("undecided", MOVED, transfers=True)
        return made

    def state(self, step: str) -> tuple[str, bool]:
        (made,) = [made for made in self.proposals[step] if made.proposal_id == self.move.proposal_id]
        return made.state, made.has_order_line

    def counted(self, step: str) -> dict[str, int]:
        """Return what counts of the transfer: coming to L1, reserved at L2, and what lies on both shelves."""
        here, there = self.seen[step]["L1"], self.seen[step]["L2"]
        return {
            "coming": int(here["transfer_in_units"]),
            "leaving": int(there["transfer_out_units"]),
            "here": int(here["on_hand_units"]),
            "there": int(there["on_hand_units"]),
        }


def furnish(landing: Path) -> None:
    """Add a second shop, a lane from it to the first, and stock there; the first has lost most of its own."""
    add_file(
        landing / "locations" / "l2.csv",
        ["location_id", "location_name", "location_type", "country", "time_zone"],
        [["L2", "Side street", "store", "GB", "Europe/London"]],
    )
    add_file(
        landing / "supplier_terms" / "l2.csv",
        ["sku", "location_id", "supplier_id", "lead_time_days", "moq_units", "order_multiple_units", "unit_cost"],
        [[sku, "L2", "S1", "5", "12", "6", "1.50"] for sku in ("apple", MOVED, REJECTED, LEFT)],
    )
    add_file(
        landing / "transfer_lanes" / "lanes.csv",
        ["from_location_id", "to_location_id", "lead_time_days", "unit_cost"],
        [["L2", "L1", "1", "0.01"]],
    )
    rows, lost = [], (THURSDAY + DAY).replace(hour=7).isoformat()
    for number, sku in enumerate(("apple", MOVED, REJECTED, LEFT)):
        opened = FIRST_DAY.replace(hour=6).isoformat()
        rows.append(["wms", "L2", number, 0, opened, sku, "L2", "count", 500, ""])
        rows += [
            [
                "pos",
                f"L2D{day}",
                number,
                0,
                (FIRST_DAY + day * DAY).replace(hour=12).isoformat(),
                sku,
                "L2",
                "sale",
                -1,
                "",
            ]
            for day in range(DAYS)
        ]
        rows.append(["wms", "lost", number, 0, lost, sku, "L1", "count", 2, ""])
    rows.append(["wms", "lost", 9, 0, lost, EMPTY, "L1", "count", 0, ""])
    add_file(landing / "stock_movements" / "l2.csv", MOVEMENT_COLUMNS, rows)


@pytest.fixture(scope="module")
def loop(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Live five days of it; on the third the store is saved, before the fourth it is lost."""
    folder = tmp_path_factory.mktemp("transfers")
    return lived(Loop(copied(trained_home, folder / "home")), folder)


def lived(loop: Loop, folder: Path) -> Loop:
    furnish(loop.home / "landing")
    loop.deliver()
    loop.run("undecided")
    loop.listed = loop.command("proposals", "list", "--state", "proposed")
    (other,) = loop.of("undecided", REJECTED, transfers=True)
    (order,) = loop.of("undecided", EMPTY, transfers=False)
    move = loop.move
    loop.command("proposals", "approve", move.proposal_id, order.proposal_id, "--author", "ann")
    loop.command("proposals", "reject", other.proposal_id, "--reason", "the truck is full", "--author", "ann")
    loop.deliver()
    loop.run("approved")

    loop.command("proposals", "export", "--folder", str(folder / "orders"), "--author", "erp")
    for name in ("purchase_orders", "purchase_order_lines"):
        with (folder / "orders" / f"{name}.csv").open(newline="") as file:
            loop.handed += list(csv.DictReader(file))
    agreed = int(move.order_units) - 1
    loop.command("proposals", "acknowledge", move.proposal_id, "T-1", "--units", f"{agreed}", "--author", "erp")
    loop.command("proposals", "acknowledge", order.proposal_id, "P-77", "--author", "erp")
    loop.command("store", "backup", str(folder / "backup"))
    # A first truck takes five, and the order of what is out is booked as received.
    receipt = ["wms", "R-1", 1, 0, EMPTY, "L1", "receipt", int(order.order_units), "P-77:1"]
    loop.order_line(order, received=True)
    loop.deliver(["wms", "T-1", 1, 0, MOVED, "L2", "transfer_out", -5, move.proposal_id], receipt)
    loop.run("shipped")

    for path in loop.home.glob("online_store.sqlite*"):
        path.unlink()
    loop.command("store", "restore", str(folder / "backup"))
    loop.command("proposals", "confirm", "--author", "erp")
    # The truck had taken six; the receipt was a mistake.
    loop.order_line(order, received=False)
    loop.deliver(
        ["wms", "T-1", 1, 1, MOVED, "L2", "transfer_out", -6, move.proposal_id],
        ["wms", "T-2", 1, 0, MOVED, "L1", "transfer_in", 1, move.proposal_id],
        [*receipt[:3], 1, *receipt[4:7], 0, receipt[8]],
    )
    loop.run("corrected")
    # A second truck takes the rest; its movements name the number of the ERP, as reference or as document.
    loop.deliver(
        ["wms", "S-9", 1, 0, MOVED, "L2", "transfer_out", 6 - agreed, "T-1"],
        ["wms", "T-1", 2, 0, MOVED, "L1", "transfer_in", agreed - 1, ""],
    )
    loop.run("received")
    return loop


def test_a_proposed_transfer_counts_nowhere_but_in_the_order_of_its_destination(loop: Loop) -> None:
    here, there = loop.seen["undecided"]["L1"], loop.seen["undecided"]["L2"]
    counted = loop.counted("undecided")
    assert (counted["coming"], counted["leaving"], here["on_order_units"]) == (0, 0, 0)
    assert (here["proposed_transfer_in_units"], there["proposed_transfer_out_units"]) == (loop.move.order_units,) * 2
    assert (there["reserved_units"], there["inventory_position_units"]) == (0, there["on_hand_units"])
    assert here["order_units"] < here["shortfall_units"]
    assert " that the proposed transfers bring" in here["reason"]


def test_the_list_shows_a_transfer_with_where_from_money_and_reason(loop: Loop) -> None:
    (line,) = [line for line in loop.listed.splitlines() if loop.move.proposal_id in line]
    units = loop.move.order_units.normalize()
    for text in ("Bread", " L1 ", f"{units * loop.move.unit_cost:,.2f}", "transfer from L2", f"Move {units:f} ("):
        assert text in line, text


def test_an_approved_transfer_counts_once(loop: Loop) -> None:
    units = int(loop.move.order_units)
    assert loop.state("approved") == ("approved", False)
    before, now = loop.counted("undecided"), loop.counted("approved")
    assert now == before | {"coming": units, "leaving": units}
    assert loop.seen["approved"]["L1"]["on_order_units"] == units
    assert loop.of("approved", MOVED, transfers=True) == []
    assert loop.seen["approved"]["L1"]["proposed_transfer_in_units"] == 0


def test_a_rejected_transfer_stays_away_and_its_need_is_ordered(loop: Loop) -> None:
    for step in ("approved", "shipped", "corrected", "received"):
        assert loop.of(step, REJECTED, transfers=True) == []
        (order,) = loop.of(step, REJECTED, transfers=False)
        assert order.location_id == "L1"
    (row,) = read(loop.home, f"select state, cause from reporting.stock_transfers where sku = '{REJECTED}'")
    assert row["state"] == "rejected"
    assert "the truck is full; this run would move " in row["cause"]


def test_the_erp_is_handed_a_transfer_that_is_marked_as_one(loop: Loop) -> None:
    header, line = [row for row in loop.handed if row["proposal_type"] == "transfer"]
    assert line["proposal_id"] == loop.move.proposal_id
    assert header["order_id"] == line["order_id"]
    told = {"supplier_id": "", "from_location_id": "L2", "from_location_name": "Side street", "location_id": "L1"}
    for row in (header, line):
        assert told | {"location_name": "Main street"} == {name: row[name] for name in (*told, "location_name")}


def test_what_was_shipped_counts_and_the_rest_that_was_agreed(loop: Loop) -> None:
    agreed, before = int(loop.move.order_units) - 1, loop.counted("approved")
    assert loop.state("shipped") == ("acknowledged", True)
    told = {"coming": agreed, "leaving": agreed - 5, "here": before["here"], "there": before["there"] - 5}
    assert loop.counted("shipped") == told


def test_a_corrected_shipment_counts_as_corrected_and_what_came_is_stock_also_after_a_restore(loop: Loop) -> None:
    agreed, before = int(loop.move.order_units) - 1, loop.counted("approved")
    assert loop.state("corrected") == ("acknowledged", True)
    told = {"coming": agreed - 1, "leaving": agreed - 6, "here": before["here"] + 1, "there": before["there"] - 6}
    assert loop.counted("corrected") == told


def test_what_has_come_on_two_trucks_is_done(loop: Loop) -> None:
    agreed, before = int(loop.move.order_units) - 1, loop.counted("approved")
    assert loop.state("received") == ("received", True)
    told = {"coming": 0, "leaving": 0, "here": before["here"] + agreed, "there": before["there"] - agreed}
    assert loop.counted("received") == told
    (row,) = read(loop.home, f"select * from reporting.stock_transfers where proposal_id = '{loop.move.proposal_id}'")
    assert (row["state"], row["shipped_units"], row["received_units"]) == ("received", agreed, agreed)
    assert row["cause"].startswith(f"{agreed} units came by ")


def test_an_alert_names_its_cure_goes_with_the_receipt_and_is_back_when_that_was_a_mistake(loop: Loop) -> None:
    (order,) = [made for made in loop.proposals["received"] if made.erp_order and not made.is_transfer]
    units = f"{order.order_units.normalize():f}"
    (undecided,), (approved,), gone, (back,) = (
        loop.alerts[step] for step in ("undecided", "approved", "shipped", "corrected")
    )
    assert (undecided["kind"], undecided["proposal_id"]) == ("out_of_stock", order.proposal_id)
    assert f"Approve the order of {units}; " in undecided["cure"]
    assert (approved["alert_id"], approved["proposal_id"]) == (undecided["alert_id"], order.proposal_id)
    assert approved["cure"].startswith(f"The approved order {order.proposal_id} brings {units} on ")
    assert approved["until_date"] is not None
    assert gone == []
    assert (back["alert_id"], back["purchase_order_id"], back["line"]) == (undecided["alert_id"], "P-77", 1)
    assert back["cure"].startswith(f"Line 1 of order P-77 brings {units} on ")


def test_an_id_means_one_thing_for_ever(loop: Loop) -> None:
    meant: dict[str, set[tuple[Any, ...]]] = {}
    for made in [made for every in loop.proposals.values() for made in every]:
        meant.setdefault(made.proposal_id, set()).add((made.item, made.supplier_id, made.order_units, made.unit_cost))
    assert {named: told for named, told in meant.items() if len(told) > 1} == {}


def test_every_decision_can_be_made_again(loop: Loop) -> None:
    shutil.rmtree(loop.home / "landing")
    assert loop.command("reproduce").endswith("\n0 differences\n")
