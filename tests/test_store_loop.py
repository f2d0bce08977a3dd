"""Proposing, deciding, ordering, receiving in any order: each need is counted once, each id names one order."""

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from serving.store import Acknowledgement, Decision, Outbox, Store, why_ended
from serving.store.proposals import COMMITTED, MOVES, STATES

ITEMS = ("CUP", "JUG", "MUG")
LEVELS = (0, 30, 60, 90)
Item = str


@dataclass
class ErpLine:
    """A purchase order line in the ERP."""

    proposal_id: str
    sku: Item
    ordered: int
    received: int = 0
    is_cancelled: bool = False
    is_sent: bool = False

    @property
    def is_open(self) -> bool:
        return not self.is_cancelled and self.received < self.ordered


@dataclass
class World:
    """What is outside the store: need, stock that came, the ERP's orders."""

    level: dict[Item, int] = field(default_factory=lambda: dict.fromkeys(ITEMS, 0))
    stock: dict[Item, int] = field(default_factory=lambda: dict.fromkeys(ITEMS, 0))
    handed: dict[str, tuple[Item, int]] = field(default_factory=dict)
    lines: dict[str, ErpLine] = field(default_factory=dict)


class Loop(RuleBasedStateMachine):
    """Runs, planners, an ERP and a restore, in any order."""

    url: str
    folder: Path
    empty: Path

    def __init__(self) -> None:
        super().__init__()
        self.path = self.folder / f"{uuid4()}.sqlite"
        shutil.copy(self.empty, self.path)
        self.store = Store.open(f"sqlite:///{self.path}")
        self.world, self.day = World(), date(2011, 3, 1)
        self.names: dict[str, tuple[Any, ...]] = {}
        self.states: dict[str, str] = {}
        self.looked: tuple[int, list[str], dict[str, str], list[dict[str, Any]]] | None = None

    def teardown(self) -> None:
        self.store.close()
        self.path.unlink()

    # What a run does, in two parts: others may come between.
    @rule(days=st.sampled_from([0, 0, 1, 3]), wanted=st.dictionaries(st.sampled_from(ITEMS), st.sampled_from(LEVELS)))
    def look(self, days: int, wanted: dict[Item, int]) -> None:
        """A run begins: it nets the need against stock, lines it has seen and proposals without one."""
        self.day += timedelta(days=days)
        self.world.level |= wanted
        known = {line.proposal_id: line for line in self.world.lines.values() if line.is_sent}
        found = self.store.open_orders()
        counted = [
            made for made in found.proposals if made.proposal_id not in known and why_ended(made, self.day) is None
        ]
        supply = dict(self.world.stock)
        for line in known.values():
            supply[line.sku] += line.ordered - line.received if line.is_open else 0
        for made in counted:
            supply[made.sku] += int(made.coming_units)
        lines = [
            {
                "sku": sku,
                "location_id": "N",
                "supplier_id": "ACME",
                "order_units": level - supply[sku],
                "expires_date": self.day + timedelta(days=5),
                "expected_date": self.day + timedelta(days=9),
            }
            for sku, level in sorted(self.world.level.items())
            if level > supply[sku]
        ]
        orders = {proposal_id: f"PO-{proposal_id}:1" for proposal_id in known}
        self.looked = found.version, [made.proposal_id for made in counted], orders, lines

    @precondition(lambda self: self.looked is not None)
    @rule(is_approved_meanwhile=st.booleans())
    def publish(self, is_approved_meanwhile: bool) -> None:
        """The run ends; what it proposes and what was decided while it worked never cover the need twice."""
        assert self.looked is not None
        if is_approved_meanwhile:
            undecided = [made.proposal_id for made in self.store.proposals(state="proposed")]
            self.store.decide_proposals(
                undecided, "approved", event_ids=[str(uuid4()) for _ in undecided], author="ann"
            )
        version, counted, orders, lines = self.looked
        self.looked = None
        announced = self.store.announce_proposals(self.day, lines, seen_version=version, counted=counted)
        assert announced is not None
        ended = {
            proposal_id: "cancelled" if line.is_cancelled else "received"
            for proposal_id, line in self.world.lines.items()
            if proposal_id in orders and not line.is_open
        }
        fence = self.store.claim("generation", "run")
        outbox = Outbox(self.day, lines, version, orders, ended, counted=counted)
        report = self.store.publish("generation", fence, f"g{fence}", {}, outbox)
        assert set(report.proposed + report.unchanged) == set(announced.ids.values())
        undecided = self.store.proposals(state="proposed")
        wanted = {line["sku"]: line["order_units"] for line in lines}
        assert all(made.order_units == wanted[made.sku] for made in undecided)
        # Beside an undecided proposal stands only what the run had counted or seen.
        committed = {made.sku for made in self.store.open_orders().proposals if made.proposal_id not in counted}
        assert committed.isdisjoint(made.sku for made in undecided)
        assert all(made.state in COMMITTED for made in self.store.open_orders().proposals)

    @rule(data=st.data(), decision=st.sampled_from(["approved", "approved", "rejected", "cancelled"]))
    def decide(self, data: st.DataObject, decision: str) -> None:
        """A planner decides on any proposals; one that may not be so leaves all as they are."""
        made = self.store.proposals()
        if not made:
            return
        chosen = data.draw(st.lists(st.sampled_from([each.proposal_id for each in made]), max_size=3, unique=True))
        events = [str(uuid4()) for _ in chosen]
        outcomes = self.store.decide_proposals(chosen, decision, event_ids=events, author="ann", reason="so")
        before = {each.proposal_id: each.state for each in made}
        if any(outcome.is_refused for outcome in outcomes):
            assert {each.proposal_id: each.state for each in self.store.proposals()} == before
        else:
            assert all(
                outcome.is_known or self.store.proposal(outcome.proposal_id)[0].state == decision
                for outcome in outcomes
            )

    @rule(data=st.data(), units=st.sampled_from([6, 50, 200]))
    def adjust(self, data: st.DataObject, units: int) -> None:
        """A planner approves other units than are proposed."""
        undecided = self.store.proposals(state="proposed")
        if not undecided:
            return
        made = data.draw(st.sampled_from(undecided))
        said = Decision(made.proposal_id, "approved", str(uuid4()), "bob", order_units=Decimal(units))
        (outcome,) = self.store.decide([said])
        if not outcome.is_refused:
            assert self.store.proposal(made.proposal_id)[0].coming_units == units

    @rule()
    def export(self) -> None:
        """The ERP pulls, and keeps one order per id."""
        for made in self.store.pull_proposals(author="erp"):
            content = (made.sku, int(made.final_units))
            assert self.world.handed.setdefault(made.proposal_id, content) == content

    def _handed(self, condition: Callable[[str], bool]) -> list[str]:
        return sorted(named for named in self.world.handed if condition(named))

    @rule(data=st.data(), units=st.sampled_from([None, None, 10, 100, 0]))
    def acknowledge(self, data: st.DataObject, units: int | None) -> None:
        """The ERP sends its order number, with other units or none."""
        waiting = self._handed(
            lambda named: (
                named not in self.world.lines and self.store.proposal(named)[0].state in ("exported", "acknowledged")
            )
        )
        if waiting:
            named = data.draw(st.sampled_from(waiting))
            number = None if units == 0 else f"PO-{named}"
            said = Acknowledgement(named, number, None if units is None else Decimal(units))
            (outcome,) = self.store.acknowledge_proposals([said], author="erp")
            assert not outcome.is_refused
            made, _ = self.store.proposal(named)
            assert made.state == ("cancelled" if units == 0 else "acknowledged")
            assert units == 0 or made.coming_units == (units or made.final_units)

    @rule()
    def learn_withdrawals(self) -> None:
        """The ERP says that it knows what was withdrawn."""
        told = [Acknowledgement(made.proposal_id, None, Decimal(0)) for made in self.store.withdrawn_proposals()]
        assert not any(outcome.is_refused for outcome in self.store.acknowledge_proposals(told, author="erp"))
        assert self.store.withdrawn_proposals() == []

    @rule(data=st.data())
    def order(self, data: st.DataObject) -> None:
        """The ERP makes an order line of what it was handed and nobody has taken back."""
        waiting = self._handed(
            lambda named: (
                named not in self.world.lines and self.store.proposal(named)[0].state in ("exported", "acknowledged")
            )
        )
        if waiting:
            named = data.draw(st.sampled_from(waiting))
            sku, _ = self.world.handed[named]
            self.world.lines[named] = ErpLine(named, sku, int(self.store.proposal(named)[0].coming_units))

    @rule()
    def send(self) -> None:
        """The ERP's lines arrive; the next run sees them."""
        for line in self.world.lines.values():
            line.is_sent = True

    @rule(data=st.data(), share=st.sampled_from([0.4, 1.0]), is_cancelled=st.booleans())
    def receive(self, data: st.DataObject, share: float, is_cancelled: bool) -> None:
        """Some of a line that was sent is received, or the rest of it cancelled."""
        waiting = sorted(named for named, line in self.world.lines.items() if line.is_open and line.is_sent)
        if not waiting or self.looked is not None:
            return
        line = self.world.lines[data.draw(st.sampled_from(waiting))]
        if is_cancelled:
            line.is_cancelled = True
        else:
            units = max(1, int((line.ordered - line.received) * share))
            line.received += units
            self.world.stock[line.sku] += units

    @precondition(lambda self: self.looked is None)
    @rule()
    def restore(self) -> None:
        """The store is lost and its backup of this moment restored."""
        backup = self.path.with_suffix(".backup")
        self.store.backup(backup)
        self.store.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        Store.restore(backup, f"sqlite:///{self.path}")
        backup.unlink()
        self.store = Store.open(f"sqlite:///{self.path}")
        self.store.confirm_restored(author="ann")

    @invariant()
    def an_id_names_one_order(self) -> None:
        """Item, supplier, units and cost of an id never change."""
        for made in self.store.proposals():
            content = (made.sku, made.location_id, made.supplier_id, made.order_units, made.unit_cost)
            assert self.names.setdefault(made.proposal_id, content) == content

    @invariant()
    def states_are_legal(self) -> None:
        """Each step of a history is one that `MOVES` allows, or an order line that appeared."""
        for made in self.store.proposals():
            assert made.state in STATES
            if self.states.get(made.proposal_id) == made.state:
                continue
            self.states[made.proposal_id] = made.state
            steps = [step["state"] for step in self.store.proposal(made.proposal_id)[1]]
            assert steps[0] == "proposed"
            assert steps[-1] == made.state
            for before, after in itertools.pairwise(steps):
                assert after == "acknowledged" or after in MOVES[before]

    @invariant()
    def a_line_and_its_proposal_never_count_both(self) -> None:
        """What has its line is no open order of the store."""
        assert not any(made.has_order_line for made in self.store.open_orders().proposals)

    @invariant()
    def what_the_erp_may_still_order_and_should_not_is_withdrawn(self) -> None:
        """Whatever was handed out stands, has its line, is withdrawn, or the ERP knows of its end."""
        withdrawn = {made.proposal_id for made in self.store.withdrawn_proposals()}
        for made in self.store.proposals():
            stands = made.state in ("exported", "acknowledged", "received") or made.has_order_line
            is_loose = made.exported_at is not None and not stands and made.withdrawn_at is None
            assert (made.proposal_id in withdrawn) == is_loose

    @invariant()
    def no_item_has_two_undecided_orders(self) -> None:
        """An item is proposed once at a time."""
        undecided = [made.sku for made in self.store.proposals(state="proposed")]
        assert len(undecided) == len(set(undecided))


def _run(folder: Path, empty: Path, examples: int, steps: int) -> None:
    class Here(Loop):
        pass

    Here.folder, Here.empty = folder, empty
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )


def test_in_any_order_each_need_is_counted_once_and_each_id_names_one_order(tmp_path: Path, empty_store: Path) -> None:
    _run(tmp_path, empty_store, examples=12, steps=25)


@pytest.mark.deep
def test_in_many_orders_each_need_is_counted_once_and_each_id_names_one_order(
    tmp_path: Path, empty_store: Path
) -> None:
    _run(tmp_path, empty_store, examples=400, steps=40)


@pytest.mark.parametrize("approved", [48, 36, 60])
def test_the_same_need_is_ordered_once_from_proposal_to_partial_receipt(store: Store, approved: int) -> None:
    need = Decimal(48)
    day = date(2011, 3, 1)
    line: dict[str, Any] = {"sku": "MUG", "location_id": "N", "supplier_id": "ACME"}
    on_order: dict[str, Decimal] = {}
    stock = Decimal(0)

    def run() -> list[Decimal]:
        """Order what neither stock, lines nor proposals cover; return what stands proposed."""
        nonlocal day
        day += timedelta(days=1)
        found = store.open_orders()
        counted = [made for made in found.proposals if made.proposal_id not in on_order]
        left = need - stock - sum(on_order.values()) - sum(made.coming_units for made in counted)
        fence = store.claim("generation", "run")
        lines = [line | {"order_units": left}] if left > 0 else []
        orders = dict.fromkeys(on_order, "PO-7:1")
        ids = [made.proposal_id for made in counted]
        store.publish("generation", fence, f"g{fence}", {}, Outbox(day, lines, found.version, orders, counted=ids))
        return [made.order_units for made in store.proposals(state="proposed")]

    assert run() == [48]
    assert run() == [48]
    (proposal_id,) = [made.proposal_id for made in store.proposals()]
    store.decide([Decision(proposal_id, "approved", "a", "ann", order_units=Decimal(approved))])
    # The planner knows better what is needed; else a run would order what was left out.
    need += approved - 48
    assert run() == []
    store.pull_proposals(author="erp")
    assert run() == []
    store.acknowledge_proposal(proposal_id, "PO-7", author="erp")
    assert run() == []
    on_order[proposal_id] = Decimal(approved)
    assert run() == []
    on_order[proposal_id], stock = Decimal(approved - 12), Decimal(12)
    assert run() == []
    need += 6
    assert run() == [6]
