"""The decision of a whole day: each line, transfers before buying, rejections, what suppliers and money allow.

Here belongs the order of these steps. Each of them is decided elsewhere: `ml.restock`, `ml.restock.transfers`,
`ml.restock.allocation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.restock.allocation import allocate
from ml.restock.exceptions import Cause
from ml.restock.inputs import column
from ml.restock.order_interval import reviews_per_order
from ml.restock.recommendation import recommend
from ml.restock.transfers import NO_MOVES, own_demand, transfer
from ml.schema import KEYS, Flags

PathsOf = Callable[[pd.DataFrame], Iterable[tuple[pd.DataFrame, npt.NDArray[np.float32]]]]


@dataclass(frozen=True)
class World:
    """All that a decision knows besides demand; frames as of `ml.restock.recommend`.

    Attributes:
        position: stock and promises; transfer_out_units is the part of reserved_units that approved transfers take,
            where it is given.
        open_orders: what is on its way.
        terms: supplier terms; minimum_order_value, fixed_order_cost and unit_cost are used where they are given.
        policy: one row per item; holding_cost decides which transfers pay.
        lots: units by the last period in which they can be sold; None = nothing expires.
        promises: what customers are promised for later periods; None = nothing.
        lanes: from_location_id, to_location_id, lead_time_periods, unit_cost; None = nothing is moved.
        budget: money for all orders together; None = no limit.
        rejections: sku, location_id, rejected_up_to_units: orders of up to so many units that a person rejected; what
            is moved instead of bought is not among them; None = nothing is rejected.
        held: sku, location_id, held_order_up_to_units: levels published last; None = every level is the best one.
        rejected_transfers: as of `ml.restock.transfers.transfer`.
    """

    position: pd.DataFrame
    open_orders: pd.DataFrame
    terms: pd.DataFrame
    policy: pd.DataFrame
    lots: pd.DataFrame | None = None
    promises: pd.DataFrame | None = None
    lanes: pd.DataFrame | None = None
    budget: float | None = None
    rejections: pd.DataFrame | None = None
    held: pd.DataFrame | None = None
    rejected_transfers: pd.DataFrame | None = None


@dataclass(frozen=True)
class Plan:
    """What to do today.

    Attributes:
        lines: `ml.restock.LINE_COLUMNS` with transfer_out_units (part of reserved_units) and
            proposed_transfer_out_units (what the proposed transfers would take), one row per row of the terms.
        terms: what each step added to the order or took off it, as of `ml.restock.recommend`.
        transfers: what is proposed to be moved, as of `ml.restock.transfers.transfer`, with what the destination has to
            expect without it and without an order: stockout_period_50, stockout_period_10 and supplier_arrival_period
            (when an order would come instead), and with what its transfers bring together: lost_units_avoided (units
            that would be lost before the next order comes) and unbought_units (units less in the order). Nothing but
            the order at its destination counts on it.
    """

    lines: pd.DataFrame
    terms: pd.DataFrame
    transfers: pd.DataFrame


def plan_orders(paths_of: PathsOf, world: World, *, seed: int = 0) -> Plan:
    """Decide every line, move excess to shortage, take off what is rejected, share what suppliers and budget allow.

    Orders to a supplier with a fixed cost last as many reviews as cost least together. A line that this, a transfer, a
    rejection or the sharing changes is decided again as a whole, so that its terms and probabilities are those of what
    is ordered in the end.

    Args:
        paths_of: keys -> chunks of (keys, joint demand paths); the same keys always get the same paths.
        world: see there.
        seed: of the lead-time draws.
    """
    if world.held is not None:
        world = replace(world, policy=world.policy.merge(world.held, on=KEYS, how="left"))
    lines, terms, benefit = _decided(paths_of, world.terms[KEYS], world, seed)
    lasting = reviews_per_order(lines, world.terms, world.policy)
    if (lasting > 1).any():
        world = replace(world, terms=world.terms.assign(reviews_per_order=lasting))
        longer = world.terms.loc[lasting > 1, KEYS]
        again, steps, further = _decided(paths_of, longer, world, seed)
        lines, terms = _replaced(lines, again), _replaced(terms, steps, longer)
        benefit = _replaced(benefit, further, longer)
    moves = _transfers(paths_of, lines, world)
    made = moves[~moves["is_rejected"]]
    if len(made):
        touched = made.rename(columns={"to_location_id": "location_id"})[KEYS].drop_duplicates()
        moving = _moved(world, made)
        again, steps, further = _decided(paths_of, touched, moving, seed)
        is_vain = _brings_nothing(lines, again, world, made)
        moves = _told(moves, lines, again).drop(index=made.index[is_vain])
        kept = touched[~pd.MultiIndex.from_frame(touched[KEYS]).isin(_goals(made[is_vain]))]
        world = _moved(world, made[~is_vain])
        lines, terms = _replaced(lines, _of(again, kept)), _replaced(terms, _of(steps, kept), kept)
        benefit = _replaced(benefit, _of(further, kept), kept)
    else:
        moves = _told(moves, lines, lines)
    if world.rejections is not None:
        wanted = lines[lines["order_units"] > 0].merge(world.rejections, on=KEYS)
        world = replace(world, policy=world.policy.merge(world.rejections, on=KEYS, how="left"))
        rejected = wanted[wanted["order_units"] <= wanted["rejected_up_to_units"]]
        if len(rejected):
            again, steps, further = _decided(paths_of, rejected[KEYS], world, seed)
            lines, terms = _replaced(lines, again), _replaced(terms, steps, rejected)
            benefit = _replaced(benefit, further, rejected)
    shared = allocate(lines, benefit, _suppliers(world.terms), world.budget)
    changed = shared[(shared["allocated_units"] - shared["order_units"]).abs() > 1e-6]
    if len(changed):
        changed = changed.assign(waits_for_supplier=changed["status"] == "waits")
        given = world.policy.merge(changed[[*KEYS, "allocated_units", "waits_for_supplier"]], on=KEYS, how="left")
        again, steps, _ = _decided(paths_of, changed[KEYS], replace(world, policy=given), seed)
        lines, terms = _replaced(lines, again), _replaced(terms, steps, changed)
        # A budget that is none at all is a mistake to be mended, not a decision.
        mistaken = shared[shared["status"] == "exception"].set_index(KEYS)["reason"]
        sentence = mistaken.reindex(pd.MultiIndex.from_frame(lines[KEYS])).to_numpy(dtype=object)
        is_mistaken = pd.notna(sentence)
        lines["exception"] = np.where(is_mistaken, sentence, lines["exception"])
        lines["exception_cause"] = np.where(is_mistaken, Cause.BUDGET_NOT_POSITIVE.code, lines["exception_cause"])
        lines["status"] = np.where(is_mistaken, "exception", lines["status"])
    left = moves[~moves["is_rejected"]].groupby(["sku", "from_location_id"])["units"].sum()
    keys = pd.MultiIndex.from_frame(lines[KEYS])
    lines["proposed_transfer_out_units"] = left.reindex(keys).fillna(0.0).to_numpy(dtype=np.float64)
    committed = (
        world.position.assign(units=column(world.position, "transfer_out_units", 0.0)).groupby(KEYS)["units"].sum()
    )
    lines["transfer_out_units"] = committed.reindex(keys).fillna(0.0).to_numpy(dtype=np.float64)
    return Plan(lines, terms, moves)


def _decided(
    paths_of: PathsOf, keys: pd.DataFrame, world: World, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    parts = [
        recommend(
            *(chunk, paths, world.position, world.open_orders, world.terms, world.policy),
            lots=world.lots,
            promises=world.promises,
            seed=seed,
        )
        for chunk, paths in paths_of(keys)
    ]
    lines, terms, benefit = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    return lines, terms, benefit


def _transfers(paths_of: PathsOf, lines: pd.DataFrame, world: World) -> pd.DataFrame:
    if world.lanes is None or world.lanes.empty:
        return NO_MOVES
    known = lines[lines["status"] != "exception"].merge(world.policy[[*KEYS, "holding_cost"]], on=KEYS, how="left")
    # What the next order brings to the level is short; a line that orders nothing lacks nothing.
    level = known["order_up_to_units"].where(
        known["order_units"] > 0, known[["order_up_to_units", "inventory_position_units"]].min(axis=1)
    )
    rate = known["expected_demand_units"] / known["protection_periods"].astype(float)
    terms = world.terms[[*KEYS, "lead_time_periods", "review_periods", "order_multiple_units"]].merge(
        known[[*KEYS, "holding_cost"]].assign(order_up_to_units=level), on=KEYS
    )
    # Only what has more than its level can give, and only where the same product is short elsewhere.
    gives = known["sku"].isin(known.loc[known["order_units"] > 0, "sku"])
    # What is beyond the level is set aside for later promises first; orders for them are due later.
    beyond = (known["inventory_position_units"] - level).clip(lower=0.0)
    set_aside = known["promised_later_units"].clip(upper=beyond)
    gives &= (beyond > set_aside) & (known["on_hand_units"] > 0)
    kept = [known.loc[~gives, KEYS].assign(own_demand_units=0.0)]
    if gives.any():
        planned, periods = _planned_supply(world), known.set_index(KEYS)["protection_periods"]
        for keys, paths in paths_of(known.loc[gives, KEYS]):
            until = periods.reindex(pd.MultiIndex.from_frame(keys[KEYS])).to_numpy(dtype=np.int64)
            kept.append(keys[KEYS].assign(own_demand_units=own_demand(keys, paths, until, planned)))
    columns = ["on_hand_units", "reserved_units", "backordered_units", "on_order_units"]
    stock = known[[*KEYS, *columns]].assign(reserved_units=known["reserved_units"] + set_aside)
    stock = stock.merge(pd.concat(kept), on=KEYS, how="left")
    return transfer(stock, rate.to_numpy(dtype=np.float32)[:, None, None], terms, world.lanes, world.rejected_transfers)


def _planned_supply(world: World) -> pd.DataFrame:
    """Return the supply that is due and neither late nor in doubt: sku, location_id, periods_ahead, units."""
    orders = world.open_orders
    is_planned = pd.Series(True, index=orders.index)
    if "overdue_periods" in orders:
        is_planned &= ~(orders["overdue_periods"] > 0)
    if "is_doubtful" in orders:
        is_planned &= ~orders["is_doubtful"].fillna(False).astype(bool)
    return orders.loc[is_planned, [*KEYS, "periods_ahead", "units"]]


def _moved(world: World, moves: pd.DataFrame) -> World:
    """Return the world in which the proposed moves are on their way to where they are needed.

    At their origin they change nothing before they are approved: only what it does not need leaves it.
    """
    coming = moves.rename(columns={"to_location_id": "location_id", "arrival_period": "periods_ahead"})
    moved = coming[[*KEYS, "periods_ahead", "units"]].assign(arrives_as_planned=True, is_proposed=True)
    return replace(world, open_orders=pd.concat([world.open_orders, moved], ignore_index=True))


def _brings_nothing(lines: pd.DataFrame, again: pd.DataFrame, world: World, moves: pd.DataFrame) -> Flags:
    """Return the moves after which no less is bought and no more margin saved than they cost.

    So it is where the supplier's minimum quantity or pack is ordered all the same.
    """
    after = again.set_index(KEYS)
    before = lines.set_index(KEYS).loc[after.index]
    loses = world.policy.set_index(KEYS)["shortage_cost"] if "shortage_cost" in world.policy else pd.Series(dtype=float)
    lost = (before["lost_units_with_order"] - after["lost_units_with_order"]).fillna(0.0)
    spared = lost * loses.reindex(before.index).fillna(0.0)
    goals = _goals(moves)
    cost = moves.groupby(goals)["transfer_cost"].sum().reindex(before.index)
    is_vain = (after["order_units"] >= before["order_units"]) & (spared <= cost)
    return np.asarray(is_vain.reindex(goals), dtype=bool)


def _told(moves: pd.DataFrame, lines: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """Return moves with what their destinations have to expect without them."""
    before, after, goals = lines.set_index(KEYS), again.set_index(KEYS), _goals(moves)
    after = after.reindex(before.index)
    avoided = (before["lost_units_without_order"] - after["lost_units_without_order"]).fillna(0.0).clip(lower=0)
    unbought = (before["order_units"] - after["order_units"]).fillna(0.0)
    told = {
        name: before[column].reindex(goals).to_numpy()
        for name, column in (
            ("stockout_period_50", "stockout_period_50"),
            ("stockout_period_10", "stockout_period_10"),
            ("supplier_arrival_period", "arrival_period"),
        )
    }
    told["lost_units_avoided"] = avoided.round(3).reindex(goals).to_numpy()
    return moves.assign(**told, unbought_units=unbought.round(3).reindex(goals).to_numpy())


def _goals(moves: pd.DataFrame) -> pd.MultiIndex:
    """Return the item at the destination of each move."""
    return pd.MultiIndex.from_arrays([moves["sku"], moves["to_location_id"]], names=KEYS)


def _of(frame: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of some keys."""
    chosen = pd.MultiIndex.from_frame(keys[KEYS])
    return frame[pd.MultiIndex.from_frame(frame[KEYS]).isin(chosen)]


def _replaced(frame: pd.DataFrame, again: pd.DataFrame, touched: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a frame with the rows of some keys taken from another one, in the order of the first."""
    keys = pd.MultiIndex.from_frame((again if touched is None else touched)[KEYS])
    kept = frame[~pd.MultiIndex.from_frame(frame[KEYS]).isin(keys)]
    order = {key: place for place, key in enumerate(dict.fromkeys(frame[KEYS].itertuples(index=False, name=None)))}
    both = pd.concat([kept, again], ignore_index=True)
    place = [order.get(key, len(order)) for key in both[KEYS].itertuples(index=False, name=None)]
    return both.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)


def _suppliers(terms: pd.DataFrame) -> pd.DataFrame:
    defaults = {"minimum_order_value": 0.0, "fixed_order_cost": 0.0, "reviews_per_order": 1.0}
    values = {name: column(terms, name, default) for name, default in defaults.items()}
    return terms[["supplier_id"]].assign(**values).groupby("supplier_id").max().reset_index()
