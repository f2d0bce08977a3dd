"""What a change of the world or of the policy would do to the next orders; production is not touched.

Here belongs the comparison of scenarios. Each is decided by `ml.restock`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.restock import recommend
from ml.restock_allocate import allocate


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One change; the defaults change nothing.

    Attributes:
        name: how the result is labelled.
        demand_factor: every demand draw times this; 1.2 = 20 % more.
        extra_lead_periods: whole periods added to every lead time; the paths are made longer by as many
            (`longer_paths`), so that no item falls out.
        target_value: service level instead of the policy's own, for service targets.
        unit_cost_factor: every unit cost times this.
        budget: money for all orders together; None = no limit.
    """

    name: str
    demand_factor: float = 1.0
    extra_lead_periods: int = 0
    target_value: float | None = None
    unit_cost_factor: float = 1.0
    budget: float | None = None


def what_if(
    keys: pd.DataFrame,
    paths: npt.NDArray[np.float32],
    position: pd.DataFrame,
    open_orders: pd.DataFrame,
    terms: pd.DataFrame,
    policy: pd.DataFrame,
    scenarios: list[Scenario],
    *,
    suppliers: pd.DataFrame | None = None,
    lots: pd.DataFrame | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Decide the same moment once as it is and once per scenario, side by side.

    Args:
        keys: as of `ml.restock.recommend`, like the following five.
        paths: likewise.
        position: likewise.
        open_orders: likewise.
        terms: likewise; unit_cost is needed.
        policy: likewise.
        scenarios: the changes; "as it is" is always the first row.
        suppliers: as of `ml.restock_allocate.allocate`, used with a budget; default without minimums.
        lots: likewise.
        seed: the same draws in every scenario.

    Returns:
        One row per scenario: scenario, order_lines, order_units, order_cost, expected_stockouts (sum of the lines'
        stock-out probabilities in the cycle they order for), excess_units (inventory position after the order beyond
        the order-up-to level), exception_lines, and order_cost_change against the first row.

    Raises:
        ValueError: a factor is not above 0, or two scenarios share a name.
    """
    every = [Scenario("as it is"), *scenarios]
    names = [scenario.name for scenario in every]
    if len(set(names)) < len(names):
        raise ValueError(f"scenario names are {names}: give each its own; 'as it is' is taken")
    rows = []
    for scenario in every:
        if not (scenario.demand_factor > 0 and scenario.unit_cost_factor > 0):
            raise ValueError(f"scenario {scenario.name!r} has a factor of 0 or less: give factors above 0")
        changed = terms.assign(
            lead_time_periods=terms["lead_time_periods"] + scenario.extra_lead_periods,
            unit_cost=terms["unit_cost"] * scenario.unit_cost_factor,
        )
        if "lead_time_mean_periods" in terms:
            changed["lead_time_mean_periods"] = terms["lead_time_mean_periods"] + scenario.extra_lead_periods
        rule = policy
        if scenario.target_value is not None:
            service = policy["target_type"].isin(["cycle_service_level", "fill_rate"])
            rule = policy.assign(target_value=policy["target_value"].mask(service, scenario.target_value))
        drawn = paths if scenario.demand_factor == 1.0 else paths * np.float32(scenario.demand_factor)
        drawn = longer_paths(drawn, scenario.extra_lead_periods, seed=seed)
        lines, _, benefit = recommend(keys, drawn, position, open_orders, changed, rule, lots=lots, seed=seed)
        rows.append(_summary(scenario, lines, benefit, changed, suppliers))
    table = pd.DataFrame(rows)
    table["order_cost_change"] = table["order_cost"] - table["order_cost"].iloc[0]
    return table


def longer_paths(
    paths: npt.NDArray[np.float32], extra: int, *, season: int = 7, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Return paths that reach further: a period beyond the horizon draws what the one a season before it draws.

    The paths are put in another order for each further season, so that what lies beyond the horizon does not repeat
    what came before it in the same path.

    Args:
        paths: units [items, n, horizon].
        extra: further periods, from 0 on.
        season: periods after which demand repeats its pattern; a shorter horizon repeats as a whole.
        seed: decides the order.

    Returns:
        units [items, n, horizon + extra]; the first `horizon` periods are those given.
    """
    if extra <= 0:
        return paths
    _, n, horizon = paths.shape
    last = paths[:, :, -min(season, horizon) :]
    generator = np.random.default_rng(seed)
    further = [last[:, generator.permutation(n)] for _ in range(-(-extra // last.shape[2]))]
    return np.concatenate([paths, *further], axis=2)[:, :, : horizon + extra]


def _summary(
    scenario: Scenario, lines: pd.DataFrame, benefit: pd.DataFrame, terms: pd.DataFrame, suppliers: pd.DataFrame | None
) -> dict[str, object]:
    units = lines["order_units"]
    risk = lines["stockout_probability_with_order"]
    if scenario.budget is not None:
        if suppliers is None:
            known = lines["supplier_id"].dropna().unique()
            suppliers = pd.DataFrame({"supplier_id": known, "minimum_order_value": 0.0})
        plan = allocate(lines, benefit, suppliers, scenario.budget)
        share = (plan["allocated_units"] / units.where(units > 0, 1.0)).clip(0, 1)
        units = plan["allocated_units"]
        # Between no order and the whole one the risk is taken in proportion: an estimate, not a simulation.
        risk = lines["stockout_probability_without_order"] * (1 - share) + risk * share
    price = lines[["sku", "location_id"]].merge(terms, on=["sku", "location_id"], how="left")["unit_cost"]
    after = lines["inventory_position_units"] + units - lines["order_up_to_units"]
    return {
        "scenario": scenario.name,
        "order_lines": int((units > 0).sum()),
        "order_units": float(round(units.sum(), 3)),
        "order_cost": float(round((units * price).sum(), 4)),
        "expected_stockouts": float(round(risk.sum(), 4)),
        "excess_units": float(round(after.clip(lower=0).sum(), 3)),
        "exception_lines": int((lines["status"] == "exception").sum()),
    }
