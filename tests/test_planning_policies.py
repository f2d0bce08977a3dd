"""The policy of each item: what holds, where it comes from, and what nobody can follow."""

from datetime import date

import pandas as pd
import pytest
from support.small_marts import small_home

from ml.restock.policy_segments import SEGMENT_COLUMNS
from orchestration.planning.policies import effective_policies, planned_use, read_setting
from orchestration.warehouse.restock_frames import segmented_items
from serving.store import PolicyOverride

STANDARD = pd.DataFrame(
    {
        "sku": ["MUG", "CUP"],
        "location_id": "N",
        "target_type": "cycle_service_level",
        "target_value": 0.95,
        "unmet_demand": "lost_sales",
        "holding_cost": 0.01,
        "shortage_cost": 2.0,
        "unit_cost": [7.3, 14.6],
    }
)
ITEMS = pd.DataFrame(
    {
        "sku": ["MUG", "CUP", "OLD"],
        "location_id": "N",
        "abc_class": ["A", "C", "A"],
        "xyz_class": ["X", "X", "X"],
        "demand_class": "smooth",
        "category": "kitchen",
        "supplier_id": ["S", "S", None],
        "unit_cost": [7.3, 14.6, 1.0],
        "unit_price": 20.0,
        "mean_daily_demand_units": 1.0,
    }
)


def override(
    sequence: int, setting: str, value: str, *, segment: str | None = None, sku: str | None = None
) -> PolicyOverride:
    scope = "segment" if segment else "item" if sku else "default"
    place = "N" if sku else None
    return PolicyOverride(sequence, scope, segment, sku, place, setting, value, date(2011, 1, 1), None, "season", "ann")


def policy_of(sku: str, *held: PolicyOverride) -> pd.Series:
    policies, exceptions = effective_policies(STANDARD, ITEMS, held)
    assert exceptions.empty
    return policies.set_index("sku").loc[sku]


def exceptions_of(*held: PolicyOverride) -> list[tuple[str, str]]:
    _, exceptions = effective_policies(STANDARD, ITEMS, held)
    return list(exceptions[["cause", "exception"]].itertuples(index=False, name=None))


def test_without_overrides_the_home_sets_the_policy():
    policies, exceptions = effective_policies(STANDARD, ITEMS, [])
    assert policies[["target_value", "policy_source"]].to_numpy().tolist() == [[0.95, "standard"]] * 2
    assert exceptions.empty


def test_an_item_stands_above_its_segment_and_that_above_the_default():
    held = [
        override(1, "target_value", "0.9"),
        override(2, "target_value", "0.97", segment="abc_class=A"),
        override(3, "target_value", "0.99", sku="CUP"),
    ]
    mug, cup = policy_of("MUG", *held), policy_of("CUP", *held)
    assert (mug["target_value"], mug["policy_source"]) == (0.97, "segment")
    assert (cup["target_value"], cup["policy_source"]) == (0.99, "item")
    assert cup["policy_note"] == "target_value 0.99 by item (ann: season)"


def test_use_without_a_sale_is_planned_by_item_segment_and_for_all_before_the_items_are_decided():
    held = [
        override(1, "plan_other_consumption", "no"),
        override(2, "plan_other_consumption", "yes", segment="abc_class=A"),
        override(3, "plan_other_consumption", "no", sku="OLD"),
        override(4, "plan_other_consumption", "perhaps", sku="CUP"),
        override(5, "target_value", "0.98"),
    ]

    def said(items: pd.DataFrame | None) -> list[tuple[object, ...]]:
        return [tuple(row) for row in planned_use(items, held).astype(object).to_numpy().tolist()]

    assert said(ITEMS)[1:] == [("MUG", "N", True), ("OLD", "N", False)]
    # In a home without a build nobody knows the segments yet.
    assert said(None)[1:] == [("OLD", "N", False)]
    assert said(None)[0][2] is False
    assert planned_use(ITEMS, held[-1:]).empty
    assert policy_of("MUG", *held[:2])["plan_other_consumption"] == "yes"
    assert policy_of("CUP", *held[:2])["plan_other_consumption"] == "no"


def test_an_item_outside_the_segment_keeps_the_standard():
    cup = policy_of("CUP", override(2, "target_value", "0.97", segment="abc_class=A"))
    assert (cup["target_value"], cup["policy_source"]) == (0.95, "standard")


def test_the_source_is_that_of_the_target_also_where_something_else_is_overridden():
    mug = policy_of("MUG", override(1, "max_order_units", "12", sku="MUG"))
    assert (mug["max_order_units"], mug["policy_source"]) == (12.0, "standard")
    assert mug["policy_note"].startswith("max_order_units 12 by item")


def test_a_holding_rate_is_money_per_unit_and_night():
    assert policy_of("CUP", override(1, "holding_cost_rate", "0.5"))["holding_cost"] == pytest.approx(0.02)


@pytest.mark.parametrize(("days", "largest"), [("28", 28.0), ("5", 12.0)])
def test_a_large_order_is_so_many_days_of_mean_demand_and_never_a_few_units(days: str, largest: float):
    assert policy_of("MUG", override(1, "large_order_days", days, sku="MUG"))["largest_order_units"] == largest


def test_limits_of_excess_and_dead_stock_are_inherited_like_all_settings():
    held = [override(1, "excess_above_days", "120"), override(2, "excess_above_days", "30", segment="abc_class=A")]
    assert [policy_of(sku, *held)["excess_above_days"] for sku in ("MUG", "CUP")] == [30.0, 120.0]


def test_a_cost_target_has_no_service_level():
    assert pd.isna(policy_of("MUG", override(1, "target_type", "cost"))["target_value"])
    policies, _ = effective_policies(STANDARD.assign(target_type="cost"), ITEMS, [])
    assert policies["target_value"].isna().all()


@pytest.mark.parametrize(
    ("held", "aim"),
    [
        ([override(1, "target_value", "0.97", segment="abc_class=A")], ("cycle_service_level", 0.97)),
        ([override(1, "target_type", "fill_rate"), override(2, "target_value", "0.97")], ("fill_rate", 0.97)),
        ([override(1, "target_type", "fill_rate")], ("fill_rate", 0.95)),
        (
            [override(1, "target_type", "cost"), override(2, "target_value", "0.97", segment="abc_class=A")],
            ("cycle_service_level", 0.97),
        ),
        ([override(1, "target_value", "0.97"), override(2, "target_type", "cost", sku="MUG")], ("cost", None)),
    ],
)
def test_a_service_level_that_is_asked_for_stands_above_a_least_cost_asked_for_less_closely(
    held: list[PolicyOverride], aim: tuple[str, float | None]
):
    policies, exceptions = effective_policies(STANDARD.assign(target_type="cost"), ITEMS, held)
    assert exceptions.empty
    mug = policies.set_index("sku").loc["MUG"]
    assert (mug["target_type"], None if pd.isna(mug["target_value"]) else mug["target_value"]) == aim


def test_an_override_for_an_unknown_item_is_an_exception_and_the_others_hold():
    held = [override(1, "target_value", "0.9", sku="NOBODY"), override(2, "target_value", "0.99", sku="MUG")]
    policies, exceptions = effective_policies(STANDARD, ITEMS, held)
    assert policies["target_value"].tolist() == [0.99, 0.95]
    assert exceptions[["sku", "policy_sequence", "cause"]].to_numpy().tolist() == [["NOBODY", 1, "unknown_item"]]
    assert "correct its sku or location, or end the override" in exceptions["exception"].iloc[0]


def test_an_override_for_an_item_without_terms_says_so():
    assert [cause for cause, _ in exceptions_of(override(1, "target_value", "0.9", sku="OLD"))] == ["no_terms"]


def test_a_segment_without_items_says_so():
    found = exceptions_of(override(1, "target_value", "0.9", segment="category=none"))
    assert [cause for cause, _ in found] == ["empty_segment"]


@pytest.mark.parametrize(
    ("setting", "value", "segment"),
    [("target_value", "95", None), ("colour", "red", None), ("target_value", "0.9", "abc_class")],
)
def test_what_cannot_be_read_is_left_out_and_named(setting: str, value: str, segment: str | None):
    held = [override(1, "target_value", "0.9"), override(2, setting, value, segment=segment)]
    policies, exceptions = effective_policies(STANDARD, ITEMS, held)
    assert policies["target_value"].tolist() == [0.9, 0.9]
    assert exceptions["cause"].tolist() == ["unreadable"]


def test_two_segments_that_contradict_each_other_are_told_once():
    held = [
        override(1, "target_value", "0.9", segment="abc_class=A"),
        override(2, "target_value", "0.97", segment="xyz_class=X"),
    ]
    ((cause, told),) = exceptions_of(*held)
    assert cause == "contradiction"
    assert "0.97 and 0.9 of 1 item; the later one, 0.97, holds: end one of the policy overrides 1 and 2" in told


@pytest.mark.parametrize(
    ("setting", "text", "told"),
    [
        ("target_value", "1", "policy target_value is '1': give a service level above 0 and below 1"),
        ("target_type", "service", "use one of cost, cycle_service_level"),
        ("max_order_units", "-1", "give a number of at least 0"),
        ("shortage_cost", "0", "give a number above 0"),
        ("colour", "red", "there is no policy setting 'colour'; the settings are target_type"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_the_remedy(setting: str, text: str, told: str):
    with pytest.raises(ValueError, match=told):
        read_setting(setting, text)


def test_a_first_order_holds_the_days_of_the_standard_unless_an_override_says_otherwise():
    standard = STANDARD.assign(first_order_days=[14.0, 28.0])
    policies, _ = effective_policies(standard, ITEMS, [override(1, "first_order_days", "5", sku="CUP")])
    assert policies.set_index("sku")["first_order_days"].to_dict() == {"MUG": 14.0, "CUP": 5.0}


def test_items_of_a_home_have_every_column_that_a_segment_may_name(tmp_path):
    assert set(SEGMENT_COLUMNS) <= set(segmented_items(small_home(tmp_path)))
