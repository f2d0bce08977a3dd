"""What the demand forecast learns from and what is kept to explain it.

Belongs here: putting `ml` functions together for one home. Does not: how it is evaluated and judged
(forecast_judgement.py), the life cycle all share (lifecycle.py).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from orchestration.home.settings import Settings
from orchestration.training.data import TrainingData
from orchestration.training.forecast_judgement import (
    EVALUATION_PATHS,
    EVALUATION_SERIES,
    EVALUATION_STEP_DAYS,
    EVALUATION_WINDOWS,
    Judged,
    backtest,
    judge,
)
from orchestration.training.lifecycle import Headline, Trained
from orchestration.training.model_card import forecast_card

if TYPE_CHECKING:
    import pandas as pd

    from ml.forecast import BaselineForecaster, DemandForecaster, Forecaster

EXPLAINED_SERIES = 200
_LOG = logging.getLogger(__name__)

PARAMETERS: Mapping[str, Any] = {
    "windows": EVALUATION_WINDOWS,
    "step_days": EVALUATION_STEP_DAYS,
    "evaluation_series": EVALUATION_SERIES,
    "evaluation_paths": EVALUATION_PATHS,
}


def train_demand_forecast(
    settings: Settings, data: TrainingData, folder: Path, champion: Path | None, kept: Path | None = None
) -> Trained:
    """Backtest the model specs on rolling windows, judge, and refit the candidate on everything.

    A home with too little history to judge, or whose candidate does not beat the seasonal naive while there is no
    champion, keeps the recent distribution: orders need a forecast, and that one promises nothing. A kept model whose
    model spec is still the candidate's is not refitted; its shares are chosen on what the backtest says now.
    """
    from ml import forecast
    from ml.backtest import CANDIDATE, candidates_beside
    from ml.forecast import BOOSTER, train_recent

    demand, horizon = data.demand, data.horizon
    few = demand[(demand[["sku", "location_id"]] == demand[["sku", "location_id"]].iloc[0]).all(axis=1)].tail(60)
    days = demand["period_start"].nunique()
    windows = min(EVALUATION_WINDOWS, (days - 2 * horizon) // EVALUATION_STEP_DAYS)
    recent = train_recent(demand, freq="D", horizon=horizon)
    if windows < 1:
        recent.save(folder)
        return _baseline(recent, few, f"{days} days of history are too few to judge forecasts of {horizon} days")
    field = candidates_beside(None if champion is None else forecast.load(champion))
    evaluation = backtest(field, data, windows, settings.seed)
    judged = judge(settings, data, evaluation, field.champion)
    if champion is None and not judged.verdict["passed"].all():
        recent.save(folder)
        return _baseline(recent, few, f"failed were: {', '.join(judged.failed())}", judged)
    combination, members = field.combinations[CANDIDATE], _kept_members(kept)
    is_kept = bool(members)
    for name in () if is_kept else combination.members:
        _LOG.info("fitting %s on all %s rows", name, f"{len(demand):,}")
        members[name] = field.specs[name](demand, freq="D", horizon=horizon, items=data.items, seed=settings.seed)
    forecaster = combination(members, evaluation.tried, evaluation.tried_sums)
    forecaster.save(folder)
    booster = cast("DemandForecaster", members[BOOSTER])
    boosted = [name for name, shares in forecaster.weights.items() if shares[BOOSTER] > 0]
    explained = _explanations(booster, data, evaluation.series, boosted)
    return Trained(
        verdict=judged.verdict,
        metrics=judged.metrics,
        headline=judged.headline,
        model_card=forecast_card(
            evaluation,
            CANDIDATE,
            demand,
            judged.tables["pit"],
            horizon=horizon,
            most_series=EVALUATION_SERIES,
            weights=forecaster.weights,
            season_note=forecaster.season_note(),
            season=forecaster.season_frame(),
            seed=settings.seed,
        ),
        input_example=few,
        output_example=forecaster.predict(few).head(),
        settings={
            "horizon_days": horizon,
            "evaluated_windows": windows,
            "shares": forecaster.weights,
            "level_share_chosen": booster.level_share,
            "season": forecaster.season_note(),
            **{f"{BOOSTER}_{name}": value for name, value in asdict(booster.settings).items()},
        },
        figures=judged.figures | explained.figures,
        tables={**judged.tables, "season": forecaster.season_frame(), **explained.tables},
        is_kept=is_kept,
    )


def _kept_members(kept: Path | None) -> "dict[str, Forecaster]":
    """Return the members of a model trained before; none where there is none, or today's candidate mixes others."""
    from ml import forecast
    from ml.backtest import CANDIDATE, candidates_beside
    from ml.forecast import CombinedForecaster

    saved = None if kept is None else forecast.load(kept)
    if not isinstance(saved, CombinedForecaster) or candidates_beside(saved).champion != CANDIDATE:
        return {}
    return dict(saved.members)


@dataclass(frozen=True)
class _Explained:
    """What each group of features adds to forecasts, as pictures and tables; empty where no booster forecasts."""

    figures: dict[str, Any]
    tables: "dict[str, pd.DataFrame]"


def _explanations(
    booster: "DemandForecaster",
    data: TrainingData,
    series: "pd.DataFrame",
    demand_classes: Sequence[str],
) -> _Explained:
    """Explain the coming forecasts of some series by the booster's contributions (SHAP).

    Args:
        booster: fitted on everything.
        data: of the home.
        series: `Evaluation.series`, of which some are explained.
        demand_classes: those that the booster has a share in.
    """
    from ml.forecast import contribution_chart, contributions, importance, importance_chart, typical_and_worst

    known = series[series["demand_class"].isin(demand_classes) & (series["model_spec"] == series["model_spec"].iloc[0])]
    keys = known[["sku", "location_id"]].drop_duplicates()
    if keys.empty:
        return _Explained({}, {})
    chosen = typical_and_worst(known, known["model_spec"].iloc[0], each=1)
    spread = keys.iloc[:: -(-len(keys) // EXPLAINED_SERIES)]
    some = spread.merge(chosen[["sku", "location_id"]], how="outer")
    split = contributions(booster, data.demand, data.planned, some)
    moved = importance(split)
    figures = {"importance": importance_chart(moved, period="day")}
    for key in chosen.to_dict("records"):
        figures[f"contributions_{key['choice']}"] = contribution_chart(
            split, key["sku"], key["location_id"], period="day"
        )
    return _Explained(figures, {"contributions": split, "importance": moved})


def _baseline(recent: "BaselineForecaster", few: "pd.DataFrame", why: str, judged: "Judged | None" = None) -> Trained:
    """Return recent demand as what a training made, with the verdict on the candidate that it stands in for."""
    import pandas as pd

    from ml.metrics import Criterion, verdict_frame

    verdict = verdict_frame(
        [
            Criterion(
                "recent demand stands",
                value=0.0,
                threshold=0.0,
                needed="promises nothing",
                blocks=False,
                name=f"the baseline stands: {why}",
            )
        ]
    )
    if judged is not None:
        candidate = judged.verdict.assign(
            criterion="candidate: " + judged.verdict["criterion"],
            measure="candidate: " + judged.verdict["measure"],
            # What kept the candidate from its place does not keep the baseline from it.
            passed=True,
        )
        verdict = pd.concat([verdict, candidate], ignore_index=True)
    return Trained(
        verdict=verdict,
        metrics={} if judged is None else {f"candidate_{name}": value for name, value in judged.metrics.items()},
        headline=Headline("none: the baseline stands", None, None, "recent demand"),
        model_card=f"Recent demand, day after day alike. It stands because nothing was shown to be better: {why}.",
        input_example=few,
        output_example=recent.predict(few).head(),
        figures={} if judged is None else judged.figures,
        tables={} if judged is None else judged.tables,
    )
