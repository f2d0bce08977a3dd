"""What an order and each further pack of it are worth, so that lines can share a budget, a minimum or a fixed cost.

Here belongs the price of packs within a line. The choice between lines is in `ml.restock.allocation`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.restock.cycle import Cycle
from ml.restock.inputs import Thousandths, column, in_units
from ml.restock.simulation import Integers
from ml.restock.steps import PackRules
from ml.schema import KEYS, Doubles

_BLOCKS = 8


def waiting_costs(until_review: Cycle, lasting: Integers, wanted: Thousandths) -> Doubles:
    """Return what each order saves until the next one can be placed: the cost of waiting for it, money [m].

    An order that lasts several reviews leaves more on the shelf in its first one than in its last: it is charged what
    it leaves in the middle of them.

    Args:
        until_review: the items, with a cycle of one review.
        lasting: periods that each order is to last, one review or several [m].
        wanted: orders, thousandths [m].

    Returns:
        Expected holding and shortage cost of the cycle without the order less those with it; NaN where nothing is
        wanted or the supplier has no fixed order cost, so that nothing hangs on it.
    """
    fixed = column(until_review.inputs.terms, "fixed_order_cost", 0.0)
    found = np.full(len(wanted), np.nan)
    later = until_review.demand.stocked.mean(axis=1) * (lasting - until_review.schedule.review)
    middle = np.maximum(in_units(wanted) - later / 2, 0.0)
    for is_by_cost in (True, False):
        rows = np.flatnonzero((wanted > 0) & (fixed > 0) & ((until_review.target == "cost") == is_by_cost))
        if rows.size:
            quantities = np.stack([np.zeros(rows.size), middle[rows]], axis=1)
            need = until_review.need if is_by_cost else until_review.worst_need
            cost = until_review.cost(rows, quantities, need, None)
            found[rows] = np.round(cost[:, 0] - cost[:, 1], 6)
    return found


def benefit_rows(cycle: Cycle, order: Thousandths, most: Thousandths) -> pd.DataFrame:
    """Split each order into blocks of whole packs, add a few further ones, and price each by the cost it saves.

    Args:
        cycle: the items.
        order: thousandths [m].
        most: the most that limits would let it be, thousandths [m].

    Returns:
        sku, location_id, supplier_id, block, units, order_cost, benefit, in_order, as `ml.restock.recommend` says.
    """
    keys, terms, rules = cycle.inputs.keys, cycle.inputs.terms, PackRules.of(cycle)
    rows = np.flatnonzero(cycle.usable & (order > 0))
    every = _edges(order[rows], most[rows], rules.multiple[rows], rules.moq[rows])
    cost = np.zeros(every.shape)
    by_cost = cycle.target[rows] == "cost"
    if by_cost.any():
        cost[by_cost] = cycle.cost(rows[by_cost], in_units(every[by_cost]), cycle.need, cycle.last_need)
    # A service target prices what is left at the end of the cycle alone.
    cost[~by_cost] = cycle.cost(rows[~by_cost], in_units(every[~by_cost]), cycle.worst_need, None)
    units = np.diff(every, axis=1)
    item, block = np.nonzero(units > 0)
    saved = (cost[:, :-1] - cost[:, 1:])[item, block]
    bought = in_units(units[item, block])
    unit_cost = column(terms, "unit_cost", 0.0)
    return pd.DataFrame(
        {
            **{name: keys[name].to_numpy()[rows[item]] for name in KEYS},
            "supplier_id": terms["supplier_id"].to_numpy()[rows[item]],
            "block": np.cumsum(units > 0, axis=1)[item, block],
            "units": bought,
            "order_cost": np.round(bought * unit_cost[rows[item]], 4),
            "benefit": np.round(saved, 6),
            "in_order": every[item, block + 1] <= order[rows[item]],
        }
    )


def _edges(order: Thousandths, most: Thousandths, pack: Thousandths, moq: Thousandths) -> Thousandths:
    """Return where blocks begin and end, thousandths [rows, blocks + 1]; blocks of none are between equal edges.

    The first block is the minimum order, then come equal shares of the packs beyond it, then as many further blocks of
    the same size as limits allow.
    """
    first = np.minimum(-(-np.maximum(moq, 1) // pack) * pack, order)
    inside = _BLOCKS - 1
    size = np.maximum(-(-((order - first) // pack) // inside), 1)
    edges = [np.zeros(order.size, np.int64), first]
    edges += [np.minimum(first + size * pack * k, order) for k in range(1, inside + 1)]
    ceiling = np.maximum(most // pack * pack, order)
    edges += [np.minimum(order + size * pack * k, ceiling) for k in range(1, _BLOCKS // 2 + 1)]
    return np.stack(edges, axis=1)
