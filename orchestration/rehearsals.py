"""Orders replayed with forecasters that have not seen the weeks: the gate of a decision, its promises, what rules cost.

Belongs here: which items, weeks and policy a home rehearses. Does not: the replay (ml/restock_rehearsal.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.frames import planned_days, protection_horizon, standard_policy, supplier_terms
from orchestration.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from ml.backtest import Evaluation

ITEMS, PATHS = 150, 100
KEYS = ["sku", "location_id"]
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
class Rehearsed:
    """What a rehearsal adds to a training.

    Attributes:
        verdict: rows for the verdict of the gate; None where nothing can be ordered.
        tables: service_calibration and rule_costs.
        figures: service_calibration.
    """

    verdict: "pd.DataFrame | None"
    tables: "dict[str, pd.DataFrame]"
    figures: dict[str, Any]


def rehearse_orders(
    settings: Settings, evaluation: "Evaluation", demand: "pd.DataFrame", challenger: str, rival: str, *, blocks: bool
) -> Rehearsed:
    """Replay the weekly orders of two evaluated recipes, under the home's own policy, on items that stand for all.

    Args:
        settings: of the home.
        evaluation: with what the recipes fitted before its last window but one.
        demand: history with covariates.
        challenger: recipe to judge.
        rival: recipe it is judged against.
        blocks: whether what is not met keeps the challenger from promotion.
    """
    from ml import restock_rehearsal as rehearsal

    windows, series = evaluation.windows, evaluation.series
    origin = windows.loc[windows["window"] == evaluation.fitted_window, "origin"].iloc[0]
    known = series[(series["window"] == evaluation.fitted_window) & (series["recipe"] == challenger)]
    terms = supplier_terms(settings).merge(known[[*KEYS, "demand_class", "weight"]], on=KEYS)
    # Evenly spaced by class and value, as the evaluated series were chosen.
    terms = terms.sort_values(["demand_class", "weight", *KEYS], ignore_index=True)
    terms = terms.iloc[:: -(-len(terms) // ITEMS) or 1].sort_values(KEYS, ignore_index=True)
    if terms.empty:
        return Rehearsed(None, {}, {})
    segments = terms[KEYS].assign(segment=terms["demand_class"])
    policy, horizon = standard_policy(settings).merge(terms[KEYS], on=KEYS), protection_horizon(settings)
    stage = rehearsal.Stage(
        demand=demand.merge(terms[KEYS], on=KEYS),
        future=planned_days(settings, horizon).merge(terms[KEYS], on=KEYS),
        terms=terms,
        policy=policy,
        horizon=horizon,
        first_order=origin,
        paths=PATHS,
        seed=settings.seed,
    )
    drawn = rehearsal.draw_demand(evaluation.fitted[challenger], stage)
    ours = rehearsal.rehearse(drawn, stage)
    theirs = rehearsal.rehearse(rehearsal.draw_demand(evaluation.fitted[rival], stage), stage)
    return Rehearsed(
        verdict=rehearsal.gate(ours, theirs, stage, segments, rival=rival, blocks=blocks),
        tables={
            "service_calibration": rehearsal.promises_kept(ours, segments, settings.cycle_service_level),
            "rule_costs": rehearsal.rule_costs(drawn, stage, ours, segments),
        },
        figures={"service_calibration": rehearsal.promises_chart(ours)},
    )


def typed(table: "pd.DataFrame | None", columns: Mapping[str, str]) -> "pd.DataFrame":
    """Return a logged table with its columns and types, empty where a training logged none."""
    import pandas as pd

    return pd.DataFrame(table, columns=list(columns)).astype(dict(columns))
