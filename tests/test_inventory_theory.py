"""Textbook formulas against published answers (tests/data/inventory_theory, numbers from the stockpyl project, MIT)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import lognorm, norm

from ml import inventory_theory as theory

DATA = Path(__file__).parent / "data" / "inventory_theory"
INSTANCES: dict[str, dict[str, Any]] = json.loads((DATA / "instances.json").read_text())
ROWS = pd.read_csv(DATA / "expected_values.csv", dtype=str)
RESULTS = {
    "economic_order_quantity": ("order_quantity", "cost"),
    "economic_order_quantity_with_all_units_discounts": ("order_quantity", "region", "cost"),
    "economic_order_quantity_with_incremental_discounts": ("order_quantity", "region", "cost"),
    "economic_order_quantity_with_backorders": ("order_quantity", "stockout_fraction", "cost"),
    "economic_production_quantity": ("order_quantity", "cost"),
    "joint_replenishment_problem_silver_heuristic": ("order_quantities", "base_cycle_time", "order_multiples", "cost"),
    "newsvendor_normal": ("base_stock_level", "cost"),
    "newsvendor_poisson": ("base_stock_level", "cost"),
    "newsvendor_discrete": ("base_stock_level", "cost"),
    "newsvendor_continuous": ("base_stock_level", "cost"),
    "newsvendor_normal_explicit": ("base_stock_level", "profit"),
    "newsvendor_poisson_explicit": ("base_stock_level", "profit"),
    "myopic": ("base_stock_level", "cost"),
    "r_q_eil_approximation": ("r", "Q", "cost"),
    "r_q_eoqb_approximation": ("r", "Q"),
    "r_q_eoqss_approximation": ("r", "Q"),
    "r_q_loss_function_approximation": ("r", "Q"),
    "r_q_poisson_exact": ("r", "Q", "cost"),
    "s_s_discrete_exact": ("s", "S", "g"),
    "s_s_power_approximation": ("s", "S"),
    "wagner_whitin": ("order_quantities", "cost", "costs_to_go", "next_order_periods"),
}


def by_demand_kind(solve: Callable[..., Any]) -> Callable[..., Any]:
    """Adapt a function of a demand pmf to calls that name a Poisson mean or a pmf."""

    def call(*arguments: Any, demand_pmf: Any = None, **_: Any) -> Any:
        *numbers, poisson, mean = arguments if demand_pmf is None else (*arguments, False, 0.0)
        return solve(*numbers, theory.poisson_pmf(mean) if poisson else probabilities(demand_pmf))

    return call


def probabilities(pmf: Any) -> list[float]:
    if isinstance(pmf, dict):
        return [pmf.get(str(value), 0.0) for value in range(max(map(int, pmf)) + 1)]
    return list(pmf)


def ours_discrete(
    holding: float, stockout: float, demand: Any = None, demand_pmf: Any = None, base_stock_level: Any = None
):
    return theory.newsvendor_discrete(holding, stockout, probabilities(demand_pmf), base_stock_level)


def ours_wagner_whitin(periods: int, holding: Any, fixed: Any, demand: Any, purchase: Any = 0.0):
    orders, cost, to_go, following = theory.lot_sizes(holding, fixed, demand, purchase)
    return [0, *orders], cost, to_go, [0, *following]


OURS: dict[str, Callable[..., Any]] = {
    "economic_order_quantity": theory.economic_order_quantity,
    "economic_order_quantity_with_all_units_discounts": theory.economic_order_quantity_with_all_units_discounts,
    "economic_order_quantity_with_incremental_discounts": theory.economic_order_quantity_with_incremental_discounts,
    "economic_order_quantity_with_backorders": theory.economic_order_quantity_with_backorders,
    "economic_production_quantity": theory.economic_production_quantity,
    "newsvendor_normal": theory.newsvendor_normal,
    "newsvendor_normal_cost": theory.newsvendor_normal_cost,
    "newsvendor_poisson": theory.newsvendor_poisson,
    "newsvendor_poisson_cost": theory.newsvendor_poisson_cost,
    "newsvendor_discrete": ours_discrete,
    "newsvendor_normal_explicit": theory.newsvendor_normal_explicit,
    "newsvendor_poisson_explicit": theory.newsvendor_poisson_explicit,
    "myopic": theory.myopic_base_stock,
    "myopic_cost": theory.myopic_cost,
    "r_q_cost": theory.reorder_point_cost,
    "r_q_cost_poisson": theory.reorder_point_cost_poisson,
    "r_q_optimal_r_for_q": lambda *a, tol: theory.reorder_point_for_quantity(*a),
    "r_q_poisson_exact": theory.reorder_point_poisson_exact,
    "s_s_cost_discrete": by_demand_kind(theory.min_max_cost),
    "s_s_discrete_exact": by_demand_kind(theory.min_max_exact),
    "s_s_power_approximation": theory.min_max_power_approximation,
    "wagner_whitin": ours_wagner_whitin,
}


def answer(row: pd.Series, functions: dict[str, Callable[..., Any]]) -> Any:
    """Evaluate a published call with the numbers of its instance; NameError when it needs more than those."""
    instance = INSTANCES.get(row["instance"], {}) if isinstance(row["instance"], str) else {}
    modules = {name: SimpleNamespace(**functions) for name in ("newsvendor", "rq")}
    value = eval(row["call"], {"__builtins__": {}}, {**functions, **modules, **instance, "instance": instance})
    name = row["call"].split("(")[0].split(".")[-1]
    if name == "set_myopic_cost_to":
        costs = [instance[k] for k in ("holding_cost", "stockout_cost", "purchase_cost", "purchase_cost_next_per")]
        rest = [instance[k] for k in ("demand_mean", "demand_sd", "discount_factor")]
        return theory.myopic_cost(value, *costs, *rest)
    return value[RESULTS[name].index(row["quantity"])] if name in RESULTS else value


def reference() -> dict[str, Callable[..., Any]]:
    """Return stockpyl's functions, for approximations whose definition is its own."""
    import stockpyl.eoq
    import stockpyl.newsvendor
    import stockpyl.rq

    modules = (stockpyl.eoq, stockpyl.newsvendor, stockpyl.rq)
    return {name: getattr(module, name) for module in modules for name in dir(module) if not name.startswith("_")}


def evaluable() -> list[int]:
    """Return the rows whose call names nothing beyond the instance and the functions."""
    kept = []
    for place, row in ROWS.iterrows():
        instance = INSTANCES.get(row["instance"], {}) if isinstance(row["instance"], str) else {}
        names = compile(row["call"], "call", "eval").co_names
        known = {*instance, "instance", "newsvendor", "rq"}
        if all(name in known or f"{name}(" in row["call"] for name in names):
            kept.append(place)
    return kept


# stockpyl's docstrings hold LaTeX in plain strings.
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:invalid escape sequence:SyntaxWarning")
@pytest.mark.parametrize("place", evaluable())
def test_published_answer(place: int):
    row = ROWS.loc[place]
    name = row["call"].split("(")[0].split(".")[-1]
    functions = OURS if name in OURS else {**reference(), **OURS}
    assert answer(row, functions) == pytest.approx(json.loads(row["expected"]), rel=1e-6, abs=1e-6)


def test_most_published_answers_evaluate():
    assert len(evaluable()) >= 158


def test_newsvendor_with_a_lognormal_demand_meets_the_published_answer():
    h, p, mu, sigma = (INSTANCES["problem_4_8b"][k] for k in ("holding_cost", "stockout_cost", "mu", "sigma"))
    assert float(lognorm(sigma, 0, math.exp(mu)).ppf(p / (h + p))) == pytest.approx(295.6266448071368, rel=1e-9)


@pytest.mark.parametrize(
    ("review", "sd", "safety", "level"), [(0, 100.7472, 129.1127, 429.1127), (1, 100.8712, 129.2717, 479.2717)]
)
def test_independent_demand_and_lead_time(review: int, sd: float, safety: float, level: float):
    spread = theory.lead_time_demand_sd(50, 5, 6 + review, 2)
    assert spread == pytest.approx(sd, abs=5e-5)
    assert theory.safety_stock(0.90, spread) == pytest.approx(safety, abs=5e-5)
    assert theory.reorder_point(50, 5, 6 + review, 2, 0.90) == pytest.approx(level, abs=5e-5)


def test_newsvendor_is_the_critical_quantile():
    level, _ = theory.newsvendor_normal(2, 18, 120, 10)
    assert level == pytest.approx(132.815515655446, abs=1e-9)


@pytest.mark.parametrize(
    ("quantity", "fill_rate", "approximate", "exact"),
    [(200, 0.95, 0.9023, 0.8994), (200, 0.99, 1.6631, 1.6624), (2000, 0.99, 0.4929, 0.4929)],
)
def test_fill_rate_factor(quantity: float, fill_rate: float, approximate: float, exact: float):
    assert theory.fill_rate_factor(fill_rate, quantity, 100, exact=False) == pytest.approx(approximate, abs=5e-5)
    assert theory.fill_rate_factor(fill_rate, quantity, 100) == pytest.approx(exact, abs=5e-5)


def test_normal_loss_is_the_integral_of_the_tail():
    z = 0.7
    grid = np.linspace(z, 12, 200_001)
    assert theory.normal_loss(z) == pytest.approx(np.trapezoid(norm.sf(grid), grid), abs=1e-9)


def test_no_min_max_pair_beats_the_exact_one():
    pmf = theory.poisson_pmf(4.0)
    s, S, cost = theory.min_max_exact(1.0, 9.0, 20.0, pmf)
    others = [theory.min_max_cost(a, b, 1.0, 9.0, 20.0, pmf) for a in range(s - 4, s + 5) for b in range(a + 1, S + 8)]
    assert cost == pytest.approx(min(others), abs=1e-9)


def test_no_order_plan_beats_wagner_whitin():
    demand, rng = [3, 0, 7, 2, 9, 4], np.random.default_rng(0)
    held, fixed = rng.uniform(0.1, 1, 6), rng.uniform(1, 9, 6)
    _, cost, _, _ = theory.lot_sizes(held, fixed, demand)

    def total(mask: int) -> float:
        stock, spent = 0.0, 0.0
        for t in range(6):
            if mask >> t & 1:
                end = next((u for u in range(t + 1, 6) if mask >> u & 1), 6)
                stock += sum(demand[t:end])
                spent += fixed[t]
            stock -= demand[t]
            spent += held[t] * stock
        return spent

    assert cost == pytest.approx(min(total(mask | 1) for mask in range(0, 64, 2)))


def test_a_level_outside_0_and_1_is_named():
    with pytest.raises(ValueError, match="level is 1"):
        theory.normal_quantile(1.0)


def test_orders_that_cost_nothing_are_as_small_as_may_be():
    assert theory.economic_order_quantity(0, 2.0, 10.0) == (0.0, 0.0)
    assert theory.economic_order_quantity(0, 2.0, 10.0, order_quantity=4) == (4, 4.0)
    assert theory.economic_order_quantity_with_backorders(0, 2.0, 3.0, 10.0)[::2] == (0.0, 0.0)
    quantity, region, cost = theory.economic_order_quantity_with_all_units_discounts(0, 0.2, 10, [0, 100], [5, 4])
    assert (quantity, region, cost) == (0.0, 0, 50.0)
    assert theory.economic_order_quantity_with_incremental_discounts(0, 0.2, 10, [0, 100], [5, 4])[:2] == (0.0, 0)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: theory.economic_order_quantity(-1, 2.0, 10.0), "fixed_cost is -1: give 0 or a number above"),
        (lambda: theory.economic_order_quantity(5, 2.0, 10.0, order_quantity=0), "order_quantity is 0: give"),
        *(
            (lambda f=f, starts=starts, prices=prices: f(8, 0.3, 10, starts, prices), told)
            for f in (
                theory.economic_order_quantity_with_all_units_discounts,
                theory.economic_order_quantity_with_incremental_discounts,
            )
            for starts, prices, told in (
                ([0, 200, 100], [5, 4, 3], r"breakpoints are \[0, 200, 100\]: give them ascending from 0"),
                ([10, 200], [5, 4], "give them ascending from 0"),
                ([0, 200], [5], "2 breakpoints and 1 unit_costs: give a price for each"),
                ([0, 200], [5, 0], "unit_cost is 0: give a number above 0"),
            )
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(call: Callable[[], Any], told: str):
    with pytest.raises(ValueError, match=told):
        call()
