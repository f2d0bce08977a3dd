"""What a change of the world or of the policy would do to the next orders; production is not touched.

Here belongs the comparison of scenarios. Each is decided by `ml.restock.plan`, as the daily orders are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.restock.plan import PathsOf, World, plan_orders


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One change; the defaults change nothing.

    Attributes:
        name: how the result is labelled.
        demand_factor: every demand draw times this; 1.2 = 20 % more.
        extra_lead_periods: whole periods added to every lead time; the paths are made longer by as many
            (`longer_paths`), so that no item falls out.
        target_value: service level instead of the policy's own; items that aim at the least cost aim at this cycle
            service level instead.
        price_factor: every selling price times this: a lost unit loses that much more or less of its margin. What
            customers do about a price is a `demand_factor`.
        unit_cost_factor: every unit cost times this.
        budget: money for all orders together; None = that of the world.
    """

    name: str
    demand_factor: float = 1.0
    extra_lead_periods: int = 0
    target_value: float | None = None
    price_factor: float = 1.0
    unit_cost_factor: float = 1.0
    budget: float | None = None


def what_if(paths_of: PathsOf, world: World, scenarios: Sequence[Scenario], *, seed: int = 0) -> pd.DataFrame:
    """Decide the same day once as it is and once per scenario, side by side.

    No scenario keeps to the levels published last: each would lie nearer to them than to its own best ones.

    Args:
        paths_of: as of `ml.restock.plan.plan_orders`.
        world: likewise; unit_cost is needed, and unit_price where a scenario changes prices.
        scenarios: the changes; "as it is" is always the first row.
        seed: the same draws in every scenario.

    Returns:
        One row per scenario: scenario, order_lines, order_units, order_cost, expected_stockouts (sum of the lines'
        stock-out probabilities in the cycle they order for), expected_lost_units, excess_units (inventory position
        after the order and the proposed transfers beyond the order-up-to level), transfer_units (proposed),
        exception_lines, and order_cost_change against the first row.

    Raises:
        ValueError: a factor is not above 0, or two scenarios share a name.
    """
    every = [Scenario("as it is"), *scenarios]
    names = [scenario.name for scenario in every]
    if len(set(names)) < len(names):
        raise ValueError(f"scenario names are {names}: give each its own; 'as it is' is taken")
    for scenario in every:
        if not min(scenario.demand_factor, scenario.price_factor, scenario.unit_cost_factor) > 0:
            raise ValueError(f"scenario {scenario.name!r} has a factor of 0 or less: give factors above 0")
    table = pd.DataFrame([_decided(paths_of, world, scenario, seed) for scenario in every])
    table["order_cost_change"] = table["order_cost"] - table["order_cost"].iloc[0]
    return table


def _decided(paths_of: PathsOf, world: World, scenario: Scenario, seed: int) -> dict[str, object]:
    def changed_paths(keys: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, npt.NDArray[np.float32]]]:
        for chunk, paths in paths_of(keys):
            yield (
                chunk,
                longer_paths(paths * np.float32(scenario.demand_factor), scenario.extra_lead_periods, seed=seed),
            )

    changed = _changed(world, scenario)
    plan = plan_orders(changed_paths, changed, seed=seed)
    lines = plan.lines
    cost = lines[["sku", "location_id"]].merge(changed.terms, on=["sku", "location_id"], how="left")["unit_cost"]
    after = lines["inventory_position_units"] + lines["proposed_transfer_in_units"] + lines["order_units"]
    after -= lines["order_up_to_units"]
    return {
        "scenario": scenario.name,
        "order_lines": int((lines["order_units"] > 0).sum()),
        "order_units": float(round(lines["order_units"].sum(), 3)),
        "order_cost": float(round((lines["order_units"] * cost).sum(), 4)),
        "expected_stockouts": float(round(lines["stockout_probability_with_order"].sum(), 4)),
        "expected_lost_units": float(round(lines["lost_units_with_order"].sum(), 3)),
        "excess_units": float(round(after.clip(lower=0).sum(), 3)),
        "transfer_units": float(round(lines["proposed_transfer_in_units"].sum(), 3)),
        "exception_lines": int((lines["status"] == "exception").sum()),
    }


def _changed(world: World, scenario: Scenario) -> World:
    terms = world.terms.assign(
        lead_time_periods=world.terms["lead_time_periods"] + scenario.extra_lead_periods,
        unit_cost=world.terms["unit_cost"] * scenario.unit_cost_factor,
    )
    if "lead_time_mean_periods" in terms:
        terms["lead_time_mean_periods"] += scenario.extra_lead_periods
    policy = world.policy
    if scenario.target_value is not None:
        by_cost = policy["target_type"] == "cost"
        asked = by_cost | policy["target_type"].isin(["cycle_service_level", "fill_rate"])
        policy = policy.assign(
            target_type=policy["target_type"].mask(by_cost, "cycle_service_level"),
            target_value=policy["target_value"].mask(asked, scenario.target_value),
        )
    if scenario.price_factor != 1.0:
        price = policy[["sku", "location_id"]].merge(terms, on=["sku", "location_id"], how="left")["unit_price"]
        dearer = (price * (scenario.price_factor - 1)).fillna(0.0).to_numpy(dtype=np.float64)
        policy = policy.assign(shortage_cost=(policy["shortage_cost"] + dearer).clip(lower=0))
    budget = world.budget if scenario.budget is None else scenario.budget
    return dataclasses.replace(world, terms=terms, policy=policy, budget=budget, held=None)


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
