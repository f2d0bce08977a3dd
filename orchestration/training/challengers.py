"""The network and the classical methods beside the booster, on a sample of series, in a process of their own.

Belongs here: when they run and what is reported of them. Does not: the model specs (ml/), the gate of the candidate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.schema import KEYS
from orchestration.home.child_process import run_in_child
from orchestration.home.settings import Settings
from orchestration.training.data import TrainingData, read_training_data
from orchestration.training.demand_forecast import PARAMETERS, train_demand_forecast
from orchestration.training.figures import as_png
from orchestration.training.forecast_judgement import SPANS_DAYS
from orchestration.training.lifecycle import Trained, Training

if TYPE_CHECKING:
    import pandas as pd

# Fitted series by series, so on a sample; a network of fewer series learns nothing worth a comparison.
SERIES, WINDOWS, STEP_DAYS, FEWEST_SERIES, FEWEST_DAYS, PATHS = 200, 2, 28, 40, 112, 100
MEMORY_BYTES = 6 * 2**30


@dataclass(frozen=True)
class Challenge:
    """How the challengers did; empty where there is too little to compare on.

    Attributes:
        verdict: one criterion per challenger and measure, the booster over it; and one per demand class, the share
            that challengers would have in the combination if they were members and single days decided. Reported, never
            blocking.
        figures: name -> matplotlib figure.
        tables: name -> frame: measures by model spec and demand class, of sums, and the shares that would be chosen.
    """

    verdict: "pd.DataFrame"
    figures: dict[str, Any]
    tables: "dict[str, pd.DataFrame]"


def train_beside_challengers(
    settings: Settings, folder: Path, champion: Path | None, kept: Path | None = None
) -> Trained:
    """Train the demand forecast; where there is a champion already, tell how the challengers did as well.

    The first training of a home, which a person waits for, goes without them.

    Args:
        settings: of the home.
        folder: as `train_demand_forecast`.
        champion: as `train_demand_forecast`.
        kept: as `train_demand_forecast`.
    """
    import pandas as pd

    data = read_training_data(settings)
    trained = train_demand_forecast(settings, data, folder, champion, kept)
    if champion is None:
        return trained
    found = challenge(settings, data, [span for span in SPANS_DAYS if span <= data.horizon])
    return replace(
        trained,
        verdict=pd.concat([trained.verdict, found.verdict], ignore_index=True),
        figures={**trained.figures, **found.figures},
        tables={**trained.tables, **found.tables},
    )


DEMAND_FORECAST = Training(
    model="demand_forecast",
    code=(
        *("ml/schema.py", "ml/segments.py", "ml/panel.py", "ml/forecast"),
        *("orchestration/warehouse/demand_frames.py", "orchestration/training/data.py"),
        "orchestration/training/demand_forecast.py",
    ),
    judge=(
        *("ml/backtest", "ml/metrics", "ml/replay", "ml/restock", "orchestration/planning/policies.py"),
        "orchestration/warehouse/restock_frames.py",
        *("orchestration/training/challengers.py", "orchestration/training/policy_backtest.py"),
        "orchestration/training/forecast_judgement.py",
    ),
    libraries=("xgboost", "numpy"),
    parameters=PARAMETERS,
    fit=train_beside_challengers,
    stand_in="recent demand stands",
)


def challenge(settings: Settings, data: TrainingData, spans: list[int]) -> Challenge:
    """Evaluate the challengers beside the booster, each refitted per window on the same sample of series.

    TensorFlow never gives its memory back and numba compiles for seconds, so this belongs to the weekly training and
    to a child process; the daily run knows neither.

    Args:
        settings: of the home.
        data: of the home.
        spans: lengths of sums, days.
    """
    import pandas as pd

    from ml.backtest import stratified_series

    demand = data.demand
    days = demand["period_start"].nunique()
    if days < FEWEST_DAYS + data.horizon + STEP_DAYS or len(demand[KEYS].drop_duplicates()) < FEWEST_SERIES:
        return Challenge(pd.DataFrame(), {}, {})
    chosen = stratified_series(demand, freq="D", most=SERIES)
    part = replace(data, demand=demand.merge(chosen, on=KEYS), items=data.items.merge(chosen, on=KEYS))
    log = settings.home / "training.log"
    return run_in_child(MEMORY_BYTES, log, _evaluate, settings, part, spans)


def _evaluate(settings: Settings, data: TrainingData, spans: list[int]) -> Challenge:
    import pandas as pd

    from ml.backtest import BASELINE, BacktestSetup, challengers, evaluate, verdict
    from ml.forecast import BOOSTER, error_by_lag

    model_specs = challengers()
    evaluation = evaluate(
        model_specs,
        data.demand,
        BacktestSetup(
            freq="D",
            horizon=data.horizon,
            windows=WINDOWS,
            step=STEP_DAYS,
            spans=spans,
            paths=PATHS,
            keep_forecasts=True,
            seed=settings.seed,
        ),
        items=data.items,
    )
    competitors = [name for name in model_specs if name not in (BOOSTER, BASELINE)]
    judged = verdict(evaluation, BOOSTER, BASELINE, competitors=competitors, seed=settings.seed, period="day")
    reported = judged[judged["criterion"].str.endswith(", all")]
    choice = chosen_shares(evaluation.forecasts, [BOOSTER, *competitors])
    reported = pd.concat([reported, _shares_of_challengers(choice)], ignore_index=True)
    return Challenge(
        reported.assign(
            criterion=f"{len(data.demand[KEYS].drop_duplicates())} series: " + reported["criterion"],
            # On a sample and beside the booster alone, these stand with the segments, not with what decides.
            segment=f"{len(data.demand[KEYS].drop_duplicates())} series, booster alone, " + reported["segment"],
            blocks=False,
            passed=True,
        ),
        {"challengers_by_lag": as_png(error_by_lag(evaluation.horizons, own=BOOSTER, season=7, period="day"))},
        {
            "challengers": evaluation.segments,
            "challengers_sums": evaluation.sums,
            "challengers_choice": choice,
        },
    )


def chosen_shares(forecasts: "pd.DataFrame", names: Sequence[str]) -> "pd.DataFrame":
    """Return what the combination would choose for each demand class if every model spec were a member of it.

    Args:
        forecasts: `Evaluation.forecasts`, of windows that no model spec had seen.
        names: model specs; the first stands unless another choice is clearly better.

    Returns:
        demand_class and one column per model spec, the shares of a row sum to one; classes that were evaluated.
    """
    import pandas as pd

    from ml.forecast import choose_weights

    weights = pd.DataFrame(choose_weights(forecasts, names)).T.rename_axis("demand_class").reset_index()
    return weights[weights["demand_class"].isin(forecasts["demand_class"])].reset_index(drop=True)


def _shares_of_challengers(choice: "pd.DataFrame") -> "pd.DataFrame":
    from ml.backtest import candidate_members
    from ml.metrics import Criterion, verdict_frame

    share = 1.0 - choice[list(candidate_members())].sum(axis=1).round(9)
    return verdict_frame(
        [
            Criterion(
                "share that challengers would be given on single days",
                value=float(value),
                threshold=0.0,
                needed="at most 0",
                blocks=False,
                segment=f"demand_class {name}",
                ours=float(value),
                name=f"share that challengers would be given on single days, demand_class {name}",
            )
            for name, value in zip(choice["demand_class"], share, strict=True)
        ]
    )
