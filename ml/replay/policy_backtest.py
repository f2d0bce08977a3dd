"""A forecaster's orders replayed over weeks it has not seen: what they cost, what they promise, what each rule costs.

Here belongs the replay of one day's decision, week after week. Replaying itself is in `ml.replay`, the judgement in
`ml.replay.gate`.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.metrics.verdict import Criterion, verdict_frame
from ml.replay.gate import decision_verdict, service, service_calibration
from ml.replay.simulate import Seen, State, replay
from ml.restock.plan import PathsOf, World, plan_orders
from ml.schema import KEYS, SERVICE_TARGETS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ml.forecast.base import Forecaster

WEEK = pd.Timedelta(days=7)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class BacktestSetup:
    """What every backtest of a comparison shares; periods are days, orders are placed once a week.

    Attributes:
        demand: sku, location_id, period_start, demand_units, is_in_stock and covariates; days out of stock are masked.
        future: covariates of the days after the last one of demand.
        terms: as of `ml.restock.World`, for the items to replay. A fixed_order_cost is paid once for all items that
            are ordered from a supplier on one day.
        policy: likewise; holding_cost and shortage_cost are charged.
        horizon: days that forecasts reach.
        first_order: day at whose end the first order is placed; forecasters must not have seen a later one.
        paths: demand paths per item and decision.
        seed: of the lead-time draws, which all backtests meet alike.
    """

    demand: pd.DataFrame
    future: pd.DataFrame
    terms: pd.DataFrame
    policy: pd.DataFrame
    horizon: int
    first_order: pd.Timestamp
    paths: int = 100
    seed: int = 0

    @property
    def order_days(self) -> pd.DatetimeIndex:
        """Days at whose end orders are placed."""
        return pd.date_range(self.first_order, self.demand["period_start"].max() - WEEK, freq="7D")

    @property
    def first_scored(self) -> pd.Timestamp:
        """First day that counts: every item's first order has come by then, or at the latest a half of the days."""
        wait = pd.Timedelta(days=int(self.terms["lead_time_periods"].max()) + 1)
        half = (self.demand["period_start"].max() - self.first_order) / 2
        return pd.Timestamp(self.first_order + min(wait, half.floor("D")))


@dataclass(frozen=True)
class PolicyBacktest:
    """What became of a forecaster's orders.

    Attributes:
        rows: of `ml.replay.replay`.
        decisions: sku, location_id, period_start (of the order), promised (probability of no stock-out in the cycle
            that the order covers), delivered (whether there was none); cycles that were masked are left out.
    """

    rows: pd.DataFrame
    decisions: pd.DataFrame


SampledDemand = Mapping[pd.Timestamp, tuple[pd.DataFrame, npt.NDArray[np.float32]]]


def sample_demand(forecaster: Forecaster, setup: BacktestSetup) -> SampledDemand:
    """Return the paths that a forecaster sees at the end of each order day, from the demand up to it."""
    keys = setup.terms[KEYS].reset_index(drop=True)
    demand = setup.demand.merge(keys, on=KEYS)
    known = pd.concat([demand.drop(columns=["demand_units", "is_in_stock"]), setup.future.merge(keys, on=KEYS)])
    sampled = {}
    days = setup.order_days
    for number, day in enumerate(days, start=1):
        _LOG.info("order day %d of %d, %s: drawing demand of %s items", number, len(days), f"{day:%Y-%m-%d}", len(keys))
        ahead = known[(known["period_start"] > day) & (known["period_start"] <= day + pd.Timedelta(days=setup.horizon))]
        seen = demand[demand["period_start"] <= day]
        chunks = list(forecaster.sample_paths(seen, setup.paths, ahead, keys=keys))
        sampled[day] = (pd.concat([key for key, _ in chunks]), np.concatenate([paths for _, paths in chunks]))
    return sampled


def backtest_orders(sampled: SampledDemand, setup: BacktestSetup) -> PolicyBacktest:
    """Replay the weekly orders that the sampled demand leads to, with lost sales and the demand that was observed.

    Each is the decision of the day, `ml.restock.plan_orders`, with the fixed costs and minimum order values of the
    suppliers, but without transfers and budget. It holds the levels of the one before where the policy says so.
    Shelves start with the mean demand of lead time and two weeks.
    """
    # A cycle of a week, or as much of it as the forecast reaches.
    review = (setup.horizon - setup.terms["lead_time_periods"]).clip(1, 7)
    terms = setup.terms.assign(review_periods=review, next_order_in_periods=0).reset_index(drop=True)
    observed = setup.demand.merge(terms[KEYS], on=KEYS)
    before = observed[observed["period_start"] <= setup.first_order]
    mean = before.groupby(KEYS)["demand_units"].mean().reindex(pd.MultiIndex.from_frame(terms[KEYS])).fillna(0.0)
    start = terms[KEYS].assign(
        periods_ahead=0,
        units=np.ceil(mean.to_numpy() * (terms["lead_time_periods"].to_numpy(dtype=np.float64) + 14)),
        period_start=setup.first_order,
    )
    shown = observed[observed["period_start"] >= setup.first_order]
    shown = shown.assign(demand_units=shown["demand_units"].where(shown["is_in_stock"].astype(bool)))
    # The replay itself charges a fixed cost per item.
    priced = terms.drop(columns="fixed_order_cost", errors="ignore").merge(
        setup.policy[[*KEYS, "holding_cost", "shortage_cost"]], on=KEYS, how="left"
    )
    priced = priced.fillna({"holding_cost": 0.0, "shortage_cost": 0.0})
    promises = []
    held = terms[KEYS].assign(held_order_up_to_units=np.nan)

    def decide(t: int, state: State, seen: Seen) -> npt.NDArray[np.float64]:
        nonlocal held
        keys, paths = sampled[seen.periods[-1]]
        position = state.keys.assign(on_hand_units=state.on_hand)
        world = World(position, state.open_orders(), terms, setup.policy, held=held)
        lines = plan_orders(_paths_of(keys, paths), world, seed=setup.seed).lines
        held = lines[KEYS].assign(held_order_up_to_units=lines["order_up_to_units"])
        promises.append(
            lines[KEYS].assign(period_start=seen.periods[-1], promised=1 - lines["stockout_probability_with_order"])
        )
        ordered = lines.set_index(KEYS)["order_units"].reindex(pd.MultiIndex.from_frame(state.keys)).fillna(0.0)
        return ordered.to_numpy(dtype=np.float64)

    rows = replay(
        shown[[*KEYS, "period_start", "demand_units"]],
        start,
        priced,
        decide,
        order_days=setup.order_days,
        score_from=setup.first_scored,
        seed=setup.seed,
    )
    rows = with_order_costs(rows, terms)
    return PolicyBacktest(rows, _attained(pd.concat(promises), rows, terms))


def _paths_of(keys: pd.DataFrame, paths: npt.NDArray[np.float32]) -> PathsOf:
    places = pd.MultiIndex.from_frame(keys[KEYS])
    return lambda wanted: [(wanted, paths[places.get_indexer(pd.MultiIndex.from_frame(wanted[KEYS]))])]


def with_order_costs(rows: pd.DataFrame, terms: pd.DataFrame) -> pd.DataFrame:
    """Return replayed rows in which the items ordered from a supplier in one period share its fixed order cost.

    Args:
        rows: of `ml.replay.replay`.
        terms: sku, location_id, supplier_id and optionally fixed_order_cost; missing = none.

    Returns:
        The rows with order_cost, also as a part of cost, money.
    """
    if "fixed_order_cost" not in terms.columns:
        return rows
    own = rows[[*KEYS, "period_start"]].merge(terms[[*KEYS, "supplier_id", "fixed_order_cost"]], on=KEYS, how="left")
    ordered = (rows["order_units"] > 0).to_numpy()
    lines = pd.Series(ordered).groupby([own["supplier_id"], own["period_start"]]).transform("sum").to_numpy()
    paid = np.where(ordered, own["fixed_order_cost"].astype(float).fillna(0.0) / np.maximum(lines, 1), 0.0)
    cost = rows["cost"] - rows["order_cost"] + paid
    return rows.assign(order_cost=paid, cost=cost)


def _attained(promises: pd.DataFrame, rows: pd.DataFrame, terms: pd.DataFrame) -> pd.DataFrame:
    promised = promises.merge(terms[[*KEYS, "lead_time_periods", "review_periods"]], on=KEYS).dropna(subset="promised")
    days = promised.loc[promised.index.repeat(promised["review_periods"].astype(int))]
    ahead = days["lead_time_periods"].astype(int) + days.groupby(level=0).cumcount() + 1
    days = days.assign(day=days["period_start"] + pd.to_timedelta(ahead, unit="D"))
    lost = rows.loc[~rows["is_masked"].astype(bool), [*KEYS, "period_start", "lost_units"]]
    found = days.merge(lost.rename(columns={"period_start": "day"}), on=[*KEYS, "day"])
    worst = found.groupby([*KEYS, "period_start"], as_index=False)["lost_units"].agg(["max", "size"])
    kept = promised.merge(worst, on=[*KEYS, "period_start"])
    whole = kept[kept["size"] == kept["review_periods"]].reset_index(drop=True)
    return whole[[*KEYS, "period_start", "promised"]].assign(delivered=whole["max"] <= 0)


def charged(rows: pd.DataFrame, policy: pd.DataFrame) -> float:
    """Return holding and shortage cost of replayed rows at the prices of another policy, and what its orders cost."""
    priced = rows[[*KEYS, "stock_units", "lost_units"]].merge(policy[[*KEYS, "holding_cost", "shortage_cost"]], on=KEYS)
    open_days = priced["lost_units"].notna()
    held = (priced["stock_units"] * priced["holding_cost"]).where(open_days, 0.0)
    missed = priced["lost_units"].fillna(0.0) * priced["shortage_cost"].fillna(0.0)
    return float((held + missed).sum() + rows["order_cost"].sum())


def rule_costs(
    sampled: SampledDemand, setup: BacktestSetup, as_it_is: PolicyBacktest, segments: pd.DataFrame, service_level: float
) -> pd.DataFrame:
    """Return what each rule costs: the same weeks with and without it.

    Args:
        sampled: as of `sample_demand`.
        setup: likewise.
        as_it_is: the backtest with all rules.
        segments: sku, location_id, segment.
        service_level: cycle service level that items which aim at the least cost would be given as a target.

    Returns:
        One row per rule (minimum order, packs, service target) and segment, "all" first: rule, segment, items, days,
        cost_with_rule, cost_without_rule (holding, lost margin and fixed order
        costs of those days), cost_of_rule, fill_rate_with_rule,
        fill_rate_without_rule. A rule that saves money has a negative cost. Without a service target the least cost
        decides; with it, the item's own level or, where it has none, `service_level`.
    """
    labels = segments[[*KEYS, "segment"]]
    compared = {
        "minimum order": (setup, replace(setup, terms=setup.terms.assign(moq_units=0.0, minimum_order_value=0.0))),
        "packs": (setup, replace(setup, terms=setup.terms.assign(order_multiple_units=1.0))),
        "service target": (_aiming_at_service(setup, service_level), _aiming_at_cost(setup)),
    }

    def scored(changed: BacktestSetup) -> pd.DataFrame:
        rows = (as_it_is if changed is setup else backtest_orders(sampled, changed)).rows
        return rows[rows["is_scored"]].merge(labels, on=KEYS)

    parts = []
    for rule, (bound, unbound) in compared.items():
        with_rule, without = scored(bound), scored(unbound)
        for segment in ("all", *sorted(labels["segment"].unique())):
            ours, free = (rows[(rows["segment"] == segment) | (segment == "all")] for rows in (with_rule, without))
            if ours.empty:
                continue
            parts.append(
                {
                    "rule": rule,
                    "segment": segment,
                    "items": ours[KEYS].drop_duplicates().shape[0],
                    "days": ours["period_start"].nunique(),
                    "cost_with_rule": round(float(ours["cost"].sum()), 4),
                    "cost_without_rule": round(float(free["cost"].sum()), 4),
                    "fill_rate_with_rule": round(service(ours, "fill_rate"), 6),
                    "fill_rate_without_rule": round(service(free, "fill_rate"), 6),
                }
            )
    table = pd.DataFrame(parts)
    return table.assign(cost_of_rule=(table["cost_with_rule"] - table["cost_without_rule"]).round(4))


def _aiming_at_service(setup: BacktestSetup, service_level: float) -> BacktestSetup:
    by_cost = setup.policy["target_type"] == "cost"
    if not by_cost.any():
        return setup
    policy = setup.policy.assign(
        target_type=setup.policy["target_type"].mask(by_cost, "cycle_service_level"),
        target_value=setup.policy["target_value"].mask(by_cost, service_level),
    )
    return replace(setup, policy=policy)


def _aiming_at_cost(setup: BacktestSetup) -> BacktestSetup:
    # Without a margin no cost can be least.
    priced = setup.policy["target_type"].isin(SERVICE_TARGETS) & (setup.policy["shortage_cost"] > 0)
    if not priced.any():
        return setup
    return replace(setup, policy=setup.policy.assign(target_type=setup.policy["target_type"].mask(priced, "cost")))


def verdict_on_orders(
    ours: PolicyBacktest,
    theirs: PolicyBacktest,
    setup: BacktestSetup,
    segments: pd.DataFrame,
    *,
    competitor: str,
    blocks: bool,
) -> pd.DataFrame:
    """Judge what a forecaster's orders cost beside another's, as rows of a verdict.

    Args:
        ours: backtest of the challenger.
        theirs: of the competitor, on the same setup.
        setup: shared by both; the target of most items counts.
        segments: sku, location_id, segment.
        competitor: its name, for the criteria.
        blocks: whether a criterion that is not met keeps the challenger from promotion.

    Returns:
        As `ml.metrics.verdict_frame`; threshold is NaN where something is only reported.
    """
    target = str(setup.policy["target_type"].mode().iat[0])
    asked = setup.policy.loc[setup.policy["target_type"] == target, "target_value"].median()
    judged = decision_verdict(
        ours.rows,
        theirs.rows,
        target_type=target if target in ("cost", "fill_rate", "cycle_service_level") else "cost",
        target_value=float(asked),
        segments=segments,
        seed=setup.seed,
    )
    # Service is reported beside the cost that decides; a segment of few items says nothing.
    judged = judged[judged["is_decisive"] | (judged["segment"] == "all")]
    return verdict_frame([_criterion(row, competitor, blocks) for row in judged.to_dict("records")])


def _criterion(row: Mapping[Hashable, Any], competitor: str, blocks: bool) -> Criterion:
    """Return a row of `decision_verdict` as one of the gate's; of a segment the low end of the interval decides."""
    is_cost, is_all = row["criterion"] == "cost", row["segment"] == "all"
    name = str(row["criterion"]).replace("_", " ")
    limit = float(row["limit"])
    needed = f"at least {limit:.3f}" if limit == limit else "reported"
    if is_cost:
        needed = "no dearer" if is_all else f"interval not wholly above +{limit:.0%}"
    return Criterion(
        f"{name} of replayed orders",
        value=float(row["value"] if is_all else row["low"]),
        threshold=limit,
        needed=needed,
        blocks=bool(row["is_decisive"]) and blocks,
        segment="all" if is_all else f"demand_class {row['segment']}",
        competitor=competitor,
        ours=float(row["ours"]),
        theirs=float(row["theirs"]),
        low=1.0 + float(row["low"]),
        high=1.0 + float(row["high"]),
        is_more_better=not is_cost,
        name=f"orders replayed: {name} against {competitor}, {'all' if is_all else 'segment ' + str(row['segment'])}",
    )


def service_attainment(backtest: PolicyBacktest, segments: pd.DataFrame, target_value: float) -> pd.DataFrame:
    """Return promised against delivered service by segment, "all" first; see `ml.replay.gate.service_calibration`."""
    by_segment = backtest.decisions.merge(segments, on=KEYS).rename(columns={"segment": "cohort"})
    every = pd.concat([by_segment.assign(cohort="all"), by_segment])
    return service_calibration(every, target_value=target_value)


def service_attainment_chart(backtest: PolicyBacktest) -> Figure:
    """Draw delivered against promised service, by the promise."""
    from matplotlib.figure import Figure

    edges = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0001]
    banded = backtest.decisions.assign(cohort=pd.cut(backtest.decisions["promised"], edges, right=False).astype(str))
    table = service_calibration(banded)
    figure = Figure(figsize=(4.4, 4.0))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#adb5bd", linewidth=1)
    axes.vlines(table["promised_service"], table["low"], table["high"], color="#1d3557", linewidth=2)
    axes.plot(table["promised_service"], table["delivered_service"], "o", color="#1d3557", markersize=4)
    axes.set_xlabel("promised: probability of no stock-out in the cycle")
    axes.set_ylabel("delivered: share of cycles without one")
    axes.set_title("Service promised and kept (bars: 90 % interval)", fontsize=9)
    return figure
