"""Levels: near the level published last, and not further from the best one than chance explains."""

import numpy as np
import pandas as pd
import pytest
from test_restock_repeat import NOTHING, one_item

from ml.restock import recommend


def decided(held: float, *, seed: int = 3, rate: float = 10.0, **policy: object) -> tuple[pd.Series, pd.Series]:
    """Return the line of one item with 185 on hand, and its terms."""
    keys, terms, standard = one_item(None)
    paths = np.random.default_rng(seed).poisson(rate, (1, 500, 40)).astype(np.float32)
    position = keys.assign(on_hand_units=[185.0], reserved_units=0.0, backordered_units=0.0)
    rules = standard.assign(held_order_up_to_units=held, hold_level_within=0.3, **policy)
    lines, steps, _ = recommend(keys, paths, position, NOTHING, terms, rules)
    return lines.iloc[0], steps.set_index("term")["units"]


def test_other_draws_change_no_order_while_the_level_is_held():
    published, _ = decided(np.nan)
    afresh = {float(decided(np.nan, seed=seed)[0]["order_units"]) for seed in range(8)}
    held = {float(decided(published["order_up_to_units"], seed=seed)[0]["order_units"]) for seed in range(8)}
    assert len(afresh) > 1
    assert held == {float(published["order_units"])}


def test_a_level_far_from_the_best_one_moves_as_far_as_chance_does_not_explain():
    best, _ = decided(np.nan)
    ends = [float(decided(level)[0]["order_up_to_units"]) for level in (0.0, 1000.0)]
    # Poisson demand of 25 periods has a standard deviation of about 15.8: three tenths are about 5 units.
    assert ends == pytest.approx([best["order_up_to_units"] - 5, best["order_up_to_units"] + 5], abs=0.6)


def test_demand_that_doubles_moves_the_level():
    published, _ = decided(np.nan)
    doubled, best = (decided(level, rate=20.0)[0] for level in (published["order_up_to_units"], np.nan))
    assert 0 < best["order_up_to_units"] - doubled["order_up_to_units"] < 0.05 * best["order_up_to_units"]


def test_what_is_kept_of_the_level_is_a_term_of_the_order():
    best, steps = decided(np.nan)
    line, kept = decided(best["order_up_to_units"] + 3)
    assert "kept_level" not in steps
    assert kept["kept_level"] == 3.0
    assert kept["uncertainty"] == pytest.approx(steps["uncertainty"])
    assert kept.sum() == pytest.approx(line["order_units"])
    assert line["order_units"] == best["order_units"] + 3


@pytest.mark.parametrize(
    "policy",
    [
        {"order_rule": "min_max", "min_units": 250.0, "max_units": 300.0},
        {"target_type": "do_not_stock"},
        {"target_type": "make_to_order"},
    ],
    ids=lambda policy: next(iter(policy.values())),
)
def test_a_level_that_a_rule_sets_is_not_held(policy: dict[str, object]):
    afresh, held = (decided(level, **policy)[0] for level in (np.nan, 290.0))
    assert held["order_up_to_units"] == afresh["order_up_to_units"]
    assert held["order_units"] == afresh["order_units"]
