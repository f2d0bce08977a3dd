"""Causes of exceptions: codes, sentences, the first one found."""

import numpy as np
import pytest
from test_restock_recommendation import constant, decide

from ml.restock.exceptions import Cause, Exceptions


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"on_hand": -1.0, "is_unknown": True}, Cause.STOCK_UNKNOWN),
        ({"policy": {"unknown_stock": "plenty"}}, Cause.STOCK_ASSUMPTION_UNKNOWN),
        ({"terms": {"lead_time_periods": 0.5}}, Cause.LEAD_TIME_NOT_WHOLE),
        ({"terms": {"lead_time_periods": 99}}, Cause.FORECAST_TOO_SHORT),
        ({"unrecorded": 11}, Cause.SALES_MISSING),
        ({"terms": {"moq_units": 5, "max_order_units": 4}}, Cause.MINIMUM_ORDER_ABOVE_MAXIMUM),
        ({"policy": {"target_type": "best"}}, Cause.TARGET_TYPE_UNKNOWN),
        ({"policy": {"target_value": 1.0}}, Cause.SERVICE_LEVEL_OUT_OF_RANGE),
    ],
)
def test_a_line_that_cannot_be_decided_names_its_cause(change: dict, cause: Cause):
    line, _, _ = decide(constant(1.0), **change)
    assert (line["status"], line["exception_cause"]) == ("exception", cause.code)
    assert cause.remedy.split("{")[0] in line["exception"]


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
