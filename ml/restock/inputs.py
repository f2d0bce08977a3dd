"""What a restock decision is given: frames read as arrays, aligned with the items and checked.

Here belongs reading and checking one item's row of each frame. When orders arrive is in `ml.restock.schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.restock.exceptions import Cause, Exceptions, Texts
from ml.schema import KEYS, SERVICE_TARGETS, Doubles, Flags, Floats

Thousandths = npt.NDArray[np.int64]

STOCKED_TARGETS = ("cost", *SERVICE_TARGETS)
TARGET_TYPES = (*STOCKED_TARGETS, "do_not_stock", "make_to_order")
UNMET_DEMANDS = ("lost_sales", "backorders")
ORDER_RULES = ("order_up_to", "reorder_point_order_up_to", "reorder_point_quantity", "min_max")
DEMAND_MODELS = ("simulated", "normal", "poisson", "negative_binomial")
UNKNOWN_STOCKS = ("ask", "empty", "covers_lead_time")

_LARGEST_UNITS = 1e12


@dataclass(frozen=True)
class Inputs:
    """What is known of each item, aligned: one row per key.

    Attributes:
        keys, terms, policy: frames of one row per item.
        on_hand, reserved, backordered: thousandths of a unit.
        sold_since: units sold in the running period.
        unrecorded: periods up to now whose sales are not known.
        lasts_until_arrival: whether stock that is not known is taken to last until an order arrives.
        exceptions: what keeps an item from being decided.
    """

    keys: pd.DataFrame
    terms: pd.DataFrame
    policy: pd.DataFrame
    on_hand: Thousandths
    sold_since: Doubles
    unrecorded: Doubles
    lasts_until_arrival: Flags
    reserved: Thousandths
    backordered: Thousandths
    exceptions: Exceptions

    @property
    def owed(self) -> Thousandths:
        """What is promised already, thousandths."""
        return self.reserved + self.backordered

    def part(self, rows: slice) -> Inputs:
        """Return some of the items."""
        return Inputs(
            keys=self.keys.iloc[rows].reset_index(drop=True),
            terms=self.terms.iloc[rows].reset_index(drop=True),
            policy=self.policy.iloc[rows].reset_index(drop=True),
            on_hand=self.on_hand[rows],
            sold_since=self.sold_since[rows],
            unrecorded=self.unrecorded[rows],
            lasts_until_arrival=self.lasts_until_arrival[rows],
            reserved=self.reserved[rows],
            backordered=self.backordered[rows],
            exceptions=self.exceptions.part(rows),
        )


def check_shapes(keys: pd.DataFrame, paths: Floats) -> None:
    """Raise ValueError unless there is one row of paths [items, n, horizon] per key and each key stands once."""
    if paths.ndim != 3 or len(keys) != paths.shape[0]:
        raise ValueError(
            f"paths have shape {paths.shape} for {len(keys)} keys: give one row of [items, n, horizon] per key"
        )
    if paths.shape[1] == 0 or paths.shape[2] == 0:
        raise ValueError(f"paths have shape {paths.shape}: give at least one path and one period")
    require(keys, KEYS, "keys")
    if keys.duplicated(KEYS).any():
        row = keys[keys.duplicated(KEYS)].iloc[0]
        raise ValueError(f"keys name sku {row['sku']} at {row['location_id']} twice: give each item-location once")


def require(frame: pd.DataFrame, columns: list[str], name: str) -> None:
    """Raise ValueError where a frame lacks a column."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{name} lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}"
        )


def thousandths(values: pd.Series | Doubles, missing: float = 0.0) -> Thousandths:
    """Return units as whole thousandths."""
    number = np.nan_to_num(
        np.asarray(values, dtype=np.float64), nan=missing, posinf=_LARGEST_UNITS, neginf=-_LARGEST_UNITS
    )
    return np.rint(np.clip(number, -_LARGEST_UNITS, _LARGEST_UNITS) * 1000).astype(np.int64)


def in_units(values: Thousandths) -> Doubles:
    """Return thousandths as units."""
    return values / 1000.0


def column(frame: pd.DataFrame, name: str, default: float) -> Doubles:
    """Return a column of numbers; the default where the column or a value is missing."""
    if name not in frame.columns:
        return np.full(len(frame), default)
    values = pd.to_numeric(frame[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isnan(values), default, values)


def flags(frame: pd.DataFrame, name: str) -> Flags:
    """Return a column of flags; false where the column or a value is missing."""
    if name not in frame.columns:
        return np.zeros(len(frame), dtype=bool)
    values = frame[name]
    return values.where(values.notna(), False).to_numpy(dtype=bool)


def texts(frame: pd.DataFrame, name: str, default: str) -> Texts:
    """Return a column of texts; the default where the column or a value is missing."""
    if name not in frame.columns:
        return np.full(len(frame), default, dtype=object)
    # A column without any value may come as numbers.
    values = frame[name].to_numpy(dtype=object)
    missing = pd.isna(values)
    return np.where(missing, default, values) if missing.any() else values


def is_one_of(values: Texts, allowed: tuple[str, ...]) -> Flags:
    """Return whether each text is one of those allowed."""
    found = np.zeros(len(values), dtype=bool)
    for text in allowed:
        found |= values == text
    return found


def align(keys: pd.DataFrame, position: pd.DataFrame, terms: pd.DataFrame, policy: pd.DataFrame) -> Inputs:
    """Return one row of each frame per key; what is wrong with an item is noted.

    Args:
        keys: as of `ml.restock.recommend`.
        position: likewise.
        terms: likewise.
        policy: likewise.

    Raises:
        ValueError: a frame lacks a required column.
    """
    require(position, [*KEYS, "on_hand_units"], "position")
    require(terms, [*KEYS, "supplier_id", "lead_time_periods", "review_periods"], "terms")
    require(policy, [*KEYS, "target_type", "target_value"], "policy")
    index = keys[KEYS]
    exceptions = Exceptions.none(len(keys))

    def aligned(frame: pd.DataFrame, twice_is: Cause) -> tuple[pd.DataFrame, Flags]:
        if len(frame) == len(index) and all((frame[key].to_numpy() == index[key].to_numpy()).all() for key in KEYS):
            return frame.reset_index(drop=True), np.zeros(len(index), dtype=bool)
        known = frame.merge(index, on=KEYS, how="inner") if len(frame) > len(index) else frame
        twice = known.duplicated(KEYS, keep=False)
        if twice.any():
            doubled = index.merge(known.loc[twice, KEYS].drop_duplicates(), on=KEYS, how="left", indicator=True)
            exceptions.note((doubled["_merge"] == "both").to_numpy(), twice_is)
        found = index.merge(known.drop_duplicates(KEYS), on=KEYS, how="left", indicator=True)
        return found, (found["_merge"] != "both").to_numpy()

    stock, _ = aligned(position, Cause.TWO_POSITIONS)
    supply, unsupplied = aligned(terms, Cause.TWO_SUPPLIER_TERMS)
    rule, unruled = aligned(policy, Cause.TWO_POLICIES)
    exceptions.note(unsupplied, Cause.NO_SUPPLIER_TERMS)
    exceptions.note(unruled, Cause.NO_POLICY)
    _check_terms(exceptions, supply)
    _check_policy(exceptions, rule)
    is_unknown, assumed = flags(stock, "is_stock_unknown"), texts(rule, "unknown_stock", "ask")
    exceptions.note(is_unknown & (assumed == "ask"), Cause.STOCK_UNKNOWN)
    # A record below zero lacks a movement: no shelf holds less than nothing.
    on_hand = np.where(is_unknown, 0.0, np.maximum(column(stock, "on_hand_units", 0.0), 0.0))
    return Inputs(
        keys=index,
        terms=supply,
        policy=rule,
        on_hand=thousandths(on_hand),
        sold_since=np.maximum(column(stock, "sold_since_units", 0.0), 0.0),
        unrecorded=np.where(is_unknown, 0.0, np.maximum(column(stock, "unrecorded_periods", 0.0), 0.0)),
        lasts_until_arrival=is_unknown & (assumed == "covers_lead_time"),
        reserved=thousandths(column(stock, "reserved_units", 0.0)),
        backordered=thousandths(column(stock, "backordered_units", 0.0)),
        exceptions=exceptions,
    )


def _check_terms(exceptions: Exceptions, terms: pd.DataFrame) -> None:
    lead = column(terms, "lead_time_periods", np.nan)
    review = column(terms, "review_periods", np.nan)
    wait = column(terms, "next_order_in_periods", 0.0)
    moq = column(terms, "moq_units", 0.0)
    multiple = column(terms, "order_multiple_units", 1.0)
    largest = np.minimum(column(terms, "max_order_units", np.inf), column(terms, "max_stock_units", np.inf))
    level = column(terms, "order_up_to_max_units", np.inf)
    note = exceptions.note
    note(np.isnan(lead), Cause.LEAD_TIME_MISSING)
    note((lead < 0) | (lead != np.floor(lead)), Cause.LEAD_TIME_NOT_WHOLE, lead=lead)
    note(np.isnan(review), Cause.REVIEW_PERIOD_MISSING)
    note((review < 0) | (review != np.floor(review)), Cause.REVIEW_PERIOD_NOT_WHOLE, review=review)
    note((wait < 0) | (wait != np.floor(wait)), Cause.ORDER_DAY_NOT_WHOLE, wait=wait)
    note(~(multiple > 0) | ~np.isfinite(multiple), Cause.ORDER_MULTIPLE_NOT_POSITIVE, multiple=multiple)
    note(~np.isfinite(moq) | (moq < 0), Cause.MINIMUM_ORDER_NEGATIVE, moq=moq)
    note(moq > largest, Cause.MINIMUM_ORDER_ABOVE_MAXIMUM, moq=moq, largest=largest)
    note(moq >= level + np.nan_to_num(multiple, nan=1.0), Cause.MINIMUM_ORDER_ABOVE_LEVEL, moq=moq, level=level)


def _check_policy(exceptions: Exceptions, policy: pd.DataFrame) -> None:
    target = texts(policy, "target_type", "")
    value = column(policy, "target_value", np.nan)
    rule = texts(policy, "order_rule", "order_up_to")
    holding = column(policy, "holding_cost", np.nan)
    shortage = column(policy, "shortage_cost", np.nan)
    note = exceptions.note
    for found, allowed, cause in (
        (target, TARGET_TYPES, Cause.TARGET_TYPE_UNKNOWN),
        (texts(policy, "unmet_demand", "lost_sales"), UNMET_DEMANDS, Cause.UNMET_DEMAND_UNKNOWN),
        (rule, ORDER_RULES, Cause.ORDER_RULE_UNKNOWN),
        (texts(policy, "demand_model", "simulated"), DEMAND_MODELS, Cause.DEMAND_MODEL_UNKNOWN),
        (texts(policy, "unknown_stock", "ask"), UNKNOWN_STOCKS, Cause.STOCK_ASSUMPTION_UNKNOWN),
    ):
        note(~is_one_of(found, allowed), cause, value=found, allowed=", ".join(allowed))
    service = is_one_of(target, SERVICE_TARGETS) & (rule != "min_max")
    note(service & ~((value > 0) & (value < 1)), Cause.SERVICE_LEVEL_OUT_OF_RANGE, value=value)
    costless = (target == "cost") & ~((holding > 0) & (shortage > 0))
    note(costless, Cause.COST_MISSING, holding=holding, shortage=shortage)
    quantity = column(policy, "order_quantity_units", np.nan)
    by_quantity = is_one_of(rule, ("reorder_point_order_up_to", "reorder_point_quantity"))
    note(by_quantity & ~(quantity > 0), Cause.ORDER_QUANTITY_MISSING, quantity=quantity)
    least, most = column(policy, "min_units", np.nan), column(policy, "max_units", np.nan)
    note((rule == "min_max") & ~(most > least), Cause.MIN_NOT_BELOW_MAX, least=least, most=most)
