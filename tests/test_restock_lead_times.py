"""Lead times of an order and of the one that follows it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.restock.lead_times import Integers, draw_next_lead_times

ITEMS, DRAWS = 40, 300
KEYS = pd.DataFrame({"sku": [f"s{row}" for row in range(ITEMS)], "location_id": "L1"})


def lead_times(seed: int = 0) -> Integers:
    drawn = np.random.default_rng(seed).lognormal(2.5, 0.4, (ITEMS, DRAWS))
    return np.maximum(np.rint(drawn), 1).astype(np.int32)


@pytest.mark.parametrize("review", [1, 3, 100])
def test_the_next_order_has_the_same_lead_times_and_does_not_overtake(review: int):
    leads, periods = lead_times(), np.full(ITEMS, review, np.int32)
    following = draw_next_lead_times(KEYS, leads, periods, seed=1)
    assert (np.sort(following, axis=1) == np.sort(leads, axis=1)).all()
    assert (following >= leads - review).all()


def test_lead_times_of_orders_far_apart_know_nothing_of_each_other():
    leads = lead_times()
    following = draw_next_lead_times(KEYS, leads, np.full(ITEMS, 100, np.int32), seed=1)
    correlations = [np.corrcoef(*pair)[0, 1] for pair in zip(leads, following, strict=True)]
    assert abs(np.mean(correlations)) < 3 / np.sqrt(ITEMS * DRAWS)


def test_a_certain_lead_time_stays():
    certain = np.full((ITEMS, 1), 6, np.int32)
    assert (draw_next_lead_times(KEYS, certain, np.ones(ITEMS, np.int32), seed=1) == certain).all()


def test_the_next_lead_times_of_an_item_hang_on_no_other_item():
    leads, review = lead_times(), np.full(ITEMS, 3, np.int32)
    every = draw_next_lead_times(KEYS, leads, review, seed=1)
    some = draw_next_lead_times(KEYS.iloc[5:9], leads[5:9], review[5:9], seed=1)
    assert (some == every[5:9]).all()
