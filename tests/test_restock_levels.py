"""The pipeline against a walk period by period, and look-ups in sorted draws against plain sums."""

from __future__ import annotations

import numpy as np
import pytest

from ml.restock_levels import Simulation, SortedDraws

ITEMS, PATHS, HORIZON = 12, 7, 9


def walk(
    path: np.ndarray, supply: np.ndarray, lead: int, review: int, *, lost: bool
) -> tuple[float, list[float], list[bool]]:
    """One path: the worst need, the need up to each period of the cycle, whether it has run short by each period."""
    sellable, owed = (np.maximum(supply, 0), np.maximum(-supply, 0)) if lost else (supply, 0 * supply)
    demand, worst, lost_before, highest = 0.0, 0.0, 0.0, -np.inf
    needs, short_by = [], []
    for period in range(1, max(HORIZON, lead + review) + 1):
        at = min(period, HORIZON) - 1
        demand += path[period - 1] if period <= HORIZON else path.mean()
        short = demand - sellable[at]
        worst = max(worst, short)
        if period <= HORIZON:
            short_by.append(worst > 0)
        if period == lead:
            lost_before = worst if lost else 0.0
        if lead < period <= lead + review:
            highest = max(highest, short)
            needs.append(highest - lost_before + owed[at] if lost else short)
    return highest - lost_before + owed[min(lead + review, HORIZON) - 1], needs, short_by


@pytest.mark.parametrize("uncertain", [False, True], ids=["one lead time an item", "a lead time a path"])
def test_a_simulation_finds_what_a_walk_through_each_path_finds(uncertain: bool):
    rng = np.random.default_rng(3)
    paths = rng.poisson(2, (ITEMS, PATHS, HORIZON)).astype(np.float32)
    supply = rng.integers(-15, 12, (ITEMS, 1)) + np.cumsum(rng.choice([0, 0, -1, 5], (ITEMS, HORIZON)), axis=1)
    lead = rng.integers(1, 6, (ITEMS, PATHS)).astype(np.int32)
    if not uncertain:
        lead = np.repeat(lead[:, :1], PATHS, axis=1)
    review, lost = rng.integers(1, 6, ITEMS).astype(np.int32), np.arange(ITEMS) % 2 == 0
    simulation = Simulation(supply.astype(np.float32), lead, review, lost, cycle_slots=5)
    for few in (slice(0, 5), slice(5, ITEMS)):
        simulation.run(few, np.ascontiguousarray(paths[few].transpose(2, 0, 1)))
    found = simulation.found
    for item in range(ITEMS):
        walks = [
            walk(paths[item, path], supply[item], lead[item, path], review[item], lost=lost[item])
            for path in range(PATHS)
        ]
        assert found.worst_need[item] == pytest.approx([worst for worst, _, _ in walks], abs=1e-4)
        by_period = np.array([need for _, need, _ in walks]).T
        assert found.need[item, : review[item]] == pytest.approx(by_period, abs=1e-4)
        assert found.stockout_by[item] == pytest.approx(np.mean([by for _, _, by in walks], axis=0))


def test_sorted_draws_answer_as_plain_sums_do():
    rng = np.random.default_rng(4)
    draws = rng.integers(-5, 20, (6, 11)).astype(np.float32)
    draws[::2, :3] = np.inf
    rows, quantity = np.array([4, 0, 3]), rng.uniform(-8, 24, (3, 5))
    known, asked = SortedDraws(draws), quantity[:, :, None]
    chosen = draws[rows][:, None, :]
    wanted = np.where(np.isinf(chosen), -np.inf, chosen)
    assert np.array_equal(known.at_most(rows, quantity), (chosen <= asked).sum(axis=2))
    assert known.left(rows, quantity) == pytest.approx(np.maximum(asked - chosen, 0).sum(axis=2))
    assert known.left_squared(rows, quantity) == pytest.approx((np.maximum(asked - chosen, 0) ** 2).sum(axis=2))
    assert known.short(rows, quantity) == pytest.approx(np.maximum(wanted - asked, 0).sum(axis=2))
