"""Orders replayed with forecasters that have not seen the weeks: the gate of a decision, its promises, what rules cost.

Belongs here: which items, weeks and policy a home replays. Does not: the replay (ml/replay/policy_backtest.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ml.schema import KEYS
from orchestration.home.settings import Settings
from orchestration.planning.policies import RESTOCK_LIMITS, effective_policies
from orchestration.training.data import TrainingData, read_training_data

if TYPE_CHECKING:
    import pandas as pd

    from ml.backtest import Evaluation
    from ml.forecast import FittedForecaster
    from ml.replay import BacktestSetup
    from serving.store import PolicyOverride

ITEMS, PATHS, WEEKS = 150, 100, 11
RULE_COST_COLUMNS = {
    **dict.fromkeys(("rule", "segment"), "string"),
    **dict.fromkeys(("items", "days"), "int64"),
    **dict.fromkeys(("cost_with_rule", "cost_without_rule", "cost_of_rule"), "float64"),
    **dict.fromkeys(("fill_rate_with_rule", "fill_rate_without_rule"), "float64"),
}
PROMISE_COLUMNS = {
    "cohort": "string",
    "cycles": "int64",
    "is_calibrated": "bool",
    **dict.fromkeys(("promised_service", "delivered_service", "low", "high", "corrected_target"), "float64"),
}


@dataclass(frozen=True)
class OrderBacktest:
    """What a backtest of orders adds to a training.

    Attributes:
        verdict: rows for the verdict of the gate; None where nothing can be ordered.
        tables: service_calibration and rule_costs.
        figures: service_calibration.
    """

    verdict: "pd.DataFrame | None"
    tables: "dict[str, pd.DataFrame]"
    figures: dict[str, Any]


def backtest_orders(
    settings: Settings, data: TrainingData, evaluation: "Evaluation", challenger: str, competitor: str, *, blocks: bool
) -> OrderBacktest:
    """Replay the weekly orders of two evaluated model specs, under the home's own policy, on items that stand for all.

    Args:
        settings: of the home.
        data: of the home.
        evaluation: with what the model specs fitted before its last window but one.
        challenger: model spec to judge.
        competitor: model spec it is judged against.
        blocks: whether what is not met keeps the challenger from promotion.
    """
    from ml import replay

    windows, series = evaluation.windows, evaluation.series
    origin = windows.loc[windows["window"] == evaluation.fitted_window, "origin"].iloc[0]
    known = series[(series["window"] == evaluation.fitted_window) & (series["model_spec"] == challenger)]
    terms = data.terms.merge(known[[*KEYS, "demand_class", "weight"]], on=KEYS)
    if terms.empty:
        return OrderBacktest(None, {}, {})
    # Evenly spaced by class and value, as the evaluated series were chosen.
    terms = _representative(terms, ["demand_class", "weight"])
    segments = terms[KEYS].assign(segment=terms["demand_class"])
    setup = _setup(settings, data, terms, data.policy, origin)
    sampled = replay.sample_demand(evaluation.fitted[challenger], setup)
    ours = replay.backtest_orders(sampled, setup)
    theirs = replay.backtest_orders(replay.sample_demand(evaluation.fitted[competitor], setup), setup)
    return OrderBacktest(
        verdict=replay.verdict_on_orders(ours, theirs, setup, segments, competitor=competitor, blocks=blocks),
        tables={
            "service_calibration": replay.service_attainment(ours, segments, settings.cycle_service_level),
            "rule_costs": replay.rule_costs(sampled, setup, ours, segments, settings.cycle_service_level),
        },
        figures={"service_calibration": replay.service_attainment_chart(ours)},
    )


def score_overrides(
    settings: Settings, forecaster: "FittedForecaster", overrides: "Sequence[PolicyOverride]"
) -> "pd.DataFrame":
    """Return what each override is worth to its items: the orders of the last weeks replayed with and without it.

    Eleven weeks are replayed, or half of what is known.

    Returns:
        One row per override, in their order: items, cost_with, cost_without (holding, lost margin and fixed order
        costs of the days that count), value_added (what it saves), fill_rate_with, fill_rate_without; NaN where nobody
        can follow it.
    """
    import pandas as pd

    from ml import replay

    data = read_training_data(settings)
    first, last = data.demand["period_start"].min(), data.demand["period_start"].max()
    origin = last - min(pd.Timedelta(weeks=WEEKS), ((last - first) / 2).floor("D"))
    known = data.demand.loc[data.demand["period_start"] <= origin, KEYS].drop_duplicates()
    scores: list[dict[str, float]] = []
    for override in overrides:
        policies, _ = effective_policies(data.policy, data.segments, [override])
        followed = policies[policies["policy_note"].notna()].merge(known, on=KEYS)
        followed = followed.rename(columns={"no_order_above_days": "no_order_above_periods"})
        terms = data.terms.merge(followed[[*KEYS, *RESTOCK_LIMITS]], on=KEYS)
        if terms.empty:
            scores.append({"items": 0})
            continue
        terms = _representative(terms, ["unit_cost"])
        setup = _setup(settings, data, terms, followed, origin)
        plain = replace(
            setup,
            terms=terms.drop(columns=list(RESTOCK_LIMITS)),
            policy=data.policy.merge(terms[KEYS], on=KEYS),
        )
        sampled = replay.sample_demand(forecaster, setup)
        ours, theirs = (replay.backtest_orders(sampled, each).rows.query("is_scored") for each in (setup, plain))
        # Both are charged what the home's own policy charges.
        costs = [replay.charged(rows, plain.policy) for rows in (ours, theirs)]
        scores.append(
            {
                "items": len(terms),
                "cost_with": costs[0],
                "cost_without": costs[1],
                "value_added": costs[1] - costs[0],
                "fill_rate_with": replay.service(ours, "fill_rate"),
                "fill_rate_without": replay.service(theirs, "fill_rate"),
            }
        )
    columns = ["items", "cost_with", "cost_without", "value_added", "fill_rate_with", "fill_rate_without"]
    return pd.DataFrame(scores, columns=columns)


def _representative(terms: "pd.DataFrame", by: list[str]) -> "pd.DataFrame":
    """Return at most so many items, evenly spaced in an order."""
    ordered = terms.sort_values([*by, *KEYS], ignore_index=True)
    return ordered.iloc[:: -(-len(ordered) // ITEMS)].sort_values(KEYS, ignore_index=True)


def _setup(
    settings: Settings,
    data: TrainingData,
    terms: "pd.DataFrame",
    policy: "pd.DataFrame",
    first_order: "pd.Timestamp",
) -> "BacktestSetup":
    from ml.replay import BacktestSetup

    # The items replayed stand for all of their supplier: they pay and reach their share of what it asks of an order.
    shares = terms["supplier_id"].value_counts() / data.terms["supplier_id"].value_counts()
    share = terms["supplier_id"].map(shares)
    terms = terms.assign(**{name: terms[name] * share for name in ("fixed_order_cost", "minimum_order_value")})
    return BacktestSetup(
        demand=data.demand.merge(terms[KEYS], on=KEYS),
        future=data.planned.merge(terms[KEYS], on=KEYS),
        terms=terms,
        policy=policy.merge(terms[KEYS], on=KEYS),
        horizon=data.horizon,
        first_order=first_order,
        paths=PATHS,
        seed=settings.seed,
    )


def typed(table: "pd.DataFrame | None", columns: Mapping[str, str]) -> "pd.DataFrame":
    """Return a logged table with its columns and types, empty where a training logged none."""
    import pandas as pd

    return pd.DataFrame(table, columns=list(columns)).astype(dict(columns))
