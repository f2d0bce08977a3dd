import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import anomaly
from ml.anomaly.features import FEATURES, facts_in_chunks
from ml.anomaly.series import SeriesTable
from ml.anomaly.slips import exchanged_digits, is_slip

FIRST_DAY = pd.Timestamp("2024-01-01")


def stock_series(items=60, days=160, seed=0):
    """Series of shops that reorder at a minimum, closed on Saturdays, counted every 40 days; the record is true."""
    rng = np.random.default_rng(seed)
    usual = np.exp(rng.normal(1.2, 0.8, items))
    selling = rng.uniform(0.3, 0.95, items)
    on_hand = np.ceil(usual * selling * 40)
    due = np.zeros((days + 20, items))
    columns = {name: np.zeros((days, items)) for name in ("opening", "receipt", "sales", "other", "closing")}
    counted = np.full((days, items), np.nan)
    for day in range(days):
        is_open = day % 7 != 5
        wanted = np.where(rng.random(items) < selling * is_open, np.ceil(rng.lognormal(np.log(usual), 0.6)), 0)
        columns["opening"][day], columns["receipt"][day] = on_hand, due[day]
        columns["sales"][day] = np.minimum(wanted, on_hand + due[day])
        on_hand = on_hand + due[day] - columns["sales"][day]
        counted[day] = np.where((day + np.arange(items)) % 40 == 39, 0.0, np.nan)
        columns["closing"][day] = on_hand
        position = on_hand + due[day + 1 :].sum(axis=0)
        lot = np.ceil(usual * selling * 25 / 6) * 6
        due[day + 6] += np.where(position < usual * selling * 15, lot, 0)
    day, item = np.indices((days, items))
    return pd.DataFrame(
        {
            "sku": [f"S{number // 2:03d}" for number in item.T.ravel()],
            "location_id": np.where(item.T.ravel() % 2 == 0, "north", "south"),
            "day": FIRST_DAY + pd.to_timedelta(day.T.ravel(), "D"),
            **{f"{name}_units": values.T.ravel() for name, values in columns.items()},
            "counted_change_units": counted.T.ravel(),
            "is_open": day.T.ravel() % 7 != 5,
        }
    )


SERIES = stock_series()


@pytest.fixture(scope="module")
def detector():
    return anomaly.train(SERIES, seed=1)


def one_series(frame, place=0):
    """The rows of one series, under a fresh index."""
    own = [rows for _, rows in frame.groupby(["sku", "location_id"])][place]
    return own.reset_index(drop=True)


def with_stock_redone(frame, opening):
    """The series with opening and closing stock worked out again from its movements."""
    change = frame["receipt_units"] - frame["sales_units"] + frame["other_units"]
    frame["closing_units"] = opening + change.cumsum()
    frame["opening_units"] = frame["closing_units"] - change
    return frame


def verdict(detector, frame, day):
    scored = detector.score(frame)
    return scored[scored["day"] == day].iloc[0]


def test_every_row_is_scored_in_the_order_and_under_the_index_it_came(detector):
    shuffled = SERIES.sample(frac=1.0, random_state=3)
    scored = detector.score(shuffled)
    assert scored.index.equals(shuffled.index)
    assert scored[["sku", "location_id", "day"]].equals(shuffled[["sku", "location_id", "day"]])


def test_the_order_of_rows_changes_no_score(detector):
    shuffled = SERIES.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(detector.score(shuffled).sort_index(), detector.score(SERIES))


def test_scores_lie_between_0_and_1_and_only_reported_rows_have_kind_and_reason(detector):
    injected, _ = anomaly.inject(SERIES, seed=5, share=0.02)
    scored = detector.score(injected)
    assert scored["anomaly_score"].between(0, 1).all()
    reported = scored["anomaly_score"] >= detector.report_from
    assert 0 < reported.sum() < 0.05 * len(scored)
    assert ((scored["kind"] != "none") == reported).all()
    assert ((scored["reason"] != "") == reported).all()
    assert scored["reason"][reported].str.fullmatch(r"[A-Z].*\d.*\.").all()
    assert set(scored["kind"]) <= set(anomaly.KINDS)


def test_record_errors_never_score_above_the_whole(detector):
    scored = detector.score(SERIES)
    assert (scored["record_error_score"] <= scored["anomaly_score"]).all()


def test_scoring_since_a_day_gives_the_tail_of_scoring_everything(detector):
    since = FIRST_DAY + pd.Timedelta(days=120)
    everything = detector.score(SERIES)
    pd.testing.assert_frame_equal(detector.score(SERIES, since=since), everything[everything["day"] >= since])


def test_what_comes_later_changes_no_score(detector):
    cut = FIRST_DAY + pd.Timedelta(days=100)
    corrupted = SERIES.copy()
    later = corrupted["day"] >= cut
    for name in ("sales_units", "receipt_units", "other_units", "closing_units"):
        corrupted.loc[later, name] *= 37
    corrupted.loc[later, "counted_change_units"] = 99.0
    before = detector.score(SERIES[~later])
    pd.testing.assert_frame_equal(detector.score(corrupted)[~later], before)


def test_the_same_seed_trains_the_same_detector(detector):
    again = anomaly.train(SERIES, seed=1)
    pd.testing.assert_frame_equal(again.score(SERIES), detector.score(SERIES))


def test_a_saved_detector_scores_as_before_and_needs_no_pickle(detector, tmp_path):
    detector.save(tmp_path / "model")
    assert {path.suffix for path in (tmp_path / "model").iterdir()} == {".ubj", ".npz", ".json"}
    loaded = anomaly.Detector.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.score(SERIES), detector.score(SERIES))


def test_a_detector_of_other_features_is_refused(detector, tmp_path):
    detector.save(tmp_path)
    about = json.loads((tmp_path / "detector.json").read_text())
    about["features"] = about["features"][1:]
    (tmp_path / "detector.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="train it again"):
        anomaly.Detector.load(tmp_path)


def test_a_detector_without_its_model_file_is_refused(detector, tmp_path):
    detector.save(tmp_path)
    (tmp_path / "record_errors.ubj").unlink()
    with pytest.raises(FileNotFoundError, match=r"record_errors\.ubj"):
        anomaly.Detector.load(tmp_path)


def test_decimals_score_as_doubles_do(detector):
    few = one_series(SERIES)
    exact = few.assign(sales_units=[Decimal(str(units)) for units in few["sales_units"]])
    pd.testing.assert_frame_equal(detector.score(exact), detector.score(few))


def test_movement_columns_are_used_where_they_are_given(detector):
    few = one_series(SERIES)
    more = few.assign(max_line_units=few["sales_units"], repeated_line_units=0.0, repeated_gap_minutes=np.nan)
    taught = anomaly.train(SERIES.assign(repeated_line_units=0.0, repeated_gap_minutes=np.nan), seed=1)
    selling = int(np.flatnonzero(more["sales_units"] > 3)[20])
    again = more.copy()
    again.loc[selling, ["repeated_line_units", "repeated_gap_minutes"]] = [more["sales_units"][selling] / 2, 0.0]
    assert taught.score(again)["record_error_score"][selling] > taught.score(more)["record_error_score"][selling] + 0.2


def test_a_sale_with_a_zero_too_many_is_reported_with_its_numbers(detector):
    few = one_series(SERIES)
    row = int(few.index[(few["sales_units"] > 0) & (few.index > 100)][0])
    few.loc[row, "sales_units"] = 40 * few["sales_units"].max()
    few = with_stock_redone(few, few["opening_units"][0])
    found = verdict(detector, few, few["day"][row])
    assert found["kind"] in {"record_error_sale", "negative_stock", "demand_spike"}
    assert f"{few['sales_units'][row]:,.0f}" in found["reason"] or "fell from" in found["reason"]


def test_stock_that_falls_below_zero_is_reported_on_the_day_it_falls(detector):
    few = one_series(SERIES)
    few = with_stock_redone(few, few["opening_units"][0])
    row = int(few.index[(few["sales_units"] > 0) & (few.index > 100)][0])
    few.loc[row, "other_units"] = -few["closing_units"][row] - 5
    few = with_stock_redone(few, few["opening_units"][0])
    found = verdict(detector, few, few["day"][row])
    assert found["record_error_score"] >= detector.report_from
    assert found["kind"] in {"negative_stock", "record_error_adjustment"}


def test_a_count_that_corrects_much_is_reported_with_both_numbers(detector):
    few = one_series(SERIES)
    row = int(few.index[few["counted_change_units"].notna() & (few.index > 60)][0])
    lost = np.ceil(0.7 * few["closing_units"][row])
    few.loc[row, "counted_change_units"] = few.loc[row, "other_units"] = -lost
    found = verdict(detector, with_stock_redone(few, few["opening_units"][0]), few["day"][row])
    assert found["kind"] in {"count_correction", "record_error_count"}
    assert f"{lost:,.0f} fewer" in found["reason"]


def test_a_correction_that_equals_an_earlier_sale_says_so(detector):
    few = one_series(SERIES, 3)
    row = int(few.index[few["counted_change_units"].notna() & (few.index > 60)][0])
    sold = int(few["sales_units"][row - 40 : row].idxmax())
    few.loc[row, "counted_change_units"] = few.loc[row, "other_units"] = few["sales_units"][sold]
    found = verdict(detector, with_stock_redone(few, few["opening_units"][0]), few["day"][row])
    assert "exactly a movement on record" in found["reason"] or "mis-keyed" in found["reason"]


def test_the_count_that_opens_a_series_corrects_nothing(detector):
    few = one_series(SERIES)
    opening = few["opening_units"][0]
    few.loc[0, ["opening_units", "other_units", "counted_change_units"]] = [0.0, opening, opening]
    assert detector.score(few)["kind"][0] == "none"


def test_silence_with_stock_on_record_is_reported_as_phantom_stock(detector):
    few = one_series(SERIES, 1)
    silent = few.index > 100
    few.loc[silent, ["sales_units", "receipt_units", "other_units"]] = 0.0
    few.loc[100, "other_units"] = 50.0
    scored = detector.score(with_stock_redone(few, few["opening_units"][0]))
    reported = scored[silent & (scored["kind"] == "phantom_stock").to_numpy()]
    assert 1 <= len(reported) < 30
    assert reported["reason"].str.contains("the stock may not be there").all()


def test_silence_of_an_empty_shelf_is_no_phantom_stock(detector):
    few = one_series(SERIES, 1)
    silent = few.index > 100
    few.loc[silent, ["sales_units", "receipt_units", "other_units"]] = 0.0
    few.loc[100, "other_units"] = -few["closing_units"][100]
    scored = detector.score(with_stock_redone(few, few["opening_units"][0]))
    assert not (scored["kind"][silent] == "phantom_stock").any()


def test_a_day_on_which_the_whole_location_rests_is_no_silence(detector):
    resting = SERIES.copy()
    resting.loc[resting["day"] > FIRST_DAY + pd.Timedelta(days=140), ["sales_units", "receipt_units"]] = 0.0
    scored = detector.score(resting)
    reported = (scored["kind"] == "phantom_stock") & (scored["day"] > FIRST_DAY + pd.Timedelta(days=140))
    alone = one_series(SERIES, 1)
    alone.loc[alone.index > 140, ["sales_units", "receipt_units"]] = 0.0
    others = SERIES[(SERIES["sku"] != alone["sku"][0]) | (SERIES["location_id"] != alone["location_id"][0])]
    by_itself = detector.score(pd.concat([alone, others], ignore_index=True))
    own = (by_itself["kind"] == "phantom_stock") & (by_itself.index > 140) & (by_itself.index < len(alone))
    assert own.sum() > reported.sum() / 60


def test_demand_far_above_its_past_is_a_spike(detector):
    few = one_series(SERIES, 2)
    row = int(few.index[(few["sales_units"] > 0) & (few.index > 110)][0])
    few.loc[row, "sales_units"] = 6 * few["sales_units"].max()
    few.loc[row - 1, "receipt_units"] += 6 * few["sales_units"].max()
    found = verdict(detector, with_stock_redone(few, few["opening_units"][0]), few["day"][row])
    assert found["kind"] in {"demand_spike", "record_error_sale"}
    assert found["anomaly_score"] >= 0.8


def test_demand_that_falls_away_is_a_drop(detector):
    few = stock_series(items=1, days=160, seed=8)
    few["sales_units"] = np.where(few["is_open"], 8.0 + few.index % 5, 0.0)
    few.loc[few.index > 120, "sales_units"] = np.where(few["is_open"][few.index > 120], 1.0, 0.0)
    few["receipt_units"], few["other_units"], few["counted_change_units"] = 0.0, 0.0, np.nan
    scored = detector.score(with_stock_redone(few, 5_000.0))
    assert (scored["kind"][few.index > 120] == "demand_drop").any()


def test_injected_errors_are_found_better_than_by_robust_z(detector):
    injected, labels = anomaly.inject(stock_series(seed=9), seed=5, share=0.01)
    measured = anomaly.evaluate(
        {"ours": detector.score(injected), "robust z": anomaly.robust_z_baseline(injected)}, labels
    ).set_index(["detector", "kind", "size"])
    for measure in ("auc_roc", "auc_pr", "f1", "found_by_count"):
        assert measured.loc[("ours", "all", "all"), measure] > measured.loc[("robust z", "all", "all"), measure]
    assert measured.loc[("ours", "all", "large"), "recall"] > measured.loc[("ours", "all", "small"), "recall"]


def test_robust_z_is_the_distance_from_the_median_in_scaled_mads():
    units = [3.0, 7.0, 1.0, 31.0, 15.0]
    few = one_series(SERIES).head(5).assign(sales_units=units, receipt_units=0.0, other_units=0.0)
    logs = np.log1p(units)
    mad = np.median(np.abs(logs - np.median(logs)))
    expected = np.abs(logs - np.median(logs)) / (1.4826 * mad)
    np.testing.assert_allclose(anomaly.robust_z_baseline(few)["anomaly_score"], expected)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.001, 0.3))
def test_injection_keeps_the_books_balanced(seed, share):
    injected, _ = anomaly.inject(SERIES, seed=seed, share=share)
    closing = injected["opening_units"] + injected["receipt_units"] - injected["sales_units"] + injected["other_units"]
    np.testing.assert_allclose(closing, injected["closing_units"], atol=1e-6)
    same = injected["sku"].eq(injected["sku"].shift()) & injected["location_id"].eq(injected["location_id"].shift())
    np.testing.assert_allclose(injected["opening_units"][same], injected["closing_units"].shift()[same], atol=1e-6)
    assert (injected["receipt_units"] >= 0).all()
    assert (injected["sales_units"] >= 0).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_injected_error_shows_in_the_stock_until_the_count_that_mends_it(seed):
    injected, labels = anomaly.inject(SERIES, seed=seed, share=0.001)
    change = (injected["closing_units"] - SERIES["closing_units"]).to_numpy()
    key = pd.MultiIndex.from_frame(SERIES[["sku", "location_id", "day"]])
    alone = labels.groupby(["sku", "location_id"])["kind"].transform("size") == 1
    for label in labels[alone].itertuples():
        first = key.get_loc((label.sku, label.location_id, label.day))
        if label.corrected_day == label.day:
            assert change[first] == 0
            continue
        assert change[first] == pytest.approx(label.error_units)
        if pd.notna(label.corrected_day):
            mended = key.get_loc((label.sku, label.location_id, label.corrected_day))
            assert (np.abs(change[first:mended] - label.error_units) < 1e-9).all()
            assert change[mended] == 0


def test_injection_leaves_the_series_given_alone_and_repeats_under_a_seed():
    before = SERIES.copy()
    first, labels = anomaly.inject(SERIES, seed=4, share=0.01)
    pd.testing.assert_frame_equal(SERIES, before)
    again, same_labels = anomaly.inject(SERIES, seed=4, share=0.01)
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_frame_equal(labels, same_labels)


def test_sizes_of_injected_errors_are_in_days_of_mean_demand():
    _, labels = anomaly.inject(SERIES, seed=4, share=0.05)
    mean = SERIES.groupby(["sku", "location_id"])["sales_units"].mean()
    days = (
        labels["error_units"].abs() / mean.loc[list(zip(labels["sku"], labels["location_id"], strict=True))].to_numpy()
    )
    np.testing.assert_allclose(labels["error_days"], days)
    grade = np.select([days <= 3, days <= 10], ["small", "medium"], "large")
    assert (labels["size"] == grade).all()
    assert set(labels["size"]) == {"small", "medium", "large"}


def test_a_swap_takes_from_one_sku_what_it_books_on_another():
    _, labels = anomaly.inject(SERIES, seed=4, share=0.05)
    for name in ("sale", "receipt"):
        missing, foreign = (labels[labels["kind"] == f"{side}_{name}"] for side in ("missing", "foreign"))
        assert len(missing) == len(foreign) > 0
        assert (missing["error_units"].to_numpy() == -foreign["error_units"].to_numpy()).all()
        assert (missing["location_id"].to_numpy() == foreign["location_id"].to_numpy()).all()


def test_days_of_a_false_record_are_no_false_alarms():
    few = one_series(SERIES)
    labels = few.iloc[[10]][["sku", "location_id", "day"]].assign(kind="lost_sale", size="large")
    labels["corrected_day"] = few["day"][30]
    score = pd.Series(0.0, few.index)
    score[10], score[11:31] = 0.9, 1.0
    scored = few[["sku", "location_id", "day"]].assign(anomaly_score=score)
    assert anomaly.evaluate({"d": scored}, labels)["auc_pr"].iloc[0] == 1.0
    score[31] = 1.0
    scored["anomaly_score"] = score
    assert anomaly.evaluate({"d": scored}, labels)["auc_pr"].iloc[0] == 0.5


def test_an_error_is_found_by_the_count_when_any_day_until_then_is_reported():
    few = one_series(SERIES)
    labels = few.iloc[[10, 50]][["sku", "location_id", "day"]].assign(kind="lost_sale", size="large")
    labels["corrected_day"] = [few["day"][30], few["day"][60]]
    score = pd.Series(0.0, few.index)
    score[[29, 61]] = 1.0
    scored = few[["sku", "location_id", "day"]].assign(anomaly_score=score)
    assert anomaly.evaluate({"d": scored}, labels)["found_by_count"].iloc[0] == 0.5


def test_a_label_that_was_not_scored_is_an_error():
    few = one_series(SERIES)
    labels = few.iloc[[10]][["sku", "location_id", "day"]].assign(kind="lost_sale", size="large")
    scored = few.drop(index=10)[["sku", "location_id", "day"]].assign(anomaly_score=0.0)
    with pytest.raises(ValueError, match=r"S000.*not among the rows scored by ours"):
        anomaly.evaluate({"ours": scored}, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="sales_units"), "no column sales_units"),
        (lambda frame: pd.concat([frame, frame.iloc[[7]]]), r"two rows for \['S000'"),
        (
            lambda frame: frame.assign(closing_units=frame["closing_units"].where(frame.index != 7)),
            "closing_units is nan",
        ),
        (lambda frame: frame.assign(unit_price=np.inf), "unit_price is inf"),
        (lambda frame: frame.assign(sku=frame["sku"].where(frame.index != 7)), "row 7 has no sku"),
        (lambda frame: frame.head(0), "no rows"),
    ],
)
def test_bad_input_is_an_error_that_names_the_place(detector, change, message):
    with pytest.raises(ValueError, match=message):
        detector.score(change(one_series(SERIES)))


def test_series_without_any_movement_cannot_teach():
    still = one_series(SERIES).assign(sales_units=0.0, receipt_units=0.0, other_units=0.0)
    with pytest.raises(ValueError, match="no movement"):
        anomaly.train(still)


@pytest.mark.parametrize("share", [0.0, 0.6, -1.0])
def test_a_share_out_of_range_is_an_error(share):
    with pytest.raises(ValueError, match=f"share {share}"):
        anomaly.inject(SERIES, seed=0, share=share)


def test_one_short_series_is_enough_to_train_and_score():
    short = one_series(SERIES).head(12)
    scored = anomaly.train(short).score(short)
    assert len(scored) == 12
    assert scored["anomaly_score"].between(0, 1).all()


@pytest.mark.parametrize(
    ("recorded", "true", "expected"),
    [
        (120, 12, True),
        (21, 12, True),
        (132, 123, True),
        (213, 123, True),
        (12, 12, False),
        (122, 12, False),
        (10, 0, False),
    ],
)
def test_slips_of_the_hand_are_told_from_other_differences(recorded, true, expected):
    assert is_slip(np.array([float(recorded)]), np.array([float(true)]))[0] == expected


@settings(deadline=None)
@given(units=st.integers(0, 10**6), place=st.integers(0, 4))
def test_exchanging_two_digits_twice_gives_the_number_back(units, place):
    once = exchanged_digits(np.array([float(units)]), place)
    assert exchanged_digits(once, place)[0] == units
    assert sorted(f"{int(once[0]):09d}") == sorted(f"{units:09d}")


def test_every_feature_is_finite_or_absent():
    table = SeriesTable.read(anomaly.inject(SERIES, seed=2, share=0.05)[0])
    facts = next(iter(facts_in_chunks(table, np.ones(table.rows, dtype=bool))))
    matrix = facts.features()
    assert matrix.shape == (len(facts.events), len(FEATURES))
    assert not np.isinf(matrix).any()


def test_the_figure_of_the_worst_days_is_drawn(detector, tmp_path):
    injected, _ = anomaly.inject(SERIES, seed=5, share=0.02)
    figure = anomaly.top_anomalies_figure(injected, detector.score(injected), count=3)
    figure.savefig(tmp_path / "top.png")
    assert (tmp_path / "top.png").stat().st_size > 10_000
    quiet = detector.score(injected).assign(kind="none")
    anomaly.top_anomalies_figure(injected, quiet).savefig(tmp_path / "none.png")


def test_the_curves_of_two_detectors_stand_in_one_figure_with_their_areas(detector):
    injected, labels = anomaly.inject(SERIES, seed=5, share=0.02)
    scores = {"ours": detector.score(injected), "robust z": anomaly.robust_z_baseline(injected)}
    areas = anomaly.evaluate(scores, labels).query("kind == 'all' and size == 'all'").set_index("detector")["auc_pr"]
    legend = anomaly.precision_recall_curves(scores, labels).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [f"{name} ({areas[name]:.3f})" for name in scores]


@pytest.mark.deep
def test_scores_hold_while_the_number_of_series_in_a_chunk_changes(detector):
    everything = detector.score(SERIES)
    half = SERIES[SERIES["location_id"] == "north"]
    pd.testing.assert_frame_equal(detector.score(half), everything[SERIES["location_id"] == "north"])


def test_the_rule_of_thumb_reports_the_day_that_stands_out_with_its_reason():
    days = pd.date_range("2024-01-01", periods=200)
    receipts = np.where(np.arange(200) % 10 == 0, 50.0 + np.arange(200) % 3, 0.0)
    receipts[150] = 5000.0
    series = pd.DataFrame({"sku": "A", "location_id": "L", "day": days, "opening_units": 100.0, "sales_units": 5.0})
    series = series.assign(receipt_units=receipts, other_units=0.0, closing_units=95.0 + receipts)
    report = anomaly.robust_z_report(series)
    told = report[report["kind"] != "none"]
    assert told["day"].tolist() == [days[150]]
    assert told["kind"].tolist() == ["record_error_receipt"]
    assert told["anomaly_score"].between(0.6, 1.0).all()
    assert told["reason"].iloc[0].startswith("Receipts of 5,000 where 51 are usual on such a day: robust z ")
    assert report["anomaly_score"].between(0.0, 1.0).all()
    later = anomaly.robust_z_report(series, days[160])
    assert later["day"].min() == days[160]
    assert (later["kind"] == "none").all()


def test_the_rule_of_thumb_reports_one_day_in_a_hundred_at_most():
    generator = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=1000)
    sales = np.floor(generator.pareto(0.7, 1000)) + 1.0
    series = pd.DataFrame({"sku": "A", "location_id": "L", "day": days, "opening_units": 0.0, "receipt_units": 0.0})
    series = series.assign(sales_units=sales, other_units=0.0, closing_units=-sales)
    report = anomaly.robust_z_report(series)
    assert 1 <= (report["kind"] != "none").sum() <= 11
    assert set(report["kind"]) == {"none", "demand_spike"}
    assert (report["record_error_score"] == 0.0).all()


def test_the_columns_of_the_rule_of_thumb_are_those_of_the_detector(detector):
    few = stock_series(items=2, days=60)
    assert list(anomaly.robust_z_report(few)) == list(detector.score(few))
