"""Policies replayed through time, the gate over replays, achieved service, what-if."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ml.replay import Decide, Seen, State, replay
from ml.replay.gate import decision_verdict, service, service_calibration
from ml.restock import recommend
from ml.restock.large_orders import split_large_orders
from ml.restock.lead_times import draw_lead_times
from ml.restock.plan import World
from ml.restock.scenarios import Scenario, what_if
from ml.restock.simulation import sample_quantile

DAYS = pd.date_range("2024-01-01", periods=400, freq="D")


def demand_frame(values: np.ndarray) -> pd.DataFrame:
    """One row per item and day from units [items, days]."""
    items, days = values.shape
    return pd.DataFrame(
        {
            "sku": np.repeat([f"s{i}" for i in range(items)], days),
            "location_id": "L1",
            "period_start": np.tile(DAYS[:days].to_numpy(), items),
            "demand_units": values.ravel(),
        }
    )


def shelf(items: int, units: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame(
        {"sku": [f"s{i}" for i in range(items)], "location_id": "L1", "periods_ahead": 0, "units": units}
    )


def terms(items: int, lead: int = 2, **columns: object) -> pd.DataFrame:
    keys = shelf(items)[["sku", "location_id"]]
    return keys.assign(lead_time_periods=lead, holding_cost=0.2, shortage_cost=1.0, **columns)


def never(t: int, state: State, seen: Seen) -> np.ndarray:
    return np.zeros(len(state.keys))


def up_to(level: float) -> Decide:
    return lambda t, state, seen: np.maximum(level - state.position, 0)


def test_an_order_is_sold_from_the_period_after_its_lead_time():
    result = replay(demand_frame(np.ones((1, 6))), shelf(1, 1.0), terms(1), up_to(5.0))
    # Nothing is known before the first day, so the first order is placed at its end and sold from the fourth on.
    assert result["served_units"].tolist() == [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]


def test_costs_are_what_is_left_and_what_is_lost():
    result = replay(demand_frame(np.array([[1.0, 3.0]])), shelf(1, 2.0), terms(1), never)
    assert result["cost"].tolist() == [0.2, 2.0]


def test_stock_is_conserved():
    demand = np.random.default_rng(0).poisson(3, (4, 60)).astype(float)
    result = replay(demand_frame(demand), shelf(4, 5.0), terms(4), up_to(15.0))
    last = result.groupby("sku")["stock_units"].last()
    moved = result.groupby("sku")[["received_units", "served_units"]].sum()
    assert (last == 5.0 + moved["received_units"] - moved["served_units"]).all()


def test_a_masked_period_receives_but_neither_sells_nor_costs():
    result = replay(demand_frame(np.array([[1.0, np.nan, 1.0]])), shelf(1, 3.0), terms(1, lead=0), up_to(3.0))
    assert result["cost"].tolist()[1] == 0.0
    assert result["stock_units"].tolist() == [2.0, 3.0, 2.0]


def test_backorders_are_served_first_when_stock_comes():
    result = replay(
        demand_frame(np.array([[4.0, 1.0, 1.0]])), shelf(1, 1.0), terms(1, lead=0), up_to(2.0), lost_sales=False
    )
    assert result["backordered_units"].tolist() == [3.0, 0.0, 0.0]
    assert result["stock_units"].tolist()[1] == 1.0


def test_orders_are_placed_on_order_days_alone():
    result = replay(demand_frame(np.ones((1, 10))), shelf(1), terms(1), up_to(9.0), order_days=DAYS[[3, 7]])
    assert np.flatnonzero(result["order_units"]).tolist() == [3, 7]


def test_every_policy_meets_the_same_lead_times():
    demand, uncertain = demand_frame(np.ones((3, 50))), terms(3, lead=5, lead_time_sd_periods=2.0)
    ordered = [
        replay(demand, shelf(3), uncertain, lambda t, s, k, u=units: np.full(3, u), seed=1) for units in (1.0, 2.0)
    ]
    assert (ordered[0]["received_units"] * 2 == ordered[1]["received_units"]).all()
    assert ordered[0]["received_units"].nunique() > 1


def test_own_sales_hide_what_was_lost_and_say_so():
    seen_at_the_end: list[Seen] = []

    def watch(t: int, state: State, seen: Seen) -> np.ndarray:
        seen_at_the_end[:] = [seen]
        return np.zeros(1)

    result = replay(demand_frame(np.array([[2.0, 5.0]])), shelf(1, 3.0), terms(1), watch, information="own_sales")
    seen = seen_at_the_end[0]
    assert seen.demand.tolist() == [[2.0, 1.0]]
    assert seen.is_lower_bound.tolist() == [[False, True]]
    assert (seen.is_censored, result.attrs["information"]) == (True, "own_sales")


def test_a_negative_order_is_named():
    with pytest.raises(ValueError, match="2024-01-01"):
        replay(demand_frame(np.ones((1, 3))), shelf(1), terms(1), lambda t, s, k: np.array([-1.0]))


def test_a_replay_starts_after_the_period_of_its_state():
    state = shelf(1, 9.0).assign(period_start=DAYS[4])
    assert replay(demand_frame(np.ones((1, 8))), state, terms(1), never)["period_start"].tolist() == DAYS[5:8].tolist()


def service_of_level(level: float, draws: np.ndarray, kind: str) -> float:
    """Service of one cycle of lead time 2 and review 1 that starts with the position at a level, in fresh draws."""
    before, cycle = draws[:, :2].sum(axis=1), draws[:, 2]
    if kind == "cycle_service_level":
        return float((before + cycle <= level).mean())
    short = np.maximum(before + cycle - level, 0) - np.maximum(before - level, 0)
    return float(1 - short.sum() / cycle.sum())


@cache
def demand_kinds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shape = (400_000, 3)
    return {
        "smooth": rng.poisson(40, shape).astype(float),
        "erratic": rng.negative_binomial(2, 2 / 22, shape).astype(float),
        "intermittent": rng.poisson(0.3, shape).astype(float),
        "lumpy": rng.binomial(1, 0.2, shape) * rng.negative_binomial(1, 0.1, shape).astype(float),
    }


@pytest.mark.parametrize("pack", [1, 6])
@pytest.mark.parametrize("kind", ["cycle_service_level", "fill_rate"])
@pytest.mark.parametrize("name", list(demand_kinds()))
def test_the_order_meets_its_service_and_one_pack_less_misses_it(name: str, kind: str, pack: int):
    draws = demand_kinds()[name]
    keys = shelf(1)[["sku", "location_id"]]
    lines, _, _ = recommend(
        keys,
        draws[None, :100_000].astype(np.float32),
        keys.assign(on_hand_units=0.0),
        keys.assign(periods_ahead=1, units=0.0),
        keys.assign(supplier_id="S", lead_time_periods=2, review_periods=1, order_multiple_units=pack),
        keys.assign(target_type=kind, target_value=0.9, unmet_demand="backorders"),
    )
    level = lines["order_units"].iloc[0]
    fresh = draws[100_000:]
    assert service_of_level(level, fresh, kind) >= 0.9 - 0.005
    assert service_of_level(level - pack, fresh, kind) < 0.9 + 0.005


def test_the_fitted_tail_is_closer_to_a_high_quantile_than_the_plain_one():
    rng = np.random.default_rng(0)
    truth = stats.nbinom(1.5, 0.05).ppf(0.995)
    draws = rng.negative_binomial(1.5, 0.05, (400, 500)).astype(np.float32)
    fitted = sample_quantile(draws, np.full(400, 0.995))
    plain = np.sort(draws, axis=1)[:, 497]
    assert np.abs(fitted / truth - 1).mean() < np.abs(plain / truth - 1).mean()


def test_lead_time_draws_have_the_mean_and_the_spread_asked():
    keys = shelf(3)[["sku", "location_id"]]
    drawn = draw_lead_times(keys, np.full(3, 10.0), np.full(3, 10.0), np.full(3, 3.0), 2000)
    assert drawn.mean() == pytest.approx(10.0, abs=0.1)
    assert drawn.std() == pytest.approx(3.0, abs=0.15)


def two_replays(level: float, other: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    demand = demand_frame(np.random.default_rng(1).poisson(3, (40, 80)).astype(float))
    return replay(demand, shelf(40, 9.0), terms(40), up_to(level)), replay(
        demand, shelf(40, 9.0), terms(40), up_to(other)
    )


def test_a_cheaper_policy_passes_the_gate_and_a_dearer_one_does_not():
    cheap, dear = two_replays(13.0, 30.0)
    assert decision_verdict(cheap, dear)["passed"].all()
    assert not decision_verdict(dear, cheap)["passed"].all()


def test_a_cheaper_policy_below_its_service_target_fails():
    low, high = two_replays(8.0, 14.0)
    verdict = decision_verdict(low, high, target_type="fill_rate", target_value=0.95).set_index("criterion")
    assert not verdict.loc["fill_rate", "passed"]


def test_a_segment_that_surely_costs_more_regresses():
    cheap, dear = two_replays(13.0, 30.0)
    mixed = cheap.where(cheap["sku"].str[1:].astype(int) >= 15, dear).infer_objects()
    segments = shelf(40)[["sku", "location_id"]].assign(segment=np.where(np.arange(40) < 15, "C", "A"))
    verdict = decision_verdict(mixed, cheap, segments=segments).set_index("segment")
    assert (verdict.loc["C", "passed"], verdict.loc["A", "passed"]) == (False, True)


def test_replayed_fill_rate_is_served_over_demanded():
    result, _ = two_replays(9.0, 9.0)
    assert service(result, "fill_rate") == pytest.approx(result["served_units"].sum() / result["demand_units"].sum())


def test_a_broken_promise_raises_the_target():
    decisions = pd.DataFrame({"cohort": "lumpy", "promised": 0.95, "delivered": [True] * 880 + [False] * 120})
    row = service_calibration(decisions, target_value=0.95).iloc[0]
    assert not row["is_calibrated"]
    assert 0.97 < row["corrected_target"] < 0.99


def test_a_large_order_line_is_left_to_a_separate_purchase():
    lines = pd.DataFrame({"sku": "s0", "location_id": "L1", "ordered_units": [10, 300]})
    out = split_large_orders(lines, pd.DataFrame({"sku": ["s0"], "location_id": "L1", "mean_units": 2.0}))
    assert (out["is_large"].tolist(), out["stocked_units"].tolist()) == ([False, True], [10, 0])


def compared(*changes: Scenario, target: str = "cycle_service_level") -> pd.DataFrame:
    keys = shelf(5)[["sku", "location_id"]]
    paths = np.random.default_rng(0).poisson(3, (5, 200, 20)).astype(np.float32)
    world = World(
        position=keys.assign(on_hand_units=4.0),
        open_orders=keys.assign(periods_ahead=1, units=0.0),
        terms=keys.assign(supplier_id="S", lead_time_periods=5, review_periods=3, unit_cost=2.0, unit_price=5.0),
        policy=keys.assign(
            target_type=target, target_value=0.9, unmet_demand="backorders", holding_cost=0.1, shortage_cost=3.0
        ),
    )
    rows = pd.MultiIndex.from_frame(keys)
    return what_if(
        lambda wanted: [(wanted, paths[rows.get_indexer(pd.MultiIndex.from_frame(wanted))])], world, changes
    ).set_index("scenario")


def test_what_if_shows_each_change_beside_the_world_as_it_is():
    table = compared(
        Scenario("demand +20 %", demand_factor=1.2),
        Scenario("five days later", extra_lead_periods=5),
        Scenario("service 0.99", target_value=0.99),
        Scenario("half the money", budget=100.0),
    )
    base = table.loc["as it is", "order_units"]
    assert (table.loc[["demand +20 %", "five days later", "service 0.99"], "order_units"] > base).all()
    assert table.loc["half the money", "order_cost"] <= 100.0
    for risk in ("expected_stockouts", "expected_lost_units"):
        assert table.loc["half the money", risk] > table.loc["as it is", risk]


def test_what_if_a_service_level_were_asked_for_instead_of_the_least_cost():
    low, high = (
        compared(Scenario("asked", target_value=level), target="cost").loc["asked", "order_units"]
        for level in (0.5, 0.99)
    )
    assert low < high
    assert high == compared(Scenario("asked", target_value=0.99)).loc["asked", "order_units"]


def test_a_higher_price_makes_a_lost_unit_dearer_and_stock_worth_more():
    table = compared(Scenario("price +50 %", price_factor=1.5), target="cost")
    assert table["order_units"].is_monotonic_increasing
    assert table["order_units"].iloc[1] > table["order_units"].iloc[0]


def test_a_policy_sees_when_orders_are_due_and_not_when_they_come():
    seen = []

    def watch(t: int, state: State, known: Seen) -> np.ndarray:
        seen.append(state.open_orders()[["periods_ahead", "units", "overdue_periods"]].to_numpy().tolist())
        return np.zeros(1)

    state = pd.concat([shelf(1, 5.0), shelf(1, 7.0).assign(periods_ahead=2)])
    late = terms(1, lead=2).assign(lead_time_samples=[[5.0, 5.0]])
    rows = replay(demand_frame(np.zeros((1, 7))), state, late, watch)
    assert (seen[0], seen[3]) == ([[1, 7.0, 0]], [[1, 7.0, 3]])
    assert rows["received_units"].tolist() == [0, 0, 0, 0, 7, 0, 0]


def test_what_comes_first_belongs_to_the_order_that_was_placed_first():
    early = pd.DataFrame({"sku": "s0", "location_id": "L1", "period_start": DAYS[[0, 1]], "lead_time_periods": [5, 1]})
    ordered = iter([1.0, 2.0])

    def two(t: int, state: State, seen: Seen) -> np.ndarray:
        return np.array([next(ordered) if t in (0, 1) else 0.0])

    rows = replay(demand_frame(np.zeros((1, 9))), shelf(1), terms(1, lead=1), two, lead_times=early)
    assert rows["received_units"].tolist() == [0, 0, 0, 1, 0, 0, 2, 0, 0]
