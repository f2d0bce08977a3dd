"""What the demand forecast learns from, how it is evaluated and judged, and what is kept to explain it.

Belongs here: putting `ml` functions together for one home. Does not: the life cycle all share (lifecycle.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from orchestration.home.settings import Settings
from orchestration.training.data import TrainingData
from orchestration.training.lifecycle import Headline, Trained
from orchestration.training.model_card import forecast_card
from orchestration.training.policy_backtest import rehearse_orders

if TYPE_CHECKING:
    import pandas as pd

    from ml.backtest import Candidates, Evaluation
    from ml.forecast import BaselineForecaster, DemandForecaster, Forecaster

EVALUATION_WINDOWS, EVALUATION_STEP_DAYS, EVALUATION_SERIES = 5, 21, 1_000
EVALUATION_PATHS = 100
EXPLAINED_SERIES = 200
SPANS_DAYS = (7, 14, 28)
METRICS = ["mae", "rmse", "mape", "wape", "bias", "mase", "rmsse", "wrmsse", "pinball", "wql"]

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
    import pandas as pd

    from ml import forecast
    from ml.backtest import BASELINE, CANDIDATE, candidates_beside, verdict
    from ml.forecast import BOOSTER, RECENT, train_recent

    demand, horizon = data.demand, data.horizon
    few = demand[(demand[["sku", "location_id"]] == demand[["sku", "location_id"]].iloc[0]).all(axis=1)].tail(60)
    days = demand["period_start"].nunique()
    windows = min(EVALUATION_WINDOWS, (days - 2 * horizon) // EVALUATION_STEP_DAYS)
    recent = train_recent(demand, freq="D", horizon=horizon)
    if windows < 1:
        recent.save(folder)
        return _baseline(recent, few, f"{days} days of history are too few to judge forecasts of {horizon} days")
    field = candidates_beside(None if champion is None else forecast.load(champion))
    evaluation = _backtest(field, data, windows, settings.seed)
    judged = verdict(evaluation, CANDIDATE, BASELINE, competitors=[RECENT], champion=field.champion, seed=settings.seed)
    if champion is None and not judged["passed"].all():
        recent.save(folder)
        return _baseline(recent, few, f"failed were: {', '.join(judged.loc[~judged['passed'], 'criterion'])}")
    is_change = field.champion not in (None, CANDIDATE)
    rival = str(field.champion) if is_change else RECENT
    rehearsed = rehearse_orders(settings, data, evaluation, CANDIDATE, rival, blocks=is_change)
    combination, members = field.combinations[CANDIDATE], _kept_members(kept)
    is_kept = bool(members)
    for name in () if is_kept else combination.members:
        members[name] = field.specs[name](demand, freq="D", horizon=horizon, items=data.items, seed=settings.seed)
    forecaster = combination(members, evaluation.tried, evaluation.tried_sums)
    forecaster.save(folder)
    booster = cast("DemandForecaster", members[BOOSTER])
    metrics = _forecast_metrics(evaluation, CANDIDATE)
    boosted = [name for name, shares in forecaster.weights.items() if shares[BOOSTER] > 0]
    explained = _explanations(booster, data, evaluation.series, boosted)
    return Trained(
        verdict=pd.concat([judged, rehearsed.verdict], ignore_index=True),
        metrics=metrics,
        headline=Headline("WRMSSE, less is better", metrics["wrmsse"], metrics[f"{BASELINE}_wrmsse"], "seasonal naive"),
        model_card=forecast_card(
            evaluation,
            CANDIDATE,
            demand,
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
        figures=_forecast_figures(evaluation, demand, CANDIDATE) | explained.figures | rehearsed.figures,
        tables={
            "segments": evaluation.segments,
            "horizons": evaluation.horizons,
            "calibration": evaluation.calibration,
            "sums": evaluation.sums,
            "windows": evaluation.windows,
            "season": forecaster.season_frame(),
            **explained.tables,
            **rehearsed.tables,
        },
        is_kept=is_kept,
    )


def _backtest(field: "Candidates", data: TrainingData, windows: int, seed: int) -> "Evaluation":
    from ml.backtest import BacktestSetup, evaluate, stratified_series

    return evaluate(
        field.specs,
        data.demand,
        BacktestSetup(
            freq="D",
            horizon=data.horizon,
            windows=windows,
            step=EVALUATION_STEP_DAYS,
            spans=[span for span in SPANS_DAYS if span <= data.horizon],
            paths=EVALUATION_PATHS,
            keep_forecasts=True,
            seed=seed,
        ),
        items=data.items,
        combinations=field.combinations,
        series=stratified_series(data.demand, freq="D", most=EVALUATION_SERIES),
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


def _forecast_metrics(evaluation: "Evaluation", model_spec: str) -> dict[str, float]:
    """Return the figures over all series: the own ones by their bare name, the others with theirs in front."""
    overall = evaluation.segments[evaluation.segments["segment_kind"] == "all"].set_index("model_spec")[METRICS]
    return {
        str(metric) if name == model_spec else f"{name}_{metric}": float(value)
        for name, figures in overall.to_dict("index").items()
        for metric, value in figures.items()
    }


def _forecast_figures(evaluation: "Evaluation", demand: "pd.DataFrame", model_spec: str) -> dict[str, Any]:
    from ml.forecast import calibration_curve, calibration_of_sums, error_by_lag, fan_charts, typical_and_worst

    own = evaluation.forecasts[evaluation.forecasts["model_spec"] == model_spec]
    drawn = typical_and_worst(evaluation.series, model_spec)
    return {
        "fan_charts": fan_charts(demand, own[own["window"] == own["window"].max()], drawn, period="day"),
        "calibration": calibration_curve(evaluation.calibration, model_spec, period="day"),
        "calibration_of_sums": calibration_of_sums(evaluation.sums, model_spec, period="day"),
        "error_by_lag": error_by_lag(evaluation.horizons, own=model_spec, season=7, period="day"),
    }


def _baseline(recent: "BaselineForecaster", few: "pd.DataFrame", why: str) -> Trained:
    import pandas as pd

    return Trained(
        verdict=pd.DataFrame(
            [{"criterion": f"the baseline stands: {why}", "value": 0.0, "threshold": 0.0, "passed": True}]
        ),
        metrics={},
        headline=Headline("none: the baseline stands", None, None, "recent demand"),
        model_card=f"Recent demand, day after day alike. It stands because nothing was shown to be better: {why}.",
        input_example=few,
        output_example=recent.predict(few).head(),
    )
