"""Sharing what is scarce between restock lines: a budget, a supplier's minimum and capacity, the cost of an order.

Here belongs the choice between lines. What one line wants is decided in `ml.restock`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ml.restock.exceptions import Cause
from ml.restock.inputs import column
from ml.schema import KEYS


def allocate(
    lines: pd.DataFrame, benefits: pd.DataFrame, suppliers: pd.DataFrame, budget: float | None = None
) -> pd.DataFrame:
    """Choose the blocks to buy by benefit per unit of money.

    Blocks are taken from the best ratio down until the first one that does not fit. So a plan with a larger budget
    contains every plan with a smaller one, and its benefit is at least the optimum less the benefit of that first
    block (Dantzig, Operations Research 5, 1957, p. 275: up to it the greedy order solves the relaxed problem).

    A supplier whose lines stay below its minimum order value is topped up with the best further blocks as long as the
    whole order is still worth it, else it waits. The blocks that reach the minimum are bought together or not at all.

    A supplier with a fixed order cost is ordered from once waiting for the next review costs its lines more together
    than waiting saves: the share of the fixed cost that falls on one review. What is made to order does not wait.

    Args:
        lines: sku, location_id, supplier_id, order_units and, where suppliers have a fixed order cost, target_type and
            waiting_cost, as `ml.restock.recommend` returns them.
        benefits: sku, location_id, supplier_id, block, units, order_cost, benefit, in_order, likewise.
        suppliers: supplier_id, minimum_order_value and optionally max_order_value, fixed_order_cost (missing = none)
            and reviews_per_order (reviews that an order lasts, default 1).
        budget: money for the goods of all orders together; None = no limit.

    Returns:
        One row per line: sku, location_id, supplier_id, order_units (wanted), allocated_units, order_cost and benefit
        of what is allocated, status (order, reduced, held, waits = the supplier's order is not worth its fixed cost,
        no_order, exception) and reason.

    Raises:
        ValueError: lines and benefits disagree about a line's units, or a supplier is named twice.
    """
    return allocate_each(lines, benefits, suppliers, [budget])[0]


def allocate_each(
    lines: pd.DataFrame, benefits: pd.DataFrame, suppliers: pd.DataFrame, budgets: Sequence[float | None]
) -> list[pd.DataFrame]:
    """Choose the blocks to buy once for each budget, as `allocate` does; the blocks are ranked only once.

    Args:
        lines: as of `allocate`.
        benefits: likewise.
        suppliers: likewise.
        budgets: money for all orders together, one plan each; None = no limit.

    Returns:
        A frame as of `allocate` for each budget, in their order.

    Raises:
        ValueError: as of `allocate`.
    """
    _check(lines, benefits, suppliers)
    out = lines[[*KEYS, "supplier_id", "order_units"]].reset_index(drop=True)
    too_dear = _not_worth_their_fixed_cost(lines, suppliers)
    offered = benefits[~benefits["supplier_id"].isin(too_dear)]
    blocks = _within_capacity(_ranked(offered, suppliers), suppliers)
    # A bundle shares one rank and fits whole or not at all.
    spent = blocks.groupby("bundle", sort=False)["order_cost"].sum().cumsum()
    waiting = set(benefits["supplier_id"]) - set(blocks["supplier_id"])
    plans = []
    for budget in budgets:
        if budget is not None and not budget > 0:
            plans.append(_nothing(out, budget))
            continue
        taken = blocks
        if budget is not None:
            over = np.flatnonzero(spent.to_numpy() > budget + 1e-9)
            kept = spent.index[: over[0]] if over.size else spent.index
            taken = blocks[blocks["bundle"].isin(kept)]
        plans.append(_plan(out, taken, waiting, too_dear))
    return plans


def _not_worth_their_fixed_cost(lines: pd.DataFrame, suppliers: pd.DataFrame) -> set[object]:
    fixed = column(suppliers, "fixed_order_cost", 0.0) / column(suppliers, "reviews_per_order", 1.0)
    if not (fixed > 0).any():
        return set()
    ordered = lines[lines["order_units"] > 0]
    # A line that would rather wait need not hold up the others.
    saved = ordered["waiting_cost"].clip(lower=0.0).groupby(ordered["supplier_id"]).sum()
    promised = set(ordered.loc[ordered["target_type"] == "make_to_order", "supplier_id"])
    least = pd.Series(fixed, index=suppliers["supplier_id"]).reindex(saved.index).fillna(0.0)
    return set(saved.index[saved < least]) - promised


def _plan(out: pd.DataFrame, taken: pd.DataFrame, waiting: set[object], too_dear: set[object]) -> pd.DataFrame:
    bought = taken.groupby(KEYS)[["units", "order_cost", "benefit"]].sum().rename(columns={"units": "allocated_units"})
    plan = out.merge(bought, left_on=KEYS, right_index=True, how="left").fillna(
        {"allocated_units": 0.0, "order_cost": 0.0, "benefit": 0.0}
    )
    for name, digits in (("allocated_units", 3), ("order_cost", 4), ("benefit", 6)):
        plan[name] = plan[name].round(digits)
    return _explained(plan, waiting, too_dear)


def _check(lines: pd.DataFrame, benefits: pd.DataFrame, suppliers: pd.DataFrame) -> None:
    if suppliers["supplier_id"].duplicated().any():
        twice = suppliers.loc[suppliers["supplier_id"].duplicated(), "supplier_id"].iloc[0]
        raise ValueError(f"suppliers has two rows for supplier {twice}: keep one")
    wanted = lines.set_index(KEYS)["order_units"]
    offered = benefits[benefits["in_order"]].groupby(KEYS)["units"].sum().reindex(wanted.index).fillna(0.0)
    wrong = (offered - wanted).abs() > 1e-6
    if wrong.any():
        sku, location = wrong.index[wrong.to_numpy()][0]
        raise ValueError(
            f"benefits hold {offered[wrong].iloc[0]:g} units for sku {sku} at {location} and lines "
            f"{wanted[wrong].iloc[0]:g}: pass both from one call of recommend"
        )


def _nothing(out: pd.DataFrame, budget: float) -> pd.DataFrame:
    wants = out["order_units"] > 0
    return out.assign(
        allocated_units=0.0,
        order_cost=0.0,
        benefit=0.0,
        status=np.where(wants, "exception", "no_order"),
        reason=np.where(wants, Cause.BUDGET_NOT_POSITIVE.sentence(budget=budget), ""),
    )


def _ranked(benefits: pd.DataFrame, suppliers: pd.DataFrame) -> pd.DataFrame:
    """Return the blocks that may be bought, best ratio first, with the bundle each is bought in."""
    blocks = benefits.copy()
    cost = blocks["order_cost"].to_numpy(dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(cost > 0, blocks["benefit"] / cost, np.inf)
    blocks["ratio"] = ratio
    # Later blocks of a line never pass earlier ones.
    blocks["ratio"] = blocks.sort_values("block").groupby(KEYS)["ratio"].cummin()
    blocks = blocks.sort_values(["ratio", *KEYS, "block"], ascending=[False, True, True, True], ignore_index=True)
    terms = suppliers.set_index("supplier_id")
    least = blocks["supplier_id"].map(terms["minimum_order_value"].astype(float)).fillna(0.0)
    blocks["minimum"] = least
    ordered = blocks["order_cost"].where(blocks["in_order"], 0.0).groupby(blocks["supplier_id"]).transform("sum")
    blocks["needs_more"] = ordered < least - 1e-9
    blocks = blocks[blocks["in_order"] | blocks["needs_more"]].reset_index(drop=True)
    before = blocks.groupby("supplier_id")["order_cost"].cumsum() - blocks["order_cost"]
    # What was ordered comes before what only fills the order up.
    filling = blocks["needs_more"]
    if filling.any():
        order = blocks.sort_values(["in_order"], ascending=False, kind="stable")
        before_filled = order.groupby("supplier_id")["order_cost"].cumsum() - order["order_cost"]
        before = before.where(~filling, before_filled)
    first = before < blocks["minimum"] - 1e-9
    blocks = blocks[first | blocks["in_order"]].copy()
    first = first[blocks.index] & (blocks["minimum"] > 0)
    total = blocks["order_cost"].where(first, 0.0).groupby(blocks["supplier_id"]).transform("sum")
    worth = blocks["benefit"].where(first, 0.0).groupby(blocks["supplier_id"]).transform("sum")
    reached = ~blocks["needs_more"] | ((total >= blocks["minimum"] - 1e-9) & (worth > 0))
    blocks, first, total, worth = blocks[reached].copy(), first[reached], total[reached], worth[reached]
    blocks["bundle"] = np.where(first, "minimum of " + blocks["supplier_id"].astype(str), blocks.index.astype(str))
    with np.errstate(divide="ignore", invalid="ignore"):
        together = np.where(total > 0, worth / total, np.inf)
    blocks["ratio"] = np.where(first, together, blocks["ratio"])
    # Within a supplier nothing passes the bundle that makes its order possible.
    has_bundle = first.groupby(blocks["supplier_id"]).transform("any").to_numpy()
    ceiling = (
        pd.Series(np.where(first, together, np.inf), index=blocks.index).groupby(blocks["supplier_id"]).transform("min")
    )
    blocks["ratio"] = np.where(has_bundle & ~first, np.minimum(blocks["ratio"], ceiling), blocks["ratio"])
    blocks["later"] = (~first).to_numpy()
    return blocks.sort_values(
        ["ratio", "later", "supplier_id", *KEYS, "block"],
        ascending=[False, True, True, True, True, True],
        ignore_index=True,
    )


def _within_capacity(blocks: pd.DataFrame, suppliers: pd.DataFrame) -> pd.DataFrame:
    if "max_order_value" not in suppliers.columns:
        return blocks
    most = blocks["supplier_id"].map(suppliers.set_index("supplier_id")["max_order_value"].astype(float)).fillna(np.inf)
    spent = blocks.groupby("supplier_id")["order_cost"].cumsum()
    # The first block that does not fit ends the supplier's order: so plans stay nested.
    fits = (spent <= most + 1e-9).groupby(blocks["supplier_id"]).cummin()
    whole = fits.groupby(blocks["bundle"]).transform("all")
    return blocks[whole].reset_index(drop=True)


def _explained(out: pd.DataFrame, waiting: set[object], too_dear: set[object]) -> pd.DataFrame:
    wanted, given = out["order_units"].to_numpy(), out["allocated_units"].to_numpy()
    held = out["supplier_id"].isin(waiting).to_numpy() & (wanted > 0)
    cases = [
        (wanted == 0) & (given == 0),
        out["supplier_id"].isin(too_dear).to_numpy(),
        held,
        given > wanted + 1e-9,
        given < wanted - 1e-9,
    ]
    out["status"] = np.select(cases, ["no_order", "waits", "held", "order", "reduced"], default="order")
    out["reason"] = np.select(
        cases,
        [
            "",
            "until the next review the supplier's order saves less than its share of the fixed cost and waits",
            "the supplier's order is below its minimum or capacity and waits",
            "raised to reach the supplier's minimum order value",
            "the budget or the supplier's capacity was used for lines with more benefit per unit of money",
        ],
        default="",
    )
    return out
