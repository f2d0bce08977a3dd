"""How detectors of stock anomalies compare on known errors: measures, their doubt, a picture of the worst days."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.anomaly.injection import SIZES
from ml.anomaly.series import KEYS, day_number, day_numbers, key_index
from ml.metrics.classification import area_ratio_intervals, detection_metrics, precision_recall_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def evaluate(
    scores: dict[str, pd.DataFrame], labels: pd.DataFrame, *, report_share: float | None = None
) -> pd.DataFrame:
    """Measure detectors on known errors, by kind and size.

    Every detector reports the same number of rows, its highest scores, so that precision and recall compare. The rows
    of one kind and size are held against all rows without any error; rows of other errors stand aside, and so do the
    days from an error to the count that mends it (`corrected_day`; NaT = none), on which the record is false in truth.

    Args:
        scores: name of the detector to a frame with sku, location_id, day and anomaly_score (record_error_score is used
            where there is one); the same rows in every frame.
        labels: sku, location_id, day, kind, size; optional corrected_day.
        report_share: share of the rows each detector reports; by default as many rows as there are labelled ones.

    Returns:
        One row per detector, kind and size, with "all" for totals: detector, kind, size, positives, precision, recall,
        f1, auc_roc, auc_pr, and found_by_count (share of the errors with a report between their day and the count that
        mends them, of those that have one; NaN without).

    Raises:
        ValueError: when a labelled row is in no frame.
    """
    rows = []
    for name, frame in scores.items():
        score = _scores(frame)
        place, series_rows, days = _located(frame, labels, name)
        reported = round(report_share * len(frame)) if report_share is not None else len(np.unique(place))
        threshold = float(np.partition(score, -max(1, reported))[-max(1, reported)])
        clean, found = _clean_rows(labels, place, series_rows, days, score >= threshold)
        for kind in ["all", *sorted(labels["kind"].unique())]:
            for size in ["all", *SIZES]:
                own_labels = np.ones(len(labels), dtype=bool)
                own_labels &= (labels["kind"] == kind).to_numpy() if kind != "all" else True
                own_labels &= (labels["size"] == size).to_numpy() if size != "all" else True
                if not own_labels.any():
                    continue
                positive = np.zeros(len(frame), dtype=bool)
                positive[place[own_labels]] = True
                judged = clean | positive
                measures = detection_metrics(positive[judged], score[judged], threshold)
                mended = found[own_labels][np.isfinite(found[own_labels])]
                by_count = float(mended.mean()) if len(mended) else float("nan")
                rows.append({"detector": name, "kind": kind, "size": size, **measures, "found_by_count": by_count})
    table = pd.DataFrame(rows)
    table["positives"] = table["positives"].astype(int)
    return table.drop(columns=["rows", "reported"])


def ratio_intervals(
    ours: pd.DataFrame, theirs: pd.DataFrame, labels: pd.DataFrame, *, draws: int = 100, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return how sure it is which of two detectors is better: series are drawn again, with all their days.

    Args:
        ours: as a frame of `evaluate`.
        theirs: the same rows, scored by the other one.
        labels: as `evaluate`.
        draws: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        auc_roc and auc_pr: 90 % interval of ours over theirs, over all errors; NaN where it cannot be told.
    """
    positive, judged = _judged_rows(ours, labels)
    series = ours.groupby(["sku", "location_id"], sort=False).ngroup().to_numpy()
    return area_ratio_intervals(
        positive[judged], _scores(ours)[judged], _scores(theirs)[judged], series[judged], draws=draws, seed=seed
    )


def precision_recall_curves(scores: dict[str, pd.DataFrame], labels: pd.DataFrame) -> Figure:
    """Draw precision over recall of each detector, over all errors.

    Args:
        scores: as of `evaluate`, by the name that the legend shows.
        labels: as of `evaluate`.
    """
    positive, judged = _judged_rows(next(iter(scores.values())), labels)
    compared = {name: _scores(frame)[judged] for name, frame in scores.items()}
    return precision_recall_figure(positive[judged], compared, "Injected errors: precision and recall")


def _judged_rows(frame: pd.DataFrame, labels: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows have a labelled error, and which rows count: those and all without any error."""
    place, series_rows, days = _located(frame, labels, "ours")
    clean, _ = _clean_rows(labels, place, series_rows, days, np.zeros(len(frame), dtype=bool))
    positive = np.zeros(len(frame), dtype=bool)
    positive[place] = True
    return positive, clean | positive


def _scores(frame: pd.DataFrame) -> np.ndarray:
    column = "record_error_score" if "record_error_score" in frame.columns else "anomaly_score"
    return frame[column].to_numpy(dtype=np.float64)


def _clean_rows(
    labels: pd.DataFrame, place: np.ndarray, series_rows: list[np.ndarray], days: np.ndarray, reported: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows are without any error, and whether each error was reported by the count that mends it."""
    clean = np.ones(len(reported), dtype=bool)
    clean[place] = False
    found = np.full(len(labels), np.nan)
    corrected = labels["corrected_day"] if "corrected_day" in labels.columns else labels["day"]
    for entry, mended_on in enumerate(corrected):
        own = series_rows[entry]
        false = days[own] >= days[place[entry]]
        if pd.notna(mended_on):
            false &= days[own] <= day_number(mended_on)
            found[entry] = float(reported[own[false]].any())
        clean[own[false]] = False
    return clean, found


def top_anomalies_figure(series: pd.DataFrame, scored: pd.DataFrame, count: int = 6, days: int = 60) -> Figure:
    """Draw sales and closing stock around the most suspicious days.

    Args:
        series: as `Detector.score` takes it.
        scored: what `Detector.score` returned for it.
        count: panels, one per series, most suspicious first.
        days: days drawn on either side.

    Returns:
        A matplotlib figure that belongs to no global state.
    """
    from matplotlib.figure import Figure

    told = scored[scored["kind"] != "none"].sort_values("anomaly_score", ascending=False, kind="stable")
    told = told.drop_duplicates(["sku", "location_id"]).head(count)
    figure = Figure(figsize=(11.0, 2.4 * max(1, (len(told) + 1) // 2)), layout="constrained")
    if told.empty:
        figure.suptitle("No day is reported")
        return figure
    panels = figure.subplots((len(told) + 1) // 2, 2, squeeze=False).ravel()
    for axes in panels[len(told) :]:
        axes.set_visible(False)
    for axes, row in zip(panels, told.itertuples(), strict=False):
        own = series[(series["sku"] == row.sku) & (series["location_id"] == row.location_id)]
        own = own.assign(day=pd.to_datetime(own["day"])).sort_values("day")
        moment = pd.Timestamp(str(row.day))
        own = own[(own["day"] - moment).abs() <= pd.Timedelta(days=days)]
        axes.step(own["day"], own["closing_units"].astype(float), where="post", color="tab:blue", label="closing stock")
        axes.bar(own["day"], own["sales_units"].astype(float), color="tab:orange", width=1.0, label="sales")
        axes.axvline(moment, color="tab:red", linewidth=1, linestyle="--")
        axes.set_title(
            f"{row.sku} at {row.location_id}, {moment:%Y-%m-%d}: {row.kind} ({row.anomaly_score:.2f})", fontsize=8
        )
        axes.set_ylabel("units", fontsize=7)
        axes.tick_params(labelsize=6)
    panels[0].legend(fontsize=6)
    return figure


def _located(
    frame: pd.DataFrame, labels: pd.DataFrame, detector: str
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Return the row of each label, the rows of its series, and the day of each row of the frame."""
    days = day_numbers(frame["day"])
    candidates = np.flatnonzero(frame["sku"].isin(labels["sku"]).to_numpy())
    few = frame.iloc[candidates]
    place = key_index(few).get_indexer(key_index(labels))
    if (place < 0).any():
        missing = labels.loc[place < 0, KEYS].iloc[0].tolist()
        raise ValueError(f"the error labelled at {missing} is not among the rows scored by {detector}: score them all")
    groups = few.groupby(["sku", "location_id"], sort=False).indices
    own = [candidates[groups[key]] for key in labels[["sku", "location_id"]].itertuples(index=False, name=None)]
    return candidates[place], own, days
