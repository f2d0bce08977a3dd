"""Causes of exceptions: codes, sentences, the first one found."""

from typing import Any

import numpy as np
import pytest
from test_restock_recommendation import constant, decide

from ml.restock.exceptions import Cause, Exceptions
from ml.restock.inputs import DEMAND_MODELS, ORDER_RULES, TARGET_TYPES, UNMET_DEMANDS

NAN = float("nan")
# What is wrong with one item, and each way in which the remedy can be followed: what replaces it.
FOLLOWED: dict[Cause, tuple[dict, list[dict]]] = {
    Cause.LEAD_TIME_MISSING: ({"terms": {"lead_time_periods": NAN}}, [{"terms": {"lead_time_periods": 3}}]),
    Cause.LEAD_TIME_NOT_WHOLE: (
        {"terms": {"lead_time_periods": 0.5}},
        [{"terms": {"lead_time_periods": 0}}, {"terms": {"lead_time_periods": 1}}],
    ),
    Cause.REVIEW_PERIOD_MISSING: ({"terms": {"review_periods": NAN}}, [{"terms": {"review_periods": 7}}]),
    Cause.REVIEW_PERIOD_NOT_WHOLE: (
        {"terms": {"review_periods": 0.5}},
        [{"terms": {"review_periods": 0}}, {"terms": {"review_periods": 1}}],
    ),
    Cause.ORDER_DAY_NOT_WHOLE: (
        {"terms": {"next_order_in_periods": 0.5}},
        [{"terms": {"next_order_in_periods": 0}}],
    ),
    Cause.ORDER_MULTIPLE_NOT_POSITIVE: (
        {"terms": {"order_multiple_units": 0}},
        [{"terms": {"order_multiple_units": 6}}, {"terms": {"order_multiple_units": NAN}}],
    ),
    Cause.MINIMUM_ORDER_NEGATIVE: ({"terms": {"moq_units": -1}}, [{"terms": {"moq_units": 0}}]),
    Cause.MINIMUM_ORDER_ABOVE_MAXIMUM: (
        {"terms": {"moq_units": 5, "max_order_units": 4}},
        [{"terms": {"moq_units": 4, "max_order_units": 4}}, {"terms": {"moq_units": 5, "max_order_units": 9}}],
    ),
    Cause.MINIMUM_ORDER_ABOVE_LEVEL: (
        {"terms": {"moq_units": 9, "order_up_to_max_units": 5}},
        [
            {"terms": {"moq_units": 4, "order_up_to_max_units": 5}},
            {"terms": {"moq_units": 9, "order_up_to_max_units": 12}},
        ],
    ),
    Cause.TARGET_TYPE_UNKNOWN: (
        {"policy": {"target_type": "best"}},
        [{"policy": {"target_type": one, "holding_cost": 0.1, "shortage_cost": 2.0}} for one in TARGET_TYPES],
    ),
    Cause.UNMET_DEMAND_UNKNOWN: (
        {"policy": {"unmet_demand": "forgotten"}},
        [{"policy": {"unmet_demand": one}} for one in UNMET_DEMANDS],
    ),
    Cause.ORDER_RULE_UNKNOWN: (
        {"policy": {"order_rule": "often"}},
        [
            {"policy": {"order_rule": one, "order_quantity_units": 12.0, "min_units": 3.0, "max_units": 20.0}}
            for one in ORDER_RULES
        ],
    ),
    Cause.DEMAND_MODEL_UNKNOWN: (
        {"policy": {"demand_model": "guess"}},
        [{"policy": {"demand_model": one}} for one in DEMAND_MODELS],
    ),
    Cause.SERVICE_LEVEL_OUT_OF_RANGE: ({"policy": {"target_value": 1.0}}, [{"policy": {"target_value": 0.99}}]),
    Cause.COST_MISSING: (
        {"policy": {"target_type": "cost", "holding_cost": NAN, "shortage_cost": 2.0}},
        [
            {"policy": {"target_type": "cost", "holding_cost": 0.1, "shortage_cost": 2.0}},
            {"policy": {"target_type": "fill_rate"}},
        ],
    ),
    Cause.ORDER_QUANTITY_MISSING: (
        {"policy": {"order_rule": "reorder_point_quantity"}},
        [
            {"policy": {"order_rule": "reorder_point_quantity", "order_quantity_units": 12.0}},
            {"policy": {"order_rule": "order_up_to"}},
        ],
    ),
    Cause.MIN_NOT_BELOW_MAX: (
        {"policy": {"order_rule": "min_max", "min_units": 9.0, "max_units": 9.0}},
        [{"policy": {"order_rule": "min_max", "min_units": 9.0, "max_units": 20.0}}],
    ),
    Cause.STOCK_ASSUMPTION_UNKNOWN: (
        {"policy": {"unknown_stock": "plenty"}},
        [{"policy": {"unknown_stock": one}} for one in ("ask", "empty", "covers_lead_time")],
    ),
    Cause.STOCK_UNKNOWN: (
        {"on_hand": -1.0, "is_unknown": True},
        [
            {"on_hand": 1.0},
            {"on_hand": -1.0, "is_unknown": True, "policy": {"unknown_stock": "empty"}},
            {"on_hand": -1.0, "is_unknown": True, "policy": {"unknown_stock": "covers_lead_time"}},
        ],
    ),
    Cause.SALES_MISSING: ({"unrecorded": 11}, [{"unrecorded": 0}]),
    Cause.FORECAST_TOO_SHORT: (
        {"terms": {"lead_time_periods": 99}},
        [{"terms": {"lead_time_periods": 3}}, {"terms": {"lead_time_periods": 99}, "paths": constant(1.0, 120)}],
    ),
    Cause.DEMAND_NOT_FINITE: ({"paths": constant(NAN)}, [{}]),
    Cause.DEMAND_NEGATIVE: ({"paths": constant(-1.0)}, [{}]),
}
# Found where more than one item is looked at, or outside of the engine; followed in the tests of those places.
FOLLOWED_ELSEWHERE = {
    *(Cause.TWO_POSITIONS, Cause.TWO_SUPPLIER_TERMS, Cause.TWO_POLICIES, Cause.NO_SUPPLIER_TERMS, Cause.NO_POLICY),
    *(Cause.BUDGET_NOT_POSITIVE, Cause.UNREADABLE, Cause.UNKNOWN_ITEM, Cause.NO_TERMS, Cause.EMPTY_SEGMENT),
    *(Cause.CONTRADICTION, Cause.NOT_HANDED_OUT, Cause.PROMISED_NOT_ORDERED, Cause.TRANSFER_NOT_NAMED),
    *(Cause.ON_HAND_NEGATIVE, Cause.PAUSE_WITHOUT_END, Cause.SOURCE_SILENT),
}


def decided(change: dict) -> Any:
    line, _, _ = decide(
        change.get("paths", constant(1.0)), **{name: v for name, v in change.items() if name != "paths"}
    )
    return line


@pytest.mark.parametrize("cause", FOLLOWED)
def test_a_line_that_cannot_be_decided_names_its_cause_and_its_remedy_works(cause: Cause):
    wrong, remedies = FOLLOWED[cause]
    line = decided(wrong)
    assert (line["status"], line["exception_cause"]) == ("exception", cause.code)
    assert cause.remedy.split("{")[0] in line["exception"]
    for followed in remedies:
        again = decided(followed)
        assert (again["status"] in ("order", "no_order"), again["exception_cause"]) == (True, None), followed


def test_every_remedy_is_followed_somewhere():
    assert set(FOLLOWED) | FOLLOWED_ELSEWHERE == set(Cause)


def test_a_line_that_is_decided_has_no_cause():
    line, _, _ = decide(constant(1.0))
    assert line["exception_cause"] is None


def test_the_cause_found_first_is_the_one_to_mend():
    found = Exceptions.none(2)
    found.note(np.array([True, False]), Cause.ON_HAND_NEGATIVE, on_hand=np.array([-3.0, 1.0]))
    found.note(np.array([True, True]), Cause.NO_POLICY)
    assert found.codes.tolist() == ["on_hand_negative", "no_policy"]
    assert (
        found.sentences[0] == "on hand is -3 units: count the shelf and record the count; until then it counts as empty"
    )


def test_a_value_that_is_not_given_is_called_missing():
    found = Exceptions.none(1)
    found.note(np.array([True]), Cause.COST_MISSING, holding=np.array([np.nan]), shortage=np.array([2.0]))
    assert found.sentences[0].startswith("policy holding_cost is missing and shortage_cost is 2: ")
    assert Cause.TARGET_TYPE_UNKNOWN.sentence(value=np.nan, allowed="cost").startswith("policy target_type is missing")
