"""What an event must be to enter the log: types, exactness, ranges, and the same verdict by both ways of reading."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.store.bulk import typed_movements
from serving.store.events import COLUMNS, typed_row
from serving.store.units import Refused, instant, microseconds

NOON = datetime(2011, 3, 1, 12, tzinfo=UTC)
SOUND: dict[str, Any] = {
    "source": "pos",
    "document": "INV-1",
    "line": 1,
    "revision": 0,
    "occurred_at": NOON,
    "sku": "MUG",
    "location_id": "NORTH",
    "movement_type": "sale",
    "quantity_units": -3,
}


def typed(**changes: Any) -> dict[str, Any]:
    event = {name: value for name, value in {**SOUND, **changes}.items() if value is not ...}
    return dict(zip(COLUMNS, typed_row(event, "api"), strict=True))


def test_a_movement_gets_its_movement_id_as_event_id():
    assert typed()["event_id"] == "pos:INV-1:1:0"


@pytest.mark.parametrize(
    ("given_units", "thousandths"),
    [(-3, -3000), (Decimal("-2.125"), -2125), ("0.5", 500), (" 7 ", 7000), ("1e3", 1_000_000), ("2.5000", 2500)],
)
def test_quantities_are_exact_thousandths(given_units, thousandths):
    assert typed(movement_type="adjustment", quantity_units=given_units)["quantity_thousandths"] == thousandths


@pytest.mark.parametrize(
    ("moment", "same"),
    [
        ("2011-03-01T12:00:00Z", NOON),
        ("2011-03-01T12:00:00", NOON),
        ("2011-03-01 14:30:00.000001+02:30", NOON + timedelta(microseconds=1)),
        (datetime(2011, 3, 1, 12), NOON),
        (datetime(2011, 3, 1, 7, tzinfo=timezone(timedelta(hours=-5))), NOON),
    ],
)
def test_instants_are_microseconds_in_utc(moment, same):
    assert typed(occurred_at=moment)["occurred_at"] == microseconds(same)


@settings(deadline=None)
@given(st.datetimes(datetime(1900, 1, 2), datetime(2099, 12, 30), timezones=st.just(UTC)))
def test_an_instant_survives_storage_to_the_microsecond(moment):
    assert instant(microseconds(moment)) == moment


def test_recorded_at_falls_back_to_occurred_at():
    assert typed()["recorded_at"] == typed()["occurred_at"]


def test_text_is_trimmed():
    assert typed(sku=" MUG ")["sku"] == "MUG"


def test_a_later_revision_may_withdraw_a_line_with_zero():
    assert typed(quantity_units=0, revision=1)["quantity_thousandths"] == 0


def test_empty_optional_text_is_null():
    assert typed(lot_id="")["lot_id"] is None


BROKEN: list[tuple[dict[str, Any], str, str]] = [
    ({"sku": ...}, "sku_missing", "sku is missing"),
    ({"sku": ""}, "sku_missing", "sku is missing"),
    ({"sku": "  "}, "sku_missing", "sku is missing"),
    ({"sku": 7}, "sku_type", "not text"),
    ({"sku": "A\x00B"}, "sku_type", "null character"),
    ({"sku": "\ud800"}, "sku_type", "surrogate"),
    ({"sku": "x" * 1_001}, "text_too_long", "1001 characters"),
    ({"source": "a:b"}, "source_with_colon", "colon"),
    ({"line": "1"}, "line_type", "not a whole number"),
    ({"line": True}, "line_type", "not a whole number"),
    ({"line": -1}, "line_negative", "outside"),
    ({"line": 2**31}, "line_type", "outside"),
    ({"line": None}, "line_missing", "missing"),
    ({"line": Decimal("1.5")}, "line_type", "not a whole number"),
    ({"revision": 1.0}, "revision_type", "not a whole number"),
    ({"revision": ""}, "revision_type", "not a whole number"),
    ({"occurred_at": None}, "occurred_at_missing", "missing"),
    ({"occurred_at": "yesterday"}, "occurred_at_type", "not an instant"),
    ({"occurred_at": "2011-03-01"}, "occurred_at_type", "not an instant"),
    ({"occurred_at": 1_300_000_000}, "occurred_at_type", "not an instant"),
    ({"occurred_at": "1753-01-01T00:00:00Z"}, "occurred_at_type", "outside the years"),
    ({"occurred_at": datetime.max}, "occurred_at_type", "outside the years"),
    ({"recorded_at": "later"}, "recorded_at_type", "not an instant"),
    ({"movement_type": "theft"}, "unknown_movement_type", "not one of"),
    ({"movement_type": ["sale"]}, "unknown_movement_type", "not one of"),
    ({"movement_type": None}, "movement_type_missing", "missing"),
    ({"event_type": "count"}, "movement_type_type", "instead of 'count'"),
    ({"event_type": "party"}, "event_type", "not one of"),
    ({"event_type": ["movement"]}, "event_type", "not one of"),
    ({"quantity_units": None}, "quantity_units_missing", "missing"),
    ({"quantity_units": ""}, "quantity_units_missing", "missing"),
    ({"quantity_units": 2.5}, "quantity_units_type", "float"),
    ({"quantity_units": True}, "quantity_units_type", "bool"),
    ({"quantity_units": [1]}, "quantity_units_type", "list"),
    ({"quantity_units": "three"}, "quantity_units_type", "not a number"),
    ({"quantity_units": "NaN"}, "quantity_units_type", "not a number"),
    ({"quantity_units": Decimal("sNaN")}, "quantity_units_type", "not a number"),
    ({"quantity_units": Decimal("-Infinity")}, "quantity_units_type", "not a number"),
    ({"quantity_units": "1e400"}, "quantity_units_type", "more than 15 digits"),
    ({"quantity_units": 10**15}, "quantity_units_type", "more than 15 digits"),
    ({"quantity_units": "0.0001"}, "quantity_units_type", "more than 3 decimals"),
    ({"quantity_units": "1.0000000000000000000000000000001"}, "quantity_units_type", "more than 3 decimals"),
    ({"movement_type": "count", "quantity_units": -1}, "count_negative", "cannot be negative"),
    ({"unit_price": "-1"}, "unit_price_negative", "negative"),
    ({"unit_price": "1.00001"}, "unit_price_type", "more than 4 decimals"),
    ({"unit_price": "1e400"}, "unit_price_type", "more than 14 digits"),
    ({"lot_id": 5}, "lot_id_type", "not text"),
    ({"sku": "A\tB"}, "identifier_unusable", "control character"),
    ({"lot_id": "NaN"}, "identifier_unusable", "a placeholder"),
    ({"quantity_units": 3}, "outgoing_not_negative", "below zero"),
    ({"movement_type": "receipt"}, "incoming_not_positive", "above zero"),
    ({"quantity_units": 0}, "quantity_zero", "of nothing"),
    ({"quantity_units": -(10**10)}, "quantity_implausible", "billion"),
    ({"recorded_at": NOON - timedelta(hours=25)}, "recorded_before_it_occurred", "a day before"),
    ({"colour": "red"}, "unknown_field", "'colour'"),
]


@pytest.mark.parametrize(("changes", "rule", "words"), BROKEN)
def test_a_broken_movement_is_refused_with_field_and_value(changes, rule, words):
    with pytest.raises(Refused, match=words) as caught:
        typed(**changes)
    assert caught.value.rule == rule


@pytest.mark.parametrize(("changes", "rule", "words"), BROKEN)
def test_the_fast_way_gives_up_on_every_broken_movement(changes, rule, words):
    broken = {name: value for name, value in {**SOUND, **changes}.items() if value is not ...}
    assert typed_movements([SOUND, broken]) is None


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.decimals(allow_nan=True, places=3),
    st.sampled_from(["", "1", "1.5", "x", "2011-03-01T00:00:00Z", "sale", "count", "movement", "a:b"]),
    st.datetimes(datetime(1890, 1, 1), datetime(2110, 1, 1), timezones=st.sampled_from([None, UTC])),
)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*SOUND, "event_type", "event_id", "recorded_at", "unit_price", "lot_id", "reason"]),
            values,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_both_ways_of_reading_a_batch_agree(changes):
    events = [{**SOUND, name: value} for name, value in changes]
    fast = typed_movements(events)
    assert fast is None or fast == [typed_row(event, "api") for event in events]


def test_a_sound_batch_is_read_the_fast_way():
    plain = [SOUND, {**SOUND, "line": 2, "unit_price": Decimal("1.5"), "recorded_at": "2011-03-02T00:00:00Z"}]
    assert typed_movements(plain) == [typed_row(event, "api") for event in plain]


def decision(event_type: str, **fields: Any) -> dict[str, Any]:
    return {"event_type": event_type, "event_id": "e1", "occurred_at": NOON, **fields}


OVERRIDE = {
    "scope": "default",
    "setting": "target_value",
    "value": "0.95",
    "valid_from": "2011-01-01",
    "author": "ann",
    "reason": "start",
}


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        (
            decision("restock_request", sku="MUG", location_id="NORTH", requested_units=0, author="ann"),
            "requested_units_type",
        ),
        (decision("restock_request", sku="MUG", location_id="NORTH", requested_units=1), "author_missing"),
        (decision("restock_request", sku="MUG", requested_units=1, author="ann"), "location_id_missing"),
        (decision("approval", proposal_id="p", decision="maybe", author="ann"), "decision_type"),
        (
            decision(
                "approval", proposal_id="p", decision="rejected", author="a", until_grows_percent="999999999999999"
            ),
            "until_grows_percent_type",
        ),
        (
            decision("approval", proposal_id="p", decision="approved", author="a", order_units="1000000000.001"),
            "quantity_implausible",
        ),
        ("x", "not_an_object"),
        (None, "not_an_object"),
        (decision("policy_override", **{**OVERRIDE, "scope": "item"}), "scope"),
        (decision("policy_override", **OVERRIDE, sku="MUG"), "scope"),
        (decision("policy_override", **{**OVERRIDE, "scope": "segment"}), "scope"),
        (decision("policy_override", **OVERRIDE, valid_to="2010-12-31"), "valid_to"),
        (decision("policy_override", **{**OVERRIDE, "value": 0.95}), "value_type"),
        (decision("policy_override", **{**OVERRIDE, "valid_from": "soon"}), "valid_from_type"),
        (decision("policy_override", **OVERRIDE, colour="red"), "unknown_field"),
        (
            {**decision("approval", proposal_id="p", decision="approved", author="ann"), "event_id": None},
            "event_id_missing",
        ),
    ],
)
def test_a_broken_decision_is_refused_by_its_rule(event, rule):
    with pytest.raises(Refused) as caught:
        typed_row(event, "api")
    assert caught.value.rule == rule
