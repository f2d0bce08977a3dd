import numpy as np
import pandas as pd
import pytest

from ml.metrics.classification import (
    area_ratio_intervals,
    confusion_figure,
    confusion_frame,
    detection_metrics,
    expected_calibration_error,
    hit_ratio_interval,
    hits,
    precision_recall_figure,
    recognition_metrics,
)

TRUTH = np.array([True, True, True, False, False, False, False, False])
SCORE = np.array([0.9, 0.8, 0.3, 0.85, 0.2, 0.1, 0.1, 0.0])


def test_precision_recall_and_f1_count_what_is_at_or_above_the_threshold():
    measured = detection_metrics(TRUTH, SCORE, threshold=0.8)
    assert measured["reported"] == 3
    assert measured["precision"] == pytest.approx(2 / 3)
    assert measured["recall"] == pytest.approx(2 / 3)
    assert measured["f1"] == pytest.approx(2 / 3)


def test_auc_roc_is_the_share_of_pairs_in_the_right_order():
    pairs = [float(hit > miss) + 0.5 * float(hit == miss) for hit in SCORE[TRUTH] for miss in SCORE[~TRUTH]]
    assert detection_metrics(TRUTH, SCORE, 0.5)["auc_roc"] == pytest.approx(np.mean(pairs))


def test_auc_pr_is_the_mean_precision_at_each_hit():
    # Hits stand at ranks 1, 3 and 4 of the descending scores.
    assert detection_metrics(TRUTH, SCORE, 0.5)["auc_pr"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)


def test_what_is_undefined_is_nan_and_no_warning():
    nothing_true = detection_metrics(np.zeros(4, dtype=bool), np.arange(4.0), threshold=9.0)
    assert nothing_true["positives"] == 0
    assert all(np.isnan(nothing_true[name]) for name in ("precision", "recall", "f1", "auc_roc", "auc_pr"))
    assert np.isnan(detection_metrics(np.ones(4, dtype=bool), np.arange(4.0), threshold=0.0)["auc_roc"])


def test_scores_that_are_not_finite_are_an_error_naming_the_row():
    with pytest.raises(ValueError, match="nan in row 1"):
        detection_metrics(np.array([True, False]), np.array([0.5, np.nan]), 0.5)


def test_one_score_for_each_row_is_needed():
    with pytest.raises(ValueError, match="8 rows of truth"):
        detection_metrics(TRUTH, SCORE[:-1], 0.5)


CLASSES = ["apple", "kiwi", "lemon", "lime", "mango", "plum"]


def probabilities(*likeliest_first):
    """One row for each order of classes, falling probabilities."""
    table = np.zeros((len(likeliest_first), len(CLASSES)))
    for row, order in enumerate(likeliest_first):
        table[row, [CLASSES.index(name) for name in order]] = np.array([0.3, 0.25, 0.2, 0.12, 0.08, 0.05])
    return table


def test_accuracy_looks_at_the_likeliest_class_and_top5_at_five():
    order = ["lime", "kiwi", "apple", "mango", "plum", "lemon"]
    measured = recognition_metrics(["lime", "kiwi", "lemon"], probabilities(order, order, order), CLASSES)
    assert measured["accuracy"] == pytest.approx(1 / 3)
    assert measured["top5_accuracy"] == pytest.approx(2 / 3)


def test_log_loss_is_the_mean_of_minus_log_of_the_true_class():
    order = ["lime", "kiwi", "apple", "mango", "plum", "lemon"]
    measured = recognition_metrics(["lime", "plum"], probabilities(order, order), CLASSES)
    assert measured["log_loss"] == pytest.approx(-(np.log(0.3) + np.log(0.08)) / 2)


def test_with_equal_probabilities_five_of_six_classes_are_among_the_top_five():
    even = np.full((6, 6), 1 / 6)
    assert recognition_metrics(CLASSES, even, CLASSES)["top5_accuracy"] == pytest.approx(5 / 6)


def test_a_label_that_is_no_class_is_an_error():
    with pytest.raises(ValueError, match="'pear' in row 1"):
        recognition_metrics(["kiwi", "pear"], np.full((2, 6), 1 / 6), CLASSES)


def test_probabilities_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match=r"shape \(2, 5\), expected \(2, 6\)"):
        recognition_metrics(["kiwi", "kiwi"], np.full((2, 5), 0.2), CLASSES)


def test_calibration_error_is_the_gap_between_confidence_and_hit_rate():
    confidence = np.array([0.95] * 10 + [0.55] * 10)
    correct = np.array([True] * 9 + [False] + [True] * 3 + [False] * 7)
    assert expected_calibration_error(confidence, correct) == pytest.approx((0.05 + 0.25) / 2)


def test_calibration_error_of_nothing_is_nan():
    assert np.isnan(expected_calibration_error(np.array([]), np.array([])))


def test_confidence_above_one_is_an_error():
    with pytest.raises(ValueError, match="must lie in"):
        expected_calibration_error(np.array([1.2]), np.array([True]))


def test_confusion_has_true_classes_in_rows():
    frame = confusion_frame(["lime", "lime", "kiwi"], ["lime", "kiwi", "kiwi"], ["kiwi", "lime", "plum"])
    assert frame.loc["lime", "kiwi"] == 1
    assert frame.loc["kiwi", "lime"] == 0
    assert frame.to_numpy().sum() == 3
    assert list(frame.columns) == ["kiwi", "lime", "plum"]


def test_figures_are_drawn_without_a_screen(tmp_path):
    confusion = confusion_frame(CLASSES, CLASSES[::-1], CLASSES)
    confusion_figure(confusion).savefig(tmp_path / "confusion.png")
    precision_recall_figure(TRUTH, {"ours": SCORE, "guess": np.zeros(8)}).savefig(tmp_path / "curve.png")
    assert all((tmp_path / name).stat().st_size > 5_000 for name in ("confusion.png", "curve.png"))


def test_the_precision_recall_figure_names_each_detector_with_its_area():
    legend = precision_recall_figure(TRUTH, {"ours": SCORE}).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["ours (0.806)"]


def test_an_empty_class_leaves_a_row_of_zeros_in_the_confusion_figure():
    confusion = pd.DataFrame([[2, 0], [0, 0]], index=["a", "b"], columns=["a", "b"])
    assert len(confusion_figure(confusion).axes[0].texts) == 1


def rows_of(detectability, seed=0, series=60, days=50):
    generator = np.random.default_rng(seed)
    truth = generator.random(series * days) < 0.03
    return truth, generator.normal(truth * detectability), np.repeat(np.arange(series), days)


def test_the_better_detector_has_an_interval_of_ratios_above_one():
    truth, ours, series = rows_of(3.0)
    theirs = np.random.default_rng(1).normal(truth * 1.0)
    found = area_ratio_intervals(truth, ours, theirs, series)
    point = {
        name: detection_metrics(truth, ours, 0.0)[name] / detection_metrics(truth, theirs, 0.0)[name]
        for name in ("auc_roc", "auc_pr")
    }
    for name, (low, high) in found.items():
        assert 1.0 < low < point[name] < high


def test_a_detector_beside_itself_has_a_ratio_of_one():
    truth, ours, series = rows_of(2.0)
    assert area_ratio_intervals(truth, ours, ours, series) == {"auc_roc": (1.0, 1.0), "auc_pr": (1.0, 1.0)}


def test_ties_count_in_the_areas_as_they_do_in_the_measures():
    truth, score, series = rows_of(2.0)
    tied = np.round(score)
    flat = np.zeros(len(score))
    found = area_ratio_intervals(truth, tied, flat, series, draws=400)
    own, other = detection_metrics(truth, tied, 0.0), detection_metrics(truth, flat, 0.0)
    for name, (low, high) in found.items():
        assert low < own[name] / other[name] < high


def test_two_series_say_nothing_of_the_ratio():
    truth, ours, _ = rows_of(2.0)
    found = area_ratio_intervals(truth, ours, ours, np.arange(len(truth)) % 2)
    assert all(np.isnan(end) for ends in found.values() for end in ends)


def test_hits_are_the_accuracy_and_their_ratio_has_an_interval():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    labels, classes = ["a", "b", "c", "c"], ["a", "b", "c"]
    assert hits(labels, probabilities, classes).tolist() == [True, True, False, True]
    assert hits(labels, probabilities, classes, 3).all()
    ours, theirs = np.arange(200) % 10 < 8, np.arange(200) % 10 < 5
    low, high = hit_ratio_interval(ours, theirs)
    assert 1.0 < low < 1.6 < high
    assert np.isnan(hit_ratio_interval(ours, np.zeros(200, dtype=bool))).all()
