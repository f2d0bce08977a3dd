"""How the demand forecast is evaluated and judged, and the pictures and tables of it.

Belongs here: what one home's verdict is made of. Does not: what the forecast learns (demand_forecast.py), measuring and
judging themselves (ml/backtest, ml/replay).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.home.settings import Settings
from orchestration.training.data import TrainingData
from orchestration.training.lifecycle import Headline
from orchestration.training.policy_backtest import backtest_orders

if TYPE_CHECKING:
    import pandas as pd

    from ml.backtest import Candidates, Evaluation

EVALUATION_WINDOWS, EVALUATION_STEP_DAYS, EVALUATION_SERIES = 5, 21, 1_000
EVALUATION_PATHS = 100
SPANS_DAYS = (7, 14, 28)
METRICS = ["mae", "rmse", "mape", "wape", "bias", "mase", "rmsse", "wrmsse", "pinball", "wql"]


@dataclass(frozen=True)
class Judged:
    """What a backtest says of the candidate.

    Attributes:
        verdict: of the gate and of the replayed orders.
        metrics: over all series, those of the others with their name in front.
        headline: WRMSSE beside the hardest competitor.
        figures: name -> figure.
        tables: name -> frame.
    """

    verdict: "pd.DataFrame"
    metrics: dict[str, float]
    headline: Headline
    figures: dict[str, Any]
    tables: "dict[str, pd.DataFrame]"

    def failed(self) -> list[str]:
        """Return the criteria that keep the candidate from its place."""
        return [str(name) for name in self.verdict.loc[~self.verdict["passed"].astype(bool), "criterion"]]


def backtest(field: "Candidates", data: TrainingData, windows: int, seed: int) -> "Evaluation":
    """Evaluate the candidate beside its members, the baselines and the champion's model on rolling windows.

    Args:
        field: what is compared.
        data: of the home.
        windows: how many.
        seed: of the models and the paths.
    """
    from ml.backtest import BacktestSetup, evaluate, stratified_series

    return evaluate(
        field.specs,
        data.demand,
        BacktestSetup(
            freq="D",
            horizon=data.horizon,
            windows=windows,
            step=EVALUATION_STEP_DAYS,
            spans=[span for span in SPANS_DAYS if span <= data.horizon] or [data.horizon],
            paths=EVALUATION_PATHS,
            keep_forecasts=True,
            seed=seed,
        ),
        items=data.items,
        combinations=field.combinations,
        series=stratified_series(data.demand, freq="D", most=EVALUATION_SERIES),
    )


def judge(settings: Settings, data: TrainingData, evaluation: "Evaluation", champion: str | None) -> Judged:
    """Judge the candidate on the windows of an evaluation and on the orders that its forecasts lead to.

    Args:
        settings: of the home.
        data: of the home.
        evaluation: of `backtest`.
        champion: model spec in use; None = none.
    """
    import pandas as pd

    from ml.backtest import BASELINE, CANDIDATE, pit_by_class, verdict
    from ml.forecast import RECENT

    judged = verdict(
        evaluation, CANDIDATE, BASELINE, competitors=[RECENT], champion=champion, seed=settings.seed, period="day"
    )
    is_change = champion not in (None, CANDIDATE)
    competitor = str(champion) if is_change else RECENT
    orders = backtest_orders(settings, data, evaluation, CANDIDATE, competitor, blocks=is_change)
    whole = pd.concat([judged, orders.verdict], ignore_index=True)
    pit = pit_by_class(evaluation.pit, evaluation.windows["model_spec"].unique().tolist(), seed=settings.seed)
    return Judged(
        verdict=whole,
        metrics=_forecast_metrics(evaluation, CANDIDATE),
        headline=Headline.beside_hardest_competitor("WRMSSE, less is better", whole, "WRMSSE"),
        figures=_forecast_figures(evaluation, pit, data.demand, CANDIDATE) | orders.figures,
        tables={
            "segments": evaluation.segments,
            "horizons": evaluation.horizons,
            "calibration": evaluation.calibration,
            "pit": pit,
            "sums": evaluation.sums,
            "windows": evaluation.windows,
            **orders.tables,
        },
    )


def _forecast_metrics(evaluation: "Evaluation", model_spec: str) -> dict[str, float]:
    """Return the figures over all series: the own ones by their bare name, the others with theirs in front."""
    overall = evaluation.segments[evaluation.segments["segment_kind"] == "all"].set_index("model_spec")[METRICS]
    return {
        str(metric) if name == model_spec else f"{name}_{metric}": float(value)
        for name, figures in overall.to_dict("index").items()
        for metric, value in figures.items()
    }


def _forecast_figures(
    evaluation: "Evaluation", pit: "pd.DataFrame", demand: "pd.DataFrame", model_spec: str
) -> dict[str, Any]:
    from ml.backtest import PIT_LIMIT, pit_histograms
    from ml.forecast import calibration_curve, calibration_of_sums, error_by_lag, fan_charts, typical_and_worst

    own = evaluation.forecasts[evaluation.forecasts["model_spec"] == model_spec]
    drawn = typical_and_worst(evaluation.series, model_spec)
    return {
        "fan_charts": fan_charts(demand, own[own["window"] == own["window"].max()], drawn, period="day"),
        "pit": pit_histograms(evaluation.pit, pit, model_spec, limit=PIT_LIMIT, period="day"),
        "calibration": calibration_curve(evaluation.calibration, model_spec, period="day"),
        "calibration_of_sums": calibration_of_sums(evaluation.sums, model_spec, period="day"),
        "error_by_lag": error_by_lag(evaluation.horizons, own=model_spec, season=7, period="day"),
    }
