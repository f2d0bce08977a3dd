"""What each model learns from, how it is evaluated and judged, and what is kept to explain it.

Belongs here: putting `ml` functions together for one home. Does not: the life cycle all share (training.py).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.child_process import run_in_child
from orchestration.frames import demand_history, items, labelled_photos, protection_horizon, stock_series
from orchestration.plots import as_png
from orchestration.settings import Settings
from orchestration.training import Headline, NothingToLearn, Trained

if TYPE_CHECKING:
    from ml.backtest import Evaluation

EVALUATION_WINDOWS, EVALUATION_STEP_DAYS, EVALUATION_SERIES = 5, 21, 1_000
EVALUATION_PATHS = 100
SPANS_DAYS = (7, 14, 28)
IMAGE_PIXELS, EPOCHS, FEWEST_PHOTOS, HELD_OUT_EVERY = 64, 40, 50, 5
CHILD_MEMORY_BYTES = 3 * 2**30
PLANTED_DAYS, PLANTED_SHARE = 120, 0.01
_BASELINE = "seasonal_naive"
_RECIPE = "xgboost"

PARAMETERS: dict[str, dict[str, object]] = {
    "demand_forecast": {
        "windows": EVALUATION_WINDOWS,
        "step_days": EVALUATION_STEP_DAYS,
        "evaluation_series": EVALUATION_SERIES,
        "evaluation_paths": EVALUATION_PATHS,
    },
    "stock_anomalies": {"planted_days": PLANTED_DAYS, "planted_share": PLANTED_SHARE},
    "product_photos": {"image_pixels": IMAGE_PIXELS, "epochs": EPOCHS},
}


def train_demand_forecast(settings: Settings, folder: Path) -> Trained:
    """Backtest the recipes on rolling windows, judge, and refit the winner on everything.

    A home with too little history to judge, or where the recipe does not beat it, keeps the seasonal naive baseline.
    """
    from ml import forecast
    from ml.backtest import evaluate, stratified_series
    from ml.forecast_baselines import train_recent, train_seasonal_naive
    from ml.forecast_gate import verdict

    demand, attributes, horizon = demand_history(settings), items(settings), protection_horizon(settings)
    recipes = {_RECIPE: forecast.train, _BASELINE: train_seasonal_naive, "recent": train_recent}
    evaluation = evaluate(
        recipes,
        demand,
        freq="D",
        horizon=horizon,
        windows=EVALUATION_WINDOWS,
        step=EVALUATION_STEP_DAYS,
        items=attributes,
        series=stratified_series(demand, freq="D", most=EVALUATION_SERIES),
        spans=[span for span in SPANS_DAYS if span <= horizon],
        paths=EVALUATION_PATHS,
        keep_forecasts=True,
        seed=settings.seed,
    )
    judged = verdict(evaluation, _RECIPE, [_BASELINE])
    overall = evaluation.segments[evaluation.segments["segment_kind"] == "all"].set_index("recipe")
    forecaster = forecast.train(demand, freq="D", horizon=horizon, items=attributes, seed=settings.seed)
    forecaster.save(folder)
    few = demand[demand["sku"] == demand["sku"].iloc[0]].tail(60)
    champion, baseline = overall.loc[_RECIPE], overall.loc[_BASELINE]
    return Trained(
        verdict=judged,
        metrics={
            f"{recipe}_{metric}" if recipe != _RECIPE else metric: float(overall.loc[recipe, metric])
            for recipe in recipes
            for metric in ("mae", "rmse", "mape", "wape", "bias", "mase", "rmsse", "wrmsse", "pinball", "wql")
        },
        headline=Headline("WRMSSE, less is better", champion["wrmsse"], baseline["wrmsse"], "seasonal naive"),
        model_card=_forecast_card(evaluation, horizon),
        input_example=few,
        output_example=forecaster.predict(few).head(),
        tables={
            "segments": evaluation.segments,
            "horizons": evaluation.horizons,
            "calibration": evaluation.calibration,
            "sums": evaluation.sums,
            "windows": evaluation.windows,
        },
    )


def _forecast_card(evaluation: "Evaluation", horizon: int) -> str:
    windows = evaluation.windows[evaluation.windows["recipe"] == _RECIPE]
    overall = evaluation.segments[evaluation.segments["segment_kind"] == "all"]
    lines = [
        f"| {row.recipe} | {row.wrmsse:.3f} | {row.pinball:.4f} | {row.wape:.3f} | {row.bias:+.3f} |"
        for row in overall.itertuples()
    ]
    return "\n".join(
        [
            f"Daily demand of every sku and location, {horizon} days ahead: mean, quantiles and joint sample paths.",
            "",
            f"Evaluated on {len(windows)} rolling windows, each recipe refitted per window on up to "
            f"{EVALUATION_SERIES:,} series, scored on observed demand of days in stock.",
            "",
            "| recipe | WRMSSE | pinball | WAPE | bias |",
            "|---|---|---|---|---|",
            *lines,
            "",
            "A day out of stock is a lower bound of demand. Brand-new items borrow from items like them.",
        ]
    )


def train_stock_anomalies(settings: Settings, folder: Path) -> Trained:
    """Learn on the earlier days, judge on errors planted in later ones, and refit on everything."""
    import pandas as pd

    from ml import anomaly

    series = stock_series(settings)
    split = series["day"].max() - pd.Timedelta(days=PLANTED_DAYS)
    planted, labels = anomaly.plant(series, seed=settings.seed + 1, share=PLANTED_SHARE)
    labels = labels[labels["day"] > split]
    judged = anomaly.train(series[series["day"] <= split], seed=settings.seed)
    scores = {
        "detector": judged.score(planted, since=split + pd.Timedelta(days=1)),
        "robust_z": anomaly.robust_z_baseline(planted)[lambda frame: frame["day"] > split],
    }
    measured = anomaly.evaluate(scores, labels)
    overall = measured[(measured["kind"] == "all") & (measured["size"] == "all")].set_index("detector")
    detector = anomaly.train(series, seed=settings.seed)
    detector.save(folder)
    few = series[series["sku"] == series["sku"].iloc[0]].tail(60)
    metrics = ("precision", "recall", "f1", "auc_roc", "auc_pr")
    return Trained(
        verdict=pd.DataFrame(
            [
                {
                    "criterion": f"{metric} not below robust z, all planted errors",
                    "value": float(overall.loc["detector", metric]),
                    "threshold": float(overall.loc["robust_z", metric]),
                    "passed": bool(overall.loc["detector", metric] >= overall.loc["robust_z", metric]),
                }
                for metric in ("auc_roc", "auc_pr")
            ]
        ),
        metrics={
            name if detector_name == "detector" else f"{detector_name}_{name}": float(overall.loc[detector_name, name])
            for detector_name in scores
            for name in metrics
        }
        | {
            f"auc_pr_{row.size_name}": float(row.auc_pr)
            for row in measured.rename(columns={"size": "size_name"}).itertuples()
            if row.detector == "detector" and row.kind == "all" and row.size_name != "all"
        },
        headline=Headline(
            "AUC-PR, more is better", overall.loc["detector", "auc_pr"], overall.loc["robust_z", "auc_pr"], "robust z"
        ),
        model_card=(
            "Suspicious days in the stock record and in demand, scored 0 to 1; each reported day has kind and reason."
            f"\n\nJudged on {len(labels):,} record errors planted in the last {PLANTED_DAYS} days, which training"
            " had not seen, beside a robust z-score. Errors that are already in the record count as ordinary."
        ),
        input_example=few,
        output_example=detector.score(few).head(),
        figures={"top_anomalies": anomaly.top_anomalies_figure(planted, scores["detector"])},
        tables={"planted_errors": measured},
    )


def train_product_photos(settings: Settings, folder: Path) -> Trained:
    """Train in a process of its own: TensorFlow never gives its memory back."""
    return run_in_child(CHILD_MEMORY_BYTES, _train_recogniser, settings, str(folder))


def _train_recogniser(settings: Settings, folder: str) -> Trained:
    import base64

    import pandas as pd

    from ml import images
    from ml.classification_metrics import confusion_figure, confusion_frame, recognition_metrics

    labelled = labelled_photos(settings)
    if len(labelled) < FEWEST_PHOTOS or labelled["label"].nunique() < 2:
        raise NothingToLearn(f"{len(labelled)} labelled photos, {FEWEST_PHOTOS} of two labels are needed to learn from")
    photos = pd.Series([(settings.landing / path).read_bytes() for path in labelled["photo_path"]])
    labels = labelled["label"]
    is_held_out = labelled.groupby("label").cumcount() % HELD_OUT_EVERY == HELD_OUT_EVERY - 1

    def trained_on(rows: "pd.Series[bool]") -> images.Recogniser:
        return images.train(
            photos[rows].tolist(), labels[rows].tolist(), image_size=IMAGE_PIXELS, epochs=EPOCHS, seed=settings.seed
        )

    judged = trained_on(~is_held_out)
    baseline = images.hog_baseline(
        photos[~is_held_out].tolist(), labels[~is_held_out].tolist(), image_size=IMAGE_PIXELS, seed=settings.seed
    )
    unseen, actual = photos[is_held_out].tolist(), labels[is_held_out].tolist()
    probabilities = judged.probabilities(unseen)
    measured = recognition_metrics(actual, probabilities, judged.classes)
    rival = recognition_metrics(actual, baseline.probabilities(unseen), baseline.classes)
    confusion = confusion_frame(actual, judged.predict(unseen)["label"].tolist(), judged.classes)
    recogniser = trained_on(labels.notna())
    recogniser.save(folder)
    few = photos.iloc[:2].tolist()
    return Trained(
        verdict=pd.DataFrame(
            [
                {
                    "criterion": f"{metric} not below HOG + linear, held-out photos",
                    "value": measured[metric],
                    "threshold": rival[metric],
                    "passed": measured[metric] >= rival[metric],
                }
                for metric in ("accuracy", "top5_accuracy")
            ]
        ),
        metrics=measured | {f"hog_linear_{name}": value for name, value in rival.items()},
        headline=Headline("accuracy, more is better", measured["accuracy"], rival["accuracy"], "HOG + linear"),
        model_card=(
            f"Recognises {labels.nunique()} labels on shelf photos, trained from scratch on {len(labelled):,} photos."
            f"\n\nJudged on every {HELD_OUT_EVERY}th photo of a label, which the judged network had not seen; then"
            " refitted on all. A photo whose best probability is too low is called unknown."
        ),
        input_example=pd.DataFrame({"image_base64": [base64.b64encode(photo).decode() for photo in few]}),
        output_example=recogniser.predict(few),
        figures={"confusion": as_png(confusion_figure(confusion))},
        tables={"confusion": confusion.reset_index()},
    )
