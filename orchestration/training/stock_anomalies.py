"""What the anomaly detector learns from, how it is judged on injected errors, and what is kept to explain it.

Belongs here: putting `ml` functions together for one home. Does not: the life cycle all share (lifecycle.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.home.settings import Settings
from orchestration.training.lifecycle import Headline, NothingToLearn, Trained, Training, not_below
from orchestration.warehouse.stock_frames import stock_series

INJECTED_DAYS, INJECTED_SHARE, FEWEST_DAYS = 120, 0.01, 28
STAND_IN = "the days are scored by the robust z"
AREAS = {"auc_roc": "area under the ROC curve", "auc_pr": "area under the precision-recall curve"}
METRICS = ["precision", "recall", "f1", "auc_roc", "auc_pr"]
PARAMETERS: Mapping[str, Any] = {"injected_days": INJECTED_DAYS, "injected_share": INJECTED_SHARE}


def train_stock_anomalies(settings: Settings, folder: Path, champion: Path | None, kept: Path | None = None) -> Trained:
    """Learn on the earlier days, judge on errors injected in later ones, and refit on everything unless one is kept."""
    import pandas as pd

    from ml import anomaly

    series = stock_series(settings)
    days = series["day"].nunique()
    if days < FEWEST_DAYS:
        raise NothingToLearn(f"{days} days of stock, {FEWEST_DAYS} are needed to learn what is ordinary")
    injected_days = min(INJECTED_DAYS, days // 3)
    split = series["day"].max() - pd.Timedelta(days=injected_days)
    injected, labels = anomaly.inject(series, seed=settings.seed + 1, share=INJECTED_SHARE)
    labels = labels[labels["day"] > split]
    judged = anomaly.train(series[series["day"] <= split], seed=settings.seed)
    competitor = anomaly.robust_z_baseline(injected)
    scores = {
        "": judged.score(injected, since=split + pd.Timedelta(days=1)),
        "robust_z_": competitor[competitor["day"] > split],
    }
    measured = anomaly.evaluate(scores, labels)
    totals = measured[measured["kind"] == "all"].to_dict("records")
    metrics = {
        f"{row['detector']}{metric}" + ("" if row["size"] == "all" else f"_{row['size']}"): float(row[metric])
        for row in totals
        for metric in METRICS
    }
    detector = anomaly.Detector.load(kept) if kept else anomaly.train(series, seed=settings.seed)
    detector.save(folder)
    few = series[(series[["sku", "location_id"]] == series[["sku", "location_id"]].iloc[0]).all(axis=1)].tail(60)
    intervals = anomaly.ratio_intervals(scores[""], scores["robust_z_"], labels, seed=settings.seed)
    verdict = not_below(metrics, "robust_z", AREAS, "injected errors", intervals)
    return Trained(
        verdict=verdict,
        metrics=metrics,
        headline=Headline.beside_hardest_competitor("AUC-PR, more is better", verdict, AREAS["auc_pr"]),
        model_card=(
            "Suspicious days in the stock record and in demand, scored from 0 to 1; each has a kind and a reason."
            f"\n\nJudged on {len(labels):,} record errors injected into the last {injected_days} days, which"
            " training had not seen, beside a robust z-score. Errors that are already in the record count as ordinary."
        ),
        input_example=few,
        output_example=detector.score(few).head(),
        figures={
            "top_anomalies": anomaly.top_anomalies_figure(injected, scores[""]),
            "precision_recall": anomaly.precision_recall_curves(
                {"ours": scores[""], "robust z": scores["robust_z_"]}, labels
            ),
        },
        tables={"injected_errors": measured},
        is_kept=kept is not None,
    )


STOCK_ANOMALIES = Training(
    model="stock_anomalies",
    code=(
        "ml/schema.py",
        "ml/anomaly",
        "orchestration/warehouse/stock_frames.py",
        "orchestration/training/stock_anomalies.py",
    ),
    judge=("ml/metrics",),
    libraries=("xgboost", "numpy"),
    parameters=PARAMETERS,
    fit=train_stock_anomalies,
    stand_in=STAND_IN,
)
