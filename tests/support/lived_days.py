"""Days lived with the product beside a scripted outside world, and what must hold after each of them.

Belongs here: driving the command line through a day, and the invariants. Does not: the world (outside_world.py), which
days are lived (test_week.py, test_ten_days.py).
"""

import csv
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import duckdb

from serving.store import Proposal, Store
from support.commands import inventorybot
from support.outside_world import Key, Row, World, fold, mind_of, open_units, write_day

COMMITTED, ENDED = ("approved", "exported", "acknowledged"), ("expired", "cancelled")
LEGAL_STEPS = {
    "": {"proposed"},
    "proposed": {"approved", "rejected", "superseded", "expired"},
    "approved": {"exported", "rejected", "cancelled", "expired"},
    "exported": {"acknowledged", "cancelled", "expired"},
    "acknowledged": {"received", "cancelled", "expired"},
}
ERP_DID = re.compile("purchase order line|shipped: |the ERP holds it")
INVARIANTS = {
    "business_day": "the business day is right",
    "supply": "supply is counted once",
    "ids": "a proposal id names one order for ever",
    "states": "states are legal",
    "causes": "every changed order has causes that add up",
    "stock": "stock is the fold of the movements",
    "reproduced": "past days are made again without a difference",
    "need": "the same need is not ordered twice",
    "rejected": "what is rejected is not ordered, and counts for no supplier",
    "discontinued": "what is discontinued is not ordered",
    "correction": "after a correction all is as if the mistake had not been",
}


def read(home: Path, query: str) -> list[Row]:
    """Return rows of the current generation, each by column."""
    with duckdb.connect(str((home / "published" / "current.duckdb").resolve()), read_only=True) as connection:
        answer = connection.sql(query)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]


def recommendations(home: Path) -> dict[Key, Row]:
    """Return the recommendations of the current generation by item; nothing before the first."""
    if not (home / "published" / "current.duckdb").exists():
        return {}
    rows = read(home, "select * from reporting.restock_recommendations")
    return {(row["sku"], row["location_id"]): row for row in rows}


@dataclass
class DayRecord:
    """What a day came to, for the table at the end."""

    day: date
    runs: int = 0
    proposed: int = 0
    approved: int = 0
    rejected: int = 0
    exported: int = 0
    acknowledged: int = 0
    received: int = 0
    changed: int = 0
    broken: list[str] = field(default_factory=list)
    checked: set[str] = field(default_factory=set)


@dataclass
class Life:
    """A home that is lived in: files come, it runs, planners decide, the ERP orders.

    Attributes:
        home: home of the product.
        world: what is outside.
        orders_of: the ERP's order line by proposal.
        handed_out: everything that a proposal id was ever seen to stand for.
        records: what each day came to.
        broken: by invariant, what was found not to hold.
        discontinued: products that may no longer be ordered.
        ended_rejections: rejected proposals whose rejection has ended: its day has come, or the need has outgrown it.
        told: movements that were delivered, in the order of delivery.
        told_lines: order lines by order, as they were delivered last.
        feed_time: hour and minute at which the shops send what they have booked.
    """

    home: Path
    world: World
    orders_of: dict[str, str] = field(default_factory=dict)
    handed_out: defaultdict[str, set[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(set))
    records: list[DayRecord] = field(default_factory=list)
    broken: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    discontinued: set[str] = field(default_factory=set)
    ended_rejections: set[str] = field(default_factory=set)
    told: list[Row] = field(default_factory=list)
    told_lines: dict[str, Row] = field(default_factory=dict)
    feed_time: tuple[int, int] = (8, 30)
    _pulls: int = 0

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    def store(self) -> Store:
        return Store.open(f"sqlite:///{self.home / 'online_store.sqlite'}")

    def command(self, *arguments: str) -> CompletedProcess[str]:
        answer = inventorybot(self.home, *arguments)
        assert answer.returncode == 0, f"{arguments}: {answer.stdout[-2000:]}\n{answer.stderr[-4000:]}"
        return answer

    @property
    def day(self) -> date:
        return self.records[-1].day

    def begin_day(self, day: date) -> date:
        self.records.append(DayRecord(day))
        self.world.live(day)
        return day

    def collect(self, *, silent: Sequence[str] = ()) -> tuple[list[Row], list[Row]]:
        """Return movements and order lines that are sent this morning; silent shops send theirs with a later feed."""
        rows = self.world.feed(self.world.at(self.day, *self.feed_time), silent=silent)
        self.records[-1].received += sum(row["movement_type"] == "receipt" for row in rows)
        return rows, self.world.changed_lines(rows)

    def deliver(self, rows: Sequence[Row], lines: Sequence[Row]) -> None:
        """Put movements and order lines into the landing folder, and remember what was told."""
        write_day(self.landing, f"{self.day}", rows, lines)
        self.told += rows
        self.told_lines |= {line["purchase_order_id"]: dict(line) for line in lines}

    # Planners and ERP.

    def undecided(self) -> list[Proposal]:
        with self.store() as store:
            return store.proposals(state="proposed")

    def approve(self, proposals: Iterable[Proposal]) -> None:
        ids = [made.proposal_id for made in proposals]
        if ids:
            self.command("proposals", "approve", *ids, "--author", "ann")
            self.records[-1].approved += len(ids)

    def reject(self, proposals: Iterable[Proposal], reason: str, *until: str) -> None:
        ids = [made.proposal_id for made in proposals]
        if ids:
            self.command("proposals", "reject", *ids, "--reason", reason, "--author", "ann", *until)
            self.records[-1].rejected += len(ids)

    def plan(self) -> list[Proposal]:
        """Let planners go through the undecided orders, each as the seed says; return what they approved in the end.

        Every fourth product is approved whenever it is proposed. Of the others three in five are approved, one in ten
        is rejected, the rest is left for another day; and of those approved one in eight is taken back at once.
        """
        approved, rejected, taken_back = [], [], []
        for made in self.undecided():
            chance = float(mind_of(self.world.seed, "planner", made.sku, made.location_id, self.day).random())
            if int(re.sub(r"\D", "", made.sku) or 0) % 4 == 0 or chance < 0.6:
                approved.append(made)
                if 0.1 < chance < 0.175:
                    taken_back.append(made)
            elif chance > 0.9:
                rejected.append(made)
        self.approve(approved)
        self.reject(rejected, "the shelf is being rebuilt")
        self.reject(taken_back, "on second thoughts")
        back = {made.proposal_id for made in taken_back}
        return [made for made in approved if made.proposal_id not in back]

    def pull(self) -> list[Row]:
        """Let the ERP pull; return what it has not ordered yet."""
        self._pulls += 1
        file = self.home.parent / f"pull_{self._pulls:03}.csv"
        self.command("proposals", "export", "--csv", str(file), "--author", "erp")
        with file.open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        for row in rows:
            self.hand_out(row["proposal_id"], row)
            if row["sku"] in self.discontinued:
                self.found("discontinued", f"{row['proposal_id']} of {row['sku']} was handed out")
        fresh = [row for row in rows if row["proposal_id"] not in self.orders_of]
        self.records[-1].exported += len(fresh)
        return fresh

    def order(self, rows: Iterable[Row], *, hour: int, tells: bool = True) -> None:
        """Let the ERP order what it pulled at forty past an hour of this day, and tell the order's number."""
        for row in rows:
            item = next(item for item in self.world.items if item.key == (row["sku"], row["location_id"]))
            number = f"PO-{len(self.world.lines) + 1:05}"
            in_parts = float(mind_of(self.world.seed, "parts", number).random()) < 0.15
            units = int(float(row["order_units"]))
            at = self.world.at(self.day, hour, 40)
            line = self.world.order(item, units, at, row["proposal_id"], number=number, in_parts=in_parts)
            self.orders_of[row["proposal_id"]] = line.number
            if tells:
                self.acknowledge(row["proposal_id"])

    def acknowledge(self, proposal_id: str) -> None:
        self.command("proposals", "acknowledge", proposal_id, self.orders_of[proposal_id], "--author", "erp")
        self.records[-1].acknowledged += 1

    def hand_out(self, proposal_id: str, row: Row) -> None:
        content = (
            *(str(row[name]) for name in ("supplier_id", "sku", "location_id")),
            *(f"{float(row[name]):.4f}" for name in ("order_units", "unit_cost")),
        )
        self.handed_out[proposal_id].add(content)
        if len(self.handed_out[proposal_id]) > 1:
            self.found("ids", f"{proposal_id} stood for {sorted(self.handed_out[proposal_id])}")

    # A run and what must hold after it.

    def run(self, *arguments: str, expected_day: date | None) -> CompletedProcess[str]:
        """Run, and hold the result against everything that must be true of it.

        Args:
            arguments: the command, `run` or `refresh`.
            expected_day: the business day it should come to; None = nobody can say.
        """
        before = recommendations(self.home)
        with self.store() as store:
            committed = [made for state in COMMITTED for made in store.proposals(state=state)]
        answer = self.command(*arguments)
        record = self.records[-1]
        record.runs += 1
        self.check_day(expected_day)
        self.check_supply(committed)
        self.check_ids()
        self.check_states()
        if "unchanged, nothing published" not in answer.stderr:
            self.check_causes(before)
        self.check_stock()
        self.check_reproduced()
        self.check_need()
        self.check_rejected()
        self.check_discontinued()
        return answer

    def found(self, invariant: str, what: str) -> None:
        self.broken[invariant].append(f"{self.day}: {what}")
        if invariant not in self.records[-1].broken:
            self.records[-1].broken.append(invariant)

    def business_day(self) -> date:
        day: date = read(self.home, "select max(as_of_date) as day from marts.fct_stock_position")[0]["day"]
        return day

    def known_until(self) -> datetime:
        """Return the instant before which a run of the latest day counts what happened: the day it runs on counts."""
        return self.world.at(self.business_day() + timedelta(days=2), 0)

    def check_day(self, expected: date | None) -> None:
        self.records[-1].checked.add("business_day")
        if expected is not None and self.business_day() != expected:
            self.found("business_day", f"it is {self.business_day()} in place of {expected}")

    def check_supply(self, committed: Iterable[Proposal]) -> None:
        """Hold what counts as on order against the ERP's open lines and the committed proposals without a line."""
        self.records[-1].checked.add("supply")
        with self.store() as store:
            ended = {made.proposal_id for made in store.proposals(limit=100_000) if made.state in ENDED}
        expected = Counter(open_units(self.told, self.told_lines.values(), self.known_until()))
        seen = {line["proposal_id"] for line in self.told_lines.values()}
        for made in committed:
            if made.proposal_id not in seen | ended:
                expected[made.sku, made.location_id] += int(made.order_units)
        for key, row in recommendations(self.home).items():
            counted = sum(row[f"on_order_{part}units"] for part in ("", "not_counted_", "doubtful_"))
            if row["status"] != "exception" and counted != expected[key]:
                self.found("supply", f"{key}: {counted} counted, {expected[key]} on order")

    def check_ids(self) -> None:
        self.records[-1].checked.add("ids")
        for row in read(self.home, "select * from reporting.purchase_order_proposals"):
            self.hand_out(row["proposal_id"], row)
            self.records[-1].proposed += row["state"] == "proposed"

    def check_states(self) -> None:
        """Hold the history of every proposal against the steps that are legal.

        What the ERP has done stands, whatever was decided: an order line that appears makes its proposal acknowledged,
        and so does what the ERP is said to hold after a restore. A restore itself puts back what is published.
        """
        self.records[-1].checked.add("states")
        with self.store() as store:
            histories = [(made, store.proposal(made.proposal_id)[1]) for made in store.proposals(limit=100_000)]
        for made, steps in histories:
            before = ""
            for step in steps:
                state = str(step["state"])
                by_the_erp = state in ("exported", "acknowledged") and ERP_DID.search(str(step["reason"]))
                is_legal = state == before or state in LEGAL_STEPS.get(before, ()) or by_the_erp
                if not is_legal and step["author"] != "restore":
                    self.found("states", f"{made.proposal_id} of {made.sku} went from {before or 'nothing'} to {state}")
                before = state

    def check_causes(self, before: dict[Key, Row]) -> None:
        """Hold each changed order against what was published last, and the causes named against the change."""
        self.records[-1].checked.add("causes")
        for key, row in recommendations(self.home).items():
            last = before.get(key)
            if last is None or "exception" in (row["status"], last["status"]):
                continue
            change = row["order_units"] - last["order_units"]
            self.records[-1].changed += change != 0
            if row["previous_order_units"] != last["order_units"] or row["change_units"] != change:
                told = f"{row['previous_order_units']} before, {row['change_units']} more"
                self.found("causes", f"{key}: told {told}; was {last['order_units']}, is {row['order_units']}")
            elif change and abs(sum(told_parts(row["change_reason"])) - float(change)) > 0.5:
                self.found("causes", f"{key}: changed by {change}, told {row['change_reason']!r}")

    def check_stock(self) -> None:
        self.records[-1].checked.add("stock")
        expected = fold(self.told, self.known_until())
        for row in read(self.home, "select sku, location_id, on_hand_units from marts.fct_stock_position"):
            key = row["sku"], row["location_id"]
            if row["on_hand_units"] != expected.get(key, 0):
                self.found("stock", f"{key}: {row['on_hand_units']} on record, {expected.get(key, 0)} by the movements")

    def check_reproduced(self, *days: date) -> None:
        """Make the current decision again, or the latest of each day that is named."""
        self.records[-1].checked.add("reproduced")
        for options in [("--as-of", day.isoformat()) for day in days] or [()]:
            answer = inventorybot(self.home, "reproduce", *options)
            if answer.returncode or not answer.stdout.endswith("\n0 differences\n"):
                self.found("reproduced", f"{options}: {answer.stdout[-500:]}{answer.stderr[-500:]}")

    def archived_days(self) -> list[date]:
        return sorted({date.fromisoformat(path.name[:10]) for path in (self.home / "archive").glob("[!.]*")})

    def check_need(self) -> None:
        """Hold stock and supply of each item, with what is ordered now, against what its shop can sell meanwhile.

        An order covers the days until the one after it can come. What is ordered twice lies far above what is asked for
        in that time, by anybody's forecast: mean, four standard deviations, three tenths for the forecast's error, and
        what the pack and the least order add.
        """
        self.records[-1].checked.add("need")
        rows = recommendations(self.home)
        for item in self.world.items:
            row = rows.get(item.key)
            if row is None or row["status"] != "order":
                continue
            mean = item.daily_units * (row["protection_days"] + 1)
            most = 1.3 * mean + 4 * mean**0.5 + max(item.pack, item.moq)
            position = row["on_hand_units"] + row["on_order_units"] + row["on_order_not_counted_units"]
            if float(position + row["order_units"]) > most:
                self.found(
                    "need", f"{item.key}: {position} and {row['order_units']} more, at most {most:.0f} are needed"
                )

    def check_rejected(self) -> None:
        """Hold each order against the latest rejection of its item, and each supplier's total against its orders."""
        self.records[-1].checked.add("rejected")
        with self.store() as store:
            rejected = sorted(store.proposals(state="rejected", limit=100_000), key=lambda made: made.changed_at)
        standing = {(made.sku, made.location_id): made for made in rejected}
        rows = recommendations(self.home)
        totals: Counter[str] = Counter()
        for key, row in rows.items():
            totals[row["supplier_id"]] += row["order_value"]
            made = standing.get(key)
            if made is None or row["status"] != "order":
                continue
            until, limit = made.rejected_until_date, made.rejected_until_units
            if (until and until <= row["as_of_date"]) or (limit is not None and row["order_units"] > limit):
                self.ended_rejections.add(made.proposal_id)
            if made.proposal_id not in self.ended_rejections:
                self.found("rejected", f"{key}: {row['order_units']} are to be ordered, {made.rejection}")
        for key, row in rows.items():
            if row["supplier_order_value"] != totals[row["supplier_id"]]:
                self.found("rejected", f"{key}: {row['supplier_order_value']} in place of {totals[row['supplier_id']]}")

    def check_nothing_more(self, approved: Iterable[Proposal]) -> None:
        """Hold orders of a second run, between which nothing happened but approvals, against those approvals."""
        rows = recommendations(self.home)
        for made in approved:
            row = rows[made.sku, made.location_id]
            if row["order_units"] > 0:
                units = f"{row['order_units']} more after {made.order_units} were approved"
                self.found("need", f"{made.sku} at {made.location_id}: {units}")

    def back_up(self, file: Path) -> None:
        self.command("store", "backup", str(file))

    def restore(self, file: Path) -> None:
        """Lose the store with all that belongs to it, and fill a new one from a backup; the ERP says what it holds."""
        for path in self.home.glob("online_store.sqlite*"):
            path.unlink()
        self.command("store", "restore", str(file))
        held = [made for made, number in self.orders_of.items() if number not in self.told_lines]
        self.command("proposals", "confirm", *(word for made in held for word in ("--held", made)), "--author", "erp")

    def check_discontinued(self) -> None:
        if not self.discontinued:
            return
        self.records[-1].checked.add("discontinued")
        for key, row in recommendations(self.home).items():
            if key[0] in self.discontinued and row["status"] == "order":
                self.found("discontinued", f"{key}: {row['order_units']} are to be ordered")

    def check_correction(self, twin: Path) -> None:
        self.records[-1].checked.add("correction")
        for relation, query in COMPARED.items():
            mine, theirs = (set(map(repr, read(home, query))) for home in (self.home, twin))
            apart = sorted(mine ^ theirs)
            if apart:
                self.found("correction", f"{relation}: {len(apart)} rows differ, as {apart[:2]}")

    def table(self) -> str:
        """Return what each day came to, and how many of the invariants held."""
        header = ["day", "runs", "proposed", "approved", "rejected", "exported", "acknowledged", "received", "changed"]
        rows = [
            [
                *(f"{record.day:%a %d %b}", record.runs, record.proposed, record.approved, record.rejected),
                *(record.exported, record.acknowledged, record.received, record.changed),
                f"{len(record.checked) - len(record.broken)} of {len(record.checked)}",
                ", ".join(record.broken),
            ]
            for record in self.records
        ]
        texts = [[*header, "held", "not held"], *([str(cell) for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
        lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in texts]
        return "\n".join(lines)


def told_parts(text: str | None) -> list[float]:
    """Return the signed figures that a sentence names as causes of a change."""
    causes = (text or "").partition(": ")[2]
    return [float(figure.replace("−", "-")) for figure in re.findall(r"[+−]\d+(?:\.\d+)?", causes)]


COMPARED = {
    "marts.fct_daily_stock": "select * from marts.fct_daily_stock",
    "marts.fct_daily_demand": "select * from marts.fct_daily_demand",
    "marts.fct_stock_position": "select * from marts.fct_stock_position",
    "marts.fct_open_orders": "select * exclude (proposal_id) from marts.fct_open_orders",
    "marts.fct_replenishment_terms": "select * from marts.fct_replenishment_terms",
    "reporting.fct_demand_forecasts": "select * from reporting.fct_demand_forecasts",
    "reporting.restock_order_steps": "select * from reporting.restock_order_steps",
    "reporting.restock_recommendations": """
        select * exclude (previous_decided_date, previous_order_units, change_units, change_reason)
        from reporting.restock_recommendations
    """,
    "reporting.purchase_order_proposals": """
        select * exclude (proposal_id, decided_until) from reporting.purchase_order_proposals
    """,
}


def copied(home: Path, copy: Path) -> Path:
    """Copy a home; links of the copy stay inside it."""
    shutil.copytree(home, copy, symlinks=True)
    return copy
