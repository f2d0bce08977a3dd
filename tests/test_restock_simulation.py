"""The pipeline against a walk period by period, and look-ups in sorted draws against plain sums."""

from __future__ import annotations

import numpy as np
import pytest

from ml.restock.simulation import Receipts, Simulation, SortedDraws

ITEMS, PATHS, HORIZON = 12, 7, 9


def walk(
    path: np.ndarray, supply: np.ndarray, lead: int, end: int, *, lost: bool
) -> tuple[float, list[float], list[bool]]:
    """One path: the worst need, the need up to each period of the cycle, whether it has run short by each period."""
    sellable = np.maximum(supply, 0) if lost else supply
    demand, worst, lost_before, highest = 0.0, 0.0, 0.0, -np.inf
    needs, short_by = [], []
    for period in range(1, max(HORIZON, end) + 1):
        at = period - 1
        demand += path[period - 1] if period <= HORIZON else path.mean()
        short = demand - sellable[at]
        worst = max(worst, short)
        if period <= HORIZON:
            short_by.append(worst > 0)
        if period == lead:
            lost_before = worst if lost else 0.0
        if lead < period <= end:
            # What the new order brings serves those who wait first.
            highest = max(highest, demand - supply[at])
            needs.append(highest - lost_before if lost else demand - supply[at])
    return highest - lost_before, needs, short_by


@pytest.mark.parametrize("uncertain", [False, True], ids=["one lead time an item", "a lead time a path"])
def test_a_simulation_finds_what_a_walk_through_each_path_finds(uncertain: bool):
    rng = np.random.default_rng(3)
    paths = rng.poisson(2, (ITEMS, PATHS, HORIZON)).astype(np.float32)
    stock = rng.integers(-15, 12, (ITEMS, 1)) - np.cumsum(rng.choice([0, 0, 1], (ITEMS, HORIZON)), axis=1)
    lead = rng.integers(0, 9, (ITEMS, PATHS)).astype(np.int32)
    item = np.sort(rng.integers(0, ITEMS, 3 * ITEMS))
    arrival = rng.integers(1, HORIZON + 4, (item.size, PATHS)).astype(np.int32)
    if not uncertain:
        lead, arrival = np.repeat(lead[:, :1], PATHS, axis=1), np.repeat(arrival[:, :1], PATHS, axis=1)
    receipts = Receipts(item, rng.integers(1, 9, item.size).astype(np.float32), arrival)
    length, lost = rng.integers(1, 6, lead.shape).astype(np.int32), np.arange(ITEMS) % 2 == 0
    if not uncertain:
        length[:] = length[:, :1]
    end = lead + length
    simulation = Simulation(stock.astype(np.float32), receipts, lead, end, lost, PATHS, cycle_slots=5)
    for few in (slice(0, 5), slice(5, ITEMS)):
        simulation.run(few, np.ascontiguousarray(paths[few].transpose(2, 0, 1)))
    found, periods = simulation.found, np.arange(1, 2 * HORIZON)
    for row in range(ITEMS):
        own = item == row
        on_hand = stock[row, np.minimum(periods, HORIZON) - 1]
        walks = [
            walk(
                paths[row, path],
                on_hand + receipts.units[own] @ (periods >= arrival[own, path, None]),
                lead[row, path],
                end[row, path],
                lost=lost[row],
            )
            for path in range(PATHS)
        ]
        assert found.worst_need[row] == pytest.approx([worst for worst, _, _ in walks], abs=1e-4)
        for path, (_, needs, _) in enumerate(walks):
            assert found.need[row, : len(needs), path] == pytest.approx(needs, abs=1e-4)
            assert np.isinf(found.need[row, len(needs) :, path]).all()
        assert found.stockout_by[row] == pytest.approx(np.mean([by for _, _, by in walks], axis=0))


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
