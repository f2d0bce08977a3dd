"""Live stock: always the fold of everything known, whatever came in which order, through which channel."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from shutil import copy, rmtree
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import event as sqlalchemy_event

from serving.store import Store, StoreError, fold

START = datetime(2011, 3, 1, tzinfo=UTC)
ITEM = ("MUG", "NORTH")
SIGN = {"sale": -1, "receipt": 1, "count": 1}


def without_syncs(store: Store) -> Store:
    """Let a store that a property test throws away skip the disk, which would take most of the time."""
    engine = store._database.engine
    sqlalchemy_event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    engine.dispose()
    return store


def movement(document: str, units: Any, hour: float, kind: str = "sale", **fields: Any) -> dict[str, Any]:
    return {
        "source": "wms",
        "document": document,
        "line": 1,
        "revision": 0,
        "occurred_at": START + timedelta(hours=hour),
        "sku": ITEM[0],
        "location_id": ITEM[1],
        "movement_type": kind,
        "quantity_units": Decimal(units),
        **fields,
    }


def on_hand(store: Store, item: tuple[str, str] = ITEM) -> Decimal:
    live = store.live_stock(*item)
    assert live is not None
    return live.on_hand_units


def test_an_unknown_item_has_no_stock(store):
    assert store.live_stock("NONE", "NORTH") is None


def test_stock_is_the_sum_of_movements(store):
    store.append([movement("r", 10, 0, "receipt"), movement("s", "-2.125", 1)], source="api")
    assert on_hand(store) == Decimal("7.875")


def test_stock_may_be_negative(store):
    store.append([movement("s", -2, 1)], source="api")
    assert on_hand(store) == -2


def test_a_count_sets_the_stock_at_its_instant(store):
    store.append([movement("r", 10, 0, "receipt"), movement("c", 4, 1, "count"), movement("s", -1, 2)], source="api")
    assert on_hand(store) == 3
    assert store.live_stock(*ITEM).counted_at == START + timedelta(hours=1)


def test_a_count_ranks_after_movements_of_its_instant(store):
    store.append([movement("c", 4, 1, "count")], source="api")
    store.append([movement("s", -1, 1)], source="api")
    assert on_hand(store) == 4


def test_a_back_dated_count_lets_later_movements_stand(store):
    store.append([movement("r", 10, 0, "receipt"), movement("s", -3, 5)], source="api")
    store.append([movement("c", 6, 2, "count")], source="api")
    assert on_hand(store) == 3


def test_a_back_dated_movement_before_the_last_count_changes_nothing(store):
    store.append([movement("c", 6, 2, "count")], source="api")
    store.append([movement("s", -3, 1)], source="api")
    assert on_hand(store) == 6


def test_a_count_between_two_late_sales_holds_one_of_them_back(store):
    store.append([movement("r", 10, 0, "receipt")], source="api")
    store.append([movement("s2", -2, 3), movement("c", 8, 2, "count"), movement("s1", -2, 1)], source="api")
    assert on_hand(store) == 6


def test_of_two_counts_at_one_instant_the_later_identity_stands(store):
    store.append([movement("c2", 5, 1, "count"), movement("c1", 9, 1, "count")], source="api")
    assert on_hand(store) == 5


def test_lines_of_one_document_at_one_instant_add_up(store):
    store.append([movement("c", 15, 1, "count"), movement("c", 25, 1, "count", line=2)], source="api")
    assert on_hand(store) == 40
    store.append([movement("c", 38, 1.5, "count", line=3)], source="api")
    assert on_hand(store) == 38


def test_a_count_of_one_lot_leaves_what_is_on_record_of_the_others(store):
    store.append([movement("r", 60, 0, "receipt")], source="api")
    lots = [movement("c", 15, 1, "count", lot_id="L1"), movement("c", 25, 1.1, "count", line=2, lot_id="L2")]
    store.append(lots, source="api")
    assert on_hand(store) == 40
    store.append([movement("d", 12, 24, "count", lot_id="L1"), movement("s", -2, 25)], source="api")
    assert (on_hand(store), store.live_stock(*ITEM).is_settled) == (35, True)


def test_what_a_counted_lot_lacks_was_sold_without_a_lot_before_it_is_missing(store):
    came = [movement("r", 38, 0, "receipt", lot_id="L1"), movement("r", 50, 0, "receipt", line=2, lot_id="L2")]
    store.append([*came, movement("s", -30, 1), movement("c", 8, 24, "count", lot_id="L1")], source="api")
    assert on_hand(store) == 58
    store.append([movement("d", 45, 48, "count", lot_id="L2")], source="api")
    assert on_hand(store) == 53


def test_lots_of_one_stocktake_share_what_was_sold_without_a_lot(store):
    lots = [movement("c", 40, 0, "count", line=number, lot_id=f"L{number}") for number in (1, 2, 3)]
    store.append([*lots, movement("s", -30, 1)], source="api")
    store.append([movement("d", 20, 24, "count", lot_id="L1")], source="api")
    assert on_hand(store) == 90
    store.append([movement("d", 20, 25, "count", line=2, lot_id="L2")], source="api")
    assert on_hand(store) == 80
    # Counted again: as if the line before had not been.
    store.append([movement("d", 30, 26, "count", line=3, lot_id="L2")], source="api")
    assert on_hand(store) == 90


def test_a_check_that_a_lot_is_gone_leaves_the_next_one(store):
    came = [movement("r", 10, 0, "receipt", lot_id="L1"), movement("r", 10, 2, "receipt", line=2, lot_id="L2")]
    store.append([*came, movement("s", -10, 1), movement("c", 0, 24, "count", lot_id="L1")], source="api")
    assert on_hand(store) == 10


def test_a_stocktake_finds_no_more_than_all_lots_have_on_record(store):
    lots = [movement("c", 100, 1, "count", lot_id="L1"), movement("c", 100, 1, "count", line=2, lot_id="L2")]
    store.append([*lots, movement("s", -125, 24), movement("d", 75, 48, "count", lot_id="L2")], source="api")
    assert on_hand(store) == 75


def test_a_count_of_a_lot_beside_published_lots_waits_for_the_next_publication(store):
    by_file = [movement("f", 15, 1, "count", source="file", lot_id="L1")]
    by_file.append(movement("f", 25, 1, "count", source="file", line=2, lot_id="L2"))
    store.rebase_stock(published(store, by_file))
    count = movement("d", 12, 24, "count", lot_id="L1")
    store.append([count, movement("s", -2, 25)], source="api")
    assert not store.live_stock(*ITEM).is_settled
    store.rebase_stock(published(store, [*by_file, count]))
    assert (on_hand(store), store.live_stock(*ITEM).is_settled) == (35, True)


def test_a_count_of_a_lot_leaves_the_published_lots_that_were_not_counted(store):
    by_file = [movement("f", 15, 1, "receipt", source="file", lot_id="L1")]
    by_file.append(movement("f", 25, 1, "receipt", source="file", line=2, lot_id="L2"))
    store.append([movement("a", -1, 2)], source="api")
    store.rebase_stock(published(store, by_file))
    assert on_hand(store) == 39
    store.append([movement("d", 15, 24, "count", lot_id="L1")], source="api")
    assert on_hand(store) == 39
    store.append([movement("s", -2, 25)], source="api")
    assert on_hand(store) == 37
    # More of one lot than was expected of the whole item is there all the same.
    store.append([movement("e", 50, 26, "count", lot_id="L1")], source="api")
    assert on_hand(store) == 50


def test_a_count_of_a_lot_after_a_count_of_the_item_leaves_the_rest(store):
    by_file = [movement("f", 40, 1, "receipt", source="file", lot_id="L1")]
    store.rebase_stock(published(store, by_file))
    store.append([movement("w", 30, 10, "count"), movement("s", -3, 11)], source="api")
    store.append([movement("d", 5, 24, "count", lot_id="L1")], source="api")
    assert on_hand(store) == 27


lots_that_move = st.lists(
    st.tuples(st.sampled_from(["L1", "L2", "L3"]), st.sampled_from(["receipt", "sale", "count"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(moves=lots_that_move)
def test_a_count_that_finds_what_is_on_record_of_a_lot_changes_nothing(empty_store, tmp_path_factory, moves):
    url = f"sqlite:///{copy(empty_store, tmp_path_factory.mktemp('lots'))}"
    by_file = [movement(f"R{lot}", 10, 0, "receipt", source="file", lot_id=lot) for lot in ("L1", "L2", "L3")]
    records = dict.fromkeys(("L1", "L2", "L3"), 10)
    with without_syncs(Store.open(url)) as store:
        store.append([movement("first", -1, 1, lot_id="L1")], source="api")
        records["L1"] -= 1
        store.rebase_stock(published(store, by_file))
        for number, (lot, kind) in enumerate(moves):
            hour = 2 + number
            if kind == "count":
                store.append([movement(f"D{number}", records[lot], hour, "count", lot_id=lot)], source="api")
            elif kind == "receipt" or records[lot] > 0:
                units = 4 if kind == "receipt" else -1
                records[lot] += units
                store.append([movement(f"D{number}", units, hour, kind, lot_id=lot)], source="api")
            assert on_hand(store) == sum(records.values())


def test_a_correction_replaces_what_it_corrects(store):
    store.append([movement("s", -2, 1)], source="api")
    store.append([movement("s", -5, 1, revision=1)], source="api")
    assert on_hand(store) == -5


def test_a_correction_that_comes_first_is_not_undone_by_the_original(store):
    store.append([movement("s", -5, 1, revision=1)], source="api")
    store.append([movement("s", -2, 1)], source="api")
    assert on_hand(store) == -5


def test_a_corrected_sku_moves_the_units_to_the_other_item(store):
    store.append([movement("s", -2, 1)], source="api")
    store.append([movement("s", -2, 1, revision=1, sku="CUP")], source="api")
    assert (on_hand(store), on_hand(store, ("CUP", "NORTH"))) == (0, -2)


def test_a_count_corrected_into_a_movement_gives_the_stock_back(store):
    store.append([movement("r", 10, 0, "receipt"), movement("x", 3, 1, "count")], source="api")
    store.append([movement("x", 3, 1, "receipt", revision=1)], source="api")
    assert on_hand(store) == 13


def test_a_cancelled_document_leaves_no_ghost_balance(store):
    sale = [movement("INV", -4, 1), movement("INV", -6, 1, line=2, sku="CUP")]
    back = [
        movement("INV-C", 4, 2, "cancellation", reference="wms:INV:1"),
        movement("INV-C", 6, 2, "cancellation", line=2, sku="CUP", reference="wms:INV:2"),
    ]
    store.append([*back, *sale], source="api")
    assert (on_hand(store), on_hand(store, ("CUP", "NORTH"))) == (0, 0)


def test_a_document_posted_twice_under_two_ids_counts_once(store):
    store.append([movement("INV", -4, 1, event_id="a")], source="api")
    assert store.append([movement("INV", -4, 1, event_id="b")], source="api").duplicate == 1
    assert on_hand(store) == -4


def test_a_transfer_leaves_the_total_unchanged(store):
    store.append(
        [movement("T", -4, 1, "transfer_out"), movement("T", 4, 2, "transfer_in", line=2, location_id="SOUTH")],
        source="api",
    )
    assert [live.on_hand_units for live in store.live_stocks()] == [-4, 4]
    assert [live.location_id for live in store.live_stocks("SOUTH")] == ["SOUTH"]


def test_the_watermark_is_the_head_of_the_log(store):
    store.append([movement("a", 1, 0, "receipt")], source="api")
    store.append([movement("b", 1, 0, "receipt", sku="CUP")], source="api")
    assert store.live_stock(*ITEM).sequence == store.head()[0] == 2


@pytest.mark.parametrize("seed", range(10))
def test_redelivery_in_any_order_gives_the_same_stock(store, seed):
    _redeliver(store, seed, documents=120, largest_batch=40)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(50))
def test_redelivery_of_thousands_of_events_gives_the_same_stock(store, seed):
    _redeliver(without_syncs(store), seed, documents=4_000, largest_batch=1_000)


def _redeliver(store: Store, seed: int, *, documents: int, largest_batch: int) -> None:
    """Deliver a history, a fourth of it corrected once, 1 to 5 times over in any order and in batches of any size."""
    rng = Random(seed)
    history = _history(rng, documents)
    deliveries = [event for event in history for _ in range(rng.randint(1, 5))]
    rng.shuffle(deliveries)
    accepted = 0
    while deliveries:
        size = rng.randint(1, largest_batch)
        accepted += store.append(deliveries[:size], source="api").accepted
        del deliveries[:size]
    assert accepted == len(history)
    _assert_equals_fold(store, history)
    assert store.verify().is_whole


def _history(rng: Random, size: int) -> list[dict[str, Any]]:
    events = []
    for number in range(size):
        kind = rng.choice(["sale", "sale", "sale", "receipt", "adjustment", "count"])
        units = rng.randint(1, 9) * SIGN.get(kind, rng.choice([-1, 1]))
        sku, location_id = rng.choice(["MUG", "CUP", "JUG"]), rng.choice(["NORTH", "SOUTH"])
        hour = rng.randint(0, 40)
        for revision in range(rng.choice([1, 1, 1, 2])):
            fields = {"sku": sku, "location_id": location_id, "revision": revision, "line": number % 3}
            events.append(movement(f"D{number}", units * (1 + revision), hour, kind, **fields))
    return events


def _assert_equals_fold(store: Store, history: list[dict[str, Any]]) -> None:
    items = {(event["sku"], event["location_id"]) for event in history}
    highest: dict[Any, dict[str, Any]] = {}
    for event in sorted(history, key=lambda event: event["revision"]):
        highest[event["source"], event["document"], event["line"]] = event
    for item in items:
        events = [event for event in highest.values() if (event["sku"], event["location_id"]) == item]
        assert on_hand(store, item) == fold(events)


class StockMachine(RuleBasedStateMachine):
    """People and systems at work, in any order, with clocks that run late."""

    def __init__(self, empty_store: Path, folder: Path) -> None:
        super().__init__()
        self.folder = mkdtemp(dir=folder)
        self.store = without_syncs(Store.open(f"sqlite:///{copy(empty_store, self.folder)}"))
        self.history: list[dict[str, Any]] = []

    hours = st.integers(0, 12)
    skus = st.sampled_from(["MUG", "CUP"])
    units = st.integers(1, 20)

    def post(self, *events: dict[str, Any]) -> None:
        assert self.store.append(events, source="api").accepted == len(events)
        self.history.extend(events)

    @property
    def document(self) -> str:
        return f"D{len(self.history)}"

    @rule(sku=skus, units=units, hour=hours)
    def receive(self, sku: str, units: int, hour: int) -> None:
        self.post(movement(self.document, units, hour, "receipt", sku=sku))

    @rule(sku=skus, units=units, hour=hours)
    def sell(self, sku: str, units: int, hour: int) -> None:
        self.post(movement(self.document, -units, hour, sku=sku))

    @rule(sku=skus, units=units, hour=hours, late=hours)
    def transfer(self, sku: str, units: int, hour: int, late: int) -> None:
        self.post(
            movement(self.document, -units, hour, "transfer_out", sku=sku),
            movement(self.document, units, hour + late, "transfer_in", sku=sku, line=2, location_id="SOUTH"),
        )

    @rule(sku=skus, units=st.integers(0, 20), hour=hours)
    def count(self, sku: str, units: int, hour: int) -> None:
        self.post(movement(self.document, units, hour, "count", sku=sku))

    @rule(sku=skus, hour=hours, parts=st.lists(st.tuples(units, st.sampled_from([None, "L1", "L2"])), max_size=3))
    def count_in_parts(self, sku: str, hour: int, parts: list[tuple[int, str | None]]) -> None:
        lines = enumerate(parts, start=1)
        document = self.document
        self.post(*(movement(document, n, hour, "count", sku=sku, line=line, lot_id=lot) for line, (n, lot) in lines))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        sales = [event for event in self.history if event["movement_type"] == "sale"]
        if sales:
            sale = data.draw(st.sampled_from(sales))
            reference = f"{sale['source']}:{sale['document']}:{sale['line']}"
            undone = {**sale, "document": self.document, "movement_type": "cancellation", "reference": reference}
            undone |= {"revision": 0, "quantity_units": -sale["quantity_units"]}
            self.post({**undone, "occurred_at": sale["occurred_at"] + timedelta(hours=data.draw(self.hours))})

    @rule(data=st.data(), hour=hours, units=units)
    def correct(self, data: st.DataObject, hour: int, units: int) -> None:
        if self.history:
            event = data.draw(st.sampled_from(self.history))
            key = ("source", "document", "line")
            revisions = [other["revision"] for other in self.history if all(other[name] == event[name] for name in key)]
            self.post({**event, "revision": max(revisions) + 1, "occurred_at": START + timedelta(hours=hour)})

    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        if self.history:
            event = data.draw(st.sampled_from(self.history))
            assert self.store.append([event], source="api").duplicate == 1

    @invariant()
    def stock_is_the_fold(self) -> None:
        _assert_equals_fold(self.store, self.history)

    def teardown(self) -> None:
        self.store.close()
        rmtree(self.folder)


def _run_machine(empty_store: Path, folder: Path, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        lambda: StockMachine(empty_store, folder),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_live_stock_is_the_fold_after_every_step(empty_store, tmp_path):
    _run_machine(empty_store, tmp_path, examples=50, steps=30)


@pytest.mark.deep
def test_live_stock_is_the_fold_after_every_step_of_long_histories(empty_store, tmp_path):
    _run_machine(empty_store, tmp_path, examples=200, steps=50)


# What came by file or SQL source reaches live stock with the next publication.


def published(store: Store, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what a publisher hands over: per item the fold of what did not come from the store."""
    rows = []
    for item in sorted({(event["sku"], event["location_id"]) for event in events}):
        own = [event for event in events if (event["sku"], event["location_id"]) == item]
        counts = [event["occurred_at"] for event in own if event["movement_type"] == "count"]
        rows.append(
            {
                "sku": item[0],
                "location_id": item[1],
                "on_hand_units": fold(own),
                "counted_at": max(counts, default=None),
                "last_occurred_at": max(event["occurred_at"] for event in own),
            }
        )
    return rows


def test_published_stock_and_ledger_add_up(store):
    store.append([movement("s", -2, 5)], source="api")
    assert store.rebase_stock(published(store, [movement("f", 10, 1, "receipt", source="file")])) == 1
    assert on_hand(store) == 8
    store.append([movement("s2", -1, 6)], source="api")
    assert on_hand(store) == 7


def test_publishing_the_same_again_changes_nothing(store):
    rows = published(store, [movement("f", 10, 1, "receipt", source="file")])
    store.rebase_stock(rows)
    assert store.rebase_stock(rows) == 0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"sku": "MUG", "location_id": "NORTH", "on_hand_units": 1.5, "last_occurred_at": START}], "float"),
        ([{"sku": "MUG", "location_id": "NORTH", "on_hand_units": 1, "last_occurred_at": START}] * 2, "twice"),
    ],
)
def test_malformed_published_stock_is_refused(store, rows, words):
    with pytest.raises(StoreError, match=words):
        store.rebase_stock(rows)


def test_an_item_that_is_published_no_longer_is_gone(store):
    store.rebase_stock(published(store, [movement("f", 10, 1, "receipt", source="file")]))
    store.rebase_stock([])
    assert store.live_stock(*ITEM) is None


def test_a_live_count_after_all_published_movements_replaces_them(store):
    store.rebase_stock(published(store, [movement("f", 10, 1, "receipt", source="file")]))
    store.append([movement("c", 4, 2, "count")], source="api")
    assert on_hand(store) == 4


def test_a_live_count_before_published_movements_is_unsettled_without_a_reader(store):
    rows = published(store, [movement("f", 10, 5, "receipt", source="file")])
    store.rebase_stock(rows)
    store.append([movement("c", 4, 2, "count")], source="api")
    assert not store.live_stock(*ITEM).is_settled
    store.rebase_stock(published(store, [movement("f", 10, 1, "receipt", source="file")]))
    assert (store.live_stock(*ITEM).is_settled, on_hand(store)) == (True, 4)


histories = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(["sale", "receipt", "count"]),
        st.integers(1, 9),
        # Counts of two channels at one instant have no order that both sides know: the instants are kept apart.
        st.integers(0, 8),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(history=histories, publish_after=st.sets(st.integers(0, 13)))
def test_live_stock_is_the_fold_of_both_doors_after_a_publication(
    empty_store, tmp_path_factory, history, publish_after
):
    events = [
        movement(f"D{n}", units * SIGN[kind], 2 * hour + by_file, kind, source="file" if by_file else "wms")
        for n, (by_file, kind, units, hour) in enumerate(history)
    ]
    by_file: list[dict[str, Any]] = []
    known_by_file: list[dict[str, Any]] = []

    def units_after(sku: str, location_id: str, instant: datetime) -> Decimal:
        after = [event for event in known_by_file if event["occurred_at"] > instant]
        return sum((event["quantity_units"] for event in after), Decimal(0))

    url = f"sqlite:///{copy(empty_store, tmp_path_factory.mktemp('stock'))}"
    with without_syncs(Store.open(url, published_units_after=units_after)) as store:
        for number, event in enumerate(events):
            if event["source"] == "file":
                by_file.append(event)
            else:
                store.append([event], source="api")
            if number in publish_after:
                known_by_file = list(by_file)
                store.rebase_stock(published(store, by_file))
        known_by_file = list(by_file)
        store.rebase_stock(published(store, by_file))
        assert on_hand(store) == fold(events)
        assert store.live_stock(*ITEM).is_settled


def test_a_sale_that_arrives_after_a_count_of_lots_at_its_instant_takes_from_them(store):
    store.append([movement("C1", 1, 1, "count", lot_id="L1")], source="api")
    store.append([movement("C0", 1, 0, "count", lot_id="L2")], source="api")
    assert on_hand(store) == 2
    store.append([movement("S", -1, 1)], source="api")
    assert on_hand(store) == 1


def test_live_stock_comes_in_pages(store):
    store.append([movement(f"r{n}", 1, n, "receipt", sku=f"S{n % 7}") for n in range(7)], source="api")
    seen, after = [], None
    while page := store.live_stocks(after=after, limit=3):
        seen += page
        after = page[-1].sku, page[-1].location_id
    assert seen == store.live_stocks()
    assert len(seen) == 7


def test_what_changed_since_a_version_is_found_whether_by_events_or_by_a_publication(store):
    store.append([movement("a", 1, 0, "receipt", sku="A"), movement("b", 1, 0, "receipt", sku="B")], source="api")
    before = store.stock_version()
    assert store.live_stocks(since_version=before) == []
    store.append([movement("c", -1, 1, sku="B")], source="api")
    assert [item.sku for item in store.live_stocks(since_version=before)] == ["B"]
    before = store.stock_version()
    store.rebase_stock(published(store, [movement("f", 10, 1, "receipt", source="file", sku="C")]))
    assert [item.sku for item in store.live_stocks(since_version=before)] == ["C"]
    assert store.stock_version() == max(item.version for item in store.live_stocks())
