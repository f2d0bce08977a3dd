"""A transfer from proposal to shelf in a small home: counted once at every step, whatever becomes of the store."""

import csv
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.lived_days import copied, inventorybot, read
from support.small_landing import DAYS, FIRST_DAY, add_file

from serving.store import Proposal, Store

DAY = timedelta(days=1)
THURSDAY = FIRST_DAY + (DAYS - 1) * DAY
MOVEMENT_COLUMNS = [
    *("source", "document", "line", "revision", "occurred_at", "sku", "location_id", "movement_type"),
    *("quantity_units", "reference"),
]
MOVED, REJECTED, LEFT = "bread", "cocoa", "dates"


@dataclass
class Loop:
    """A home with a shop that lacks three products and another one that has far too much of them.

    Attributes:
        home: the home.
        seen: by step, what the run after it published of the product that is moved: its two recommendations.
        proposals: by step, every proposal of the store.
        handed: rows of the ERP's files.
        listed: what `proposals list` said before anybody decided.
        moved: the transfer that is followed.
        agreed, shipped, corrected: its units as the ERP has them, as they were booked, and as they were corrected.
    """

    home: Path
    seen: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    proposals: dict[str, list[Proposal]] = field(default_factory=dict)
    handed: list[dict[str, str]] = field(default_factory=list)
    listed: str = ""
    said: list[str] = field(default_factory=list)
    day: int = 0

    def command(self, *arguments: str) -> str:
        answer = inventorybot(self.home, *arguments)
        assert answer.code == 0, f"{arguments}: {answer.out[-2000:]}\n{answer.err[-4000:]}"
        return answer.out

    def deliver(self, *more: list[Any]) -> None:
        """Deliver the movements of the next morning, which ends the day before it."""
        self.day += 1
        at = (THURSDAY + self.day * DAY).replace(hour=8).isoformat()
        rows = [
            ["pos", f"M{self.day}", n, 0, at, "apple", place, "sale", -1, ""] for n, place in enumerate(("L1", "L2"))
        ]
        rows += [[*row[:4], at, *row[4:]] for row in more]
        add_file(self.home / "landing" / "stock_movements" / f"day{self.day}.csv", MOVEMENT_COLUMNS, rows)

    def run(self, step: str) -> None:
        self.command("refresh")
        rows = read(self.home, f"select * from reporting.restock_recommendations where sku = '{MOVED}'")
        self.seen[step] = {row["location_id"]: row for row in rows}
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
    rows = []
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
        lost = (THURSDAY + DAY).replace(hour=7).isoformat()
        rows.append(["wms", "lost", number, 0, lost, sku, "L1", "count", 2, ""])
    add_file(landing / "stock_movements" / "l2.csv", MOVEMENT_COLUMNS, rows)


@pytest.fixture(scope="module")
def loop(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Live six days of it; between the third and the fourth the store is saved, before the fifth it is lost."""
    folder = tmp_path_factory.mktemp("transfers")
    return lived(Loop(copied(trained_home, folder / "home")), folder)


def lived(loop: Loop, folder: Path) -> Loop:
    furnish(loop.home / "landing")
    loop.deliver()
    loop.run("proposed")
    loop.deliver()
    loop.run("undecided")
    loop.listed = loop.command("proposals", "list", "--state", "proposed")
    move = loop.move
    (other,) = loop.of("undecided", REJECTED, transfers=True)
    loop.said.append(loop.command("proposals", "approve", move.proposal_id, "--author", "ann"))
    loop.command("proposals", "reject", other.proposal_id, "--reason", "the truck is full", "--author", "ann")
    loop.deliver()
    loop.run("approved")

    loop.command("proposals", "export", "--folder", str(folder / "orders"), "--author", "erp")
    for name in ("purchase_orders", "purchase_order_lines"):
        with (folder / "orders" / f"{name}.csv").open(newline="") as file:
            loop.handed += list(csv.DictReader(file))
    units = int(move.order_units)
    loop.command("proposals", "acknowledge", move.proposal_id, "T-1", "--units", f"{units - 1}", "--author", "erp")
    loop.command("store", "backup", str(folder / "backup"))
    loop.deliver(["wms", "T-1", 1, 0, MOVED, "L2", "transfer_out", 2 - units, move.proposal_id])
    loop.run("shipped")

    for path in loop.home.glob("online_store.sqlite*"):
        path.unlink()
    loop.command("store", "restore", str(folder / "backup"))
    loop.command("proposals", "confirm", "--author", "erp")
    loop.deliver(
        ["wms", "T-1", 1, 1, MOVED, "L2", "transfer_out", 3 - units, move.proposal_id],
        ["wms", "T-2", 1, 0, MOVED, "L1", "transfer_in", 1, move.proposal_id],
    )
    loop.run("corrected")
    loop.deliver(["wms", "T-3", 1, 0, MOVED, "L1", "transfer_in", units - 4, move.proposal_id])
    loop.run("received")
    return loop


def test_a_proposed_transfer_counts_nowhere_but_in_the_order_of_its_destination(loop: Loop) -> None:
    for step in ("proposed", "undecided"):
        (move,) = loop.of(step, MOVED, transfers=True)
        here, there = loop.seen[step]["L1"], loop.seen[step]["L2"]
        assert (loop.counted(step)["coming"], loop.counted(step)["leaving"], here["on_order_units"]) == (0, 0, 0)
        assert (here["proposed_transfer_in_units"], there["proposed_transfer_out_units"]) == (move.order_units,) * 2
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


def test_what_was_shipped_counts_and_no_longer_what_was_agreed(loop: Loop) -> None:
    units, before = int(loop.move.order_units), loop.counted("approved")
    assert loop.state("shipped") == ("acknowledged", True)
    shipped = units - 2
    told = {"coming": shipped, "leaving": 0, "here": before["here"], "there": before["there"] - shipped}
    assert loop.counted("shipped") == told


def test_a_corrected_shipment_counts_as_corrected_and_what_came_is_stock_also_after_a_restore(loop: Loop) -> None:
    units, before = int(loop.move.order_units), loop.counted("approved")
    assert loop.state("corrected") == ("acknowledged", True)
    corrected = units - 3
    told = {"coming": corrected - 1, "leaving": 0, "here": before["here"] + 1, "there": before["there"] - corrected}
    assert loop.counted("corrected") == told


def test_what_has_come_is_done(loop: Loop) -> None:
    units, before = int(loop.move.order_units), loop.counted("approved")
    assert loop.state("received") == ("received", True)
    told = {"coming": 0, "leaving": 0, "here": before["here"] + units - 3, "there": before["there"] - (units - 3)}
    assert loop.counted("received") == told
    (row,) = read(loop.home, f"select * from reporting.stock_transfers where proposal_id = '{loop.move.proposal_id}'")
    assert (row["state"], row["shipped_units"], row["received_units"]) == ("received", units - 3, units - 3)
    assert row["cause"].startswith(f"{units - 3} units came by ")


def test_an_id_means_one_thing_for_ever(loop: Loop) -> None:
    meant: dict[str, set[tuple[Any, ...]]] = {}
    for made in [made for every in loop.proposals.values() for made in every]:
        meant.setdefault(made.proposal_id, set()).add((made.item, made.supplier_id, made.order_units, made.unit_cost))
    assert {named: told for named, told in meant.items() if len(told) > 1} == {}


def test_every_decision_can_be_made_again(loop: Loop) -> None:
    shutil.rmtree(loop.home / "landing")
    assert loop.command("reproduce").endswith("\n0 differences\n")
