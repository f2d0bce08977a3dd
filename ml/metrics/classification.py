"""How well labels and scores agree with the truth: precision, recall, F1, AUC, accuracy, calibration, confusion.

Measures and figures of classifiers and detectors belong here; errors of demand forecasts do not (`ml.metrics`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure


def detection_metrics(is_positive: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, float]:
    """Score a detector that says how suspicious each row is.

    Args:
        is_positive: truth per row, bool [rows].
        score: suspicion per row, higher is more suspicious, [rows].
        threshold: a row whose score is at least this is reported.

    Returns:
        rows, positives, reported (counts); precision, recall, f1 at the threshold; auc_roc and auc_pr (average
        precision, the step-wise area of Davis and Goadrich 2006) over all thresholds. What is undefined is NaN:
        recall and both areas without a positive, auc_roc without a negative, precision when nothing is reported.

    Raises:
        ValueError: when lengths differ or a score is not finite.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth = np.asarray(is_positive, dtype=bool)
    suspicion = _finite_scores(truth, score)
    reported = suspicion >= threshold
    hits = int((truth & reported).sum())
    positives = int(truth.sum())
    precision = hits / int(reported.sum()) if reported.any() else float("nan")
    recall = hits / positives if positives else float("nan")
    f1 = 2 * hits / (positives + int(reported.sum())) if positives else float("nan")
    two_sided = 0 < positives < len(truth)
    return {
        "rows": float(len(truth)),
        "positives": float(positives),
        "reported": float(reported.sum()),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "auc_roc": float(roc_auc_score(truth, suspicion)) if two_sided else float("nan"),
        "auc_pr": float(average_precision_score(truth, suspicion)) if positives else float("nan"),
    }


def area_ratio_intervals(
    is_positive: np.ndarray,
    ours: np.ndarray,
    theirs: np.ndarray,
    cluster: np.ndarray,
    *,
    draws: int = 100,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return the 90 % interval of the ratio of two detectors' areas, drawing whole clusters of rows again.

    Args:
        is_positive: truth per row, bool [rows].
        ours: suspicion per row, [rows].
        theirs: that of the other detector, on the same rows, [rows].
        cluster: number of the series that each row belongs to, [rows].
        draws: bootstrap samples; those without a positive or a negative row are left out.
        seed: of the bootstrap.

    Returns:
        auc_roc and auc_pr: low and high end of ours over theirs; NaN for fewer than three clusters or no such sample.
    """
    truth = np.asarray(is_positive, dtype=bool)
    number, code = np.unique(cluster, return_inverse=True)
    generator = np.random.default_rng(seed)
    sorted_rows = [np.argsort(-_finite_scores(truth, score), kind="stable") for score in (ours, theirs)]
    ends = [
        np.flatnonzero(np.append(np.diff(score[rows]) != 0, True))
        for score, rows in zip((ours, theirs), sorted_rows, strict=True)
    ]
    ratios: list[np.ndarray] = []
    for _ in range(draws if len(number) >= 3 else 0):
        weight = np.bincount(generator.integers(0, len(number), len(number)), minlength=len(number))[code]
        if not weight[truth].any() or not weight[~truth].any():
            continue
        own, other = (_areas(truth[rows], weight[rows], last) for rows, last in zip(sorted_rows, ends, strict=True))
        ratios.append(own / np.maximum(other, 1e-12))
    if not ratios:
        return dict.fromkeys(("auc_roc", "auc_pr"), (float("nan"), float("nan")))
    low, high = np.quantile(np.array(ratios), [0.05, 0.95], axis=0)
    return {name: (float(low[place]), float(high[place])) for place, name in enumerate(("auc_roc", "auc_pr"))}


def _areas(truth: np.ndarray, weight: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return auc_roc and auc_pr of rows from the most suspicious on; ends = the last row of each score."""
    hits, misses = (np.cumsum(weight * kind)[ends].astype(np.float64) for kind in (truth, ~truth))
    more_hits, more_misses = np.diff(hits, prepend=0.0), np.diff(misses, prepend=0.0)
    roc = (more_misses * (hits - more_hits / 2)).sum() / (hits[-1] * misses[-1])
    precision = (more_hits * hits / np.maximum(hits + misses, 1e-12)).sum() / hits[-1]
    return np.array([roc, precision])


def hit_ratio_interval(ours: np.ndarray, theirs: np.ndarray, *, draws: int = 400, seed: int = 0) -> tuple[float, float]:
    """Return the 90 % interval of the ratio of two hit rates, drawing rows again in pairs.

    Args:
        ours: whether each row was a hit, bool [rows].
        theirs: that of the other model, on the same rows.
        draws: bootstrap samples; those in which the other model hits nothing are left out.
        seed: of the bootstrap.

    Returns:
        Low and high end; NaN where no sample is left.
    """
    chosen = np.random.default_rng(seed).integers(0, len(ours), (draws, len(ours)))
    top, bottom = (np.asarray(hits, dtype=np.float64)[chosen].mean(axis=1) for hits in (ours, theirs))
    ratios = top[bottom > 0] / bottom[bottom > 0]
    if not len(ratios):
        return float("nan"), float("nan")
    low, high = np.quantile(ratios, [0.05, 0.95])
    return float(low), float(high)


def hits(labels: Sequence[str], probabilities: np.ndarray, classes: Sequence[str], most: int = 1) -> np.ndarray:
    """Return whether the true class is among the likeliest ones of each row.

    Args:
        labels: as `recognition_metrics`.
        probabilities: likewise.
        classes: likewise.
        most: how many of the likeliest classes count.

    Returns:
        bool [rows].
    """
    # A class that is as likely and named earlier goes first.
    actual, table = _class_positions(labels, classes), np.asarray(probabilities, dtype=np.float64)
    own = table[np.arange(len(actual)), actual][:, None]
    rank = (table > own).sum(axis=1) + ((table == own) & (np.arange(len(classes)) < actual[:, None])).sum(axis=1)
    return np.asarray(rank < most)


def recognition_metrics(labels: Sequence[str], probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Score class probabilities against true labels.

    Args:
        labels: true class per row, [rows]; each one of `classes`.
        probabilities: [rows, classes], rows summing to 1.
        classes: name of each column of `probabilities`.

    Returns:
        rows; accuracy; top5_accuracy (the true class is among the five likeliest); macro_precision, macro_recall,
        macro_f1 (unweighted means over the classes present); log_loss in nats; expected_calibration_error.

    Raises:
        ValueError: when shapes disagree or a label is not one of the classes.
    """
    from sklearn.metrics import log_loss, precision_recall_fscore_support

    actual = _class_positions(labels, classes)
    table = np.asarray(probabilities, dtype=np.float64)
    if table.shape != (len(actual), len(classes)):
        raise ValueError(
            f"probabilities have shape {table.shape}, expected {(len(actual), len(classes))}: one row per label, "
            "one column per class"
        )
    predicted = table.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        actual, predicted, labels=np.unique(actual), average="macro", zero_division=0.0
    )
    return {
        "rows": float(len(actual)),
        "accuracy": float((predicted == actual).mean()),
        "top5_accuracy": float(hits(labels, table, classes, 5).mean()),
        "macro_precision": float(precision),
        "macro_recall": float(recall),
        "macro_f1": float(f1),
        "log_loss": float(log_loss(actual, table / table.sum(axis=1, keepdims=True), labels=np.arange(len(classes)))),
        "expected_calibration_error": expected_calibration_error(table.max(axis=1), predicted == actual),
    }


def expected_calibration_error(confidence: np.ndarray, is_correct: np.ndarray, bins: int = 15) -> float:
    """Return the mean gap between stated confidence and hit rate, weighted by rows.

    Args:
        confidence: probability given to the predicted class, [rows], in [0, 1].
        is_correct: whether that class was right, bool [rows].
        bins: number of equally wide confidence bins; 15 as in Guo et al. 2017, "On Calibration of Modern Neural
            Networks", equation 3.

    Returns:
        A value in [0, 1]; 0 is perfect. NaN without rows.

    Raises:
        ValueError: when a confidence lies outside [0, 1] or is not a number.
    """
    stated = np.asarray(confidence, dtype=np.float64)
    correct = np.asarray(is_correct, dtype=np.float64)
    if not len(stated):
        return float("nan")
    if not ((stated >= 0) & (stated <= 1 + 1e-6)).all():
        raise ValueError(f"confidence must lie in [0, 1], found {stated.min()} to {stated.max()}: pass probabilities")
    place = np.clip(np.ceil(stated * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=correct - stated, minlength=bins)
    return float(np.abs(gap).sum() / len(stated))


def confusion_frame(actual: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
    """Count rows by true and predicted class.

    Args:
        actual: true class per row.
        predicted: class given per row.
        classes: order of rows and columns.

    Returns:
        Square frame of counts; index named actual, columns named predicted.

    Raises:
        ValueError: when a value is not one of the classes or lengths differ.
    """
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(
        _class_positions(actual, classes), _class_positions(predicted, classes), labels=np.arange(len(classes))
    )
    return pd.DataFrame(
        counts, index=pd.Index(list(classes), name="actual"), columns=pd.Index(list(classes), name="predicted")
    )


def confusion_figure(confusion: pd.DataFrame, title: str = "Confusion by class") -> Figure:
    """Draw a confusion frame: rows are true classes, darkness is the share of the row.

    Args:
        confusion: as `confusion_frame` returns it.
        title: text above the figure.

    Returns:
        A matplotlib figure that belongs to no global state.
    """
    from matplotlib.figure import Figure

    counts = confusion.to_numpy(dtype=np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    side = max(4.0, 0.32 * len(confusion) + 2.5)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(confusion.columns)), [str(name) for name in confusion.columns], rotation=90, fontsize=7)
    axes.set_yticks(range(len(confusion.index)), [str(name) for name in confusion.index], fontsize=7)
    for row, column in np.argwhere(counts > 0):
        axes.text(
            column,
            row,
            f"{counts[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=6,
            color="white" if share[row, column] > 0.5 else "black",
        )
    axes.set_xlabel("recognised as")
    axes.set_ylabel("true class")
    axes.set_title(title)
    return figure


def precision_recall_figure(
    is_positive: np.ndarray, scores: dict[str, np.ndarray], title: str = "Precision and recall"
) -> Figure:
    """Draw the precision-recall curve of several detectors on the same rows.

    Args:
        is_positive: truth per row, bool [rows].
        scores: name of the detector to its score per row.
        title: text above the figure.

    Returns:
        A matplotlib figure; the legend gives the average precision, the dotted line is the share of positives
        (the precision of guessing).
    """
    from matplotlib.figure import Figure
    from sklearn.metrics import average_precision_score, precision_recall_curve

    truth = np.asarray(is_positive, dtype=bool)
    figure = Figure(figsize=(6.0, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, score in scores.items():
        precision, recall, _ = precision_recall_curve(truth, _finite_scores(truth, score))
        axes.step(recall, precision, where="post", label=f"{name} ({average_precision_score(truth, score):.3f})")
    axes.axhline(truth.mean(), linestyle=":", color="grey", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall: share of the true ones found", title=title)
    axes.set_ylabel("precision: share of the reported that are true")
    axes.legend(fontsize=8, title="average precision", title_fontsize=8)
    return figure


def _finite_scores(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return the scores as float64 after checking length and finiteness."""
    suspicion = np.asarray(score, dtype=np.float64)
    if suspicion.shape != truth.shape:
        raise ValueError(f"{len(truth)} rows of truth but {suspicion.shape} scores: pass one score per row")
    broken = np.flatnonzero(~np.isfinite(suspicion))
    if len(broken):
        raise ValueError(f"score {suspicion[broken[0]]} in row {broken[0]} is not finite: score every row")
    return suspicion


def _class_positions(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return the column of each label; a label that has none is an error naming it and its row."""
    positions = pd.Index(list(classes)).get_indexer(pd.Index(list(labels)))
    unknown = np.flatnonzero(positions < 0)
    if len(unknown):
        raise ValueError(f"label {list(labels)[unknown[0]]!r} in row {unknown[0]} is not one of {list(classes)}")
    return np.asarray(positions)
