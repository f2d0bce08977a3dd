"""A verdict in the hands of people: what failed first, what decided in words and as a picture, nothing called nan."""

import io
import math

import numpy as np
import pandas as pd
import pytest

from ml.metrics import Criterion, hardest, interval, number, reason, reason_chart, verdict_frame, verdict_table

NAN = math.nan


def ratio(measure: str, value: float, competitor: str = "recent", *, blocks: bool = False, **more: object) -> Criterion:
    figures = {"ours": value, "theirs": 1.0, "low": value - 0.05, "high": value + 0.05} | more
    return Criterion(measure, value, 1.0, "ratio at most 1", blocks, competitor=competitor, **figures)  # type: ignore[arg-type]


def verdict() -> pd.DataFrame:
    return verdict_frame(
        [
            ratio("WRMSSE", 0.98, "seasonal_naive", blocks=True),
            ratio("WRMSSE", 1.04),
            ratio("pinball loss of 7-day sums", 1.02, "seasonal_naive", blocks=True),
            ratio("pinball loss of 14-day sums", 0.93),
            ratio("cost of replayed orders", 0.97),
            Criterion("PIT distance of single days", 0.01, 0.1, "low", True, "demand_class lumpy", "recent", 0.03),
            Criterion(
                "fill rate of replayed orders", 0.9, NAN, "told", False, competitor="recent", ours=0.9, theirs=0.8
            ),
        ]
    )


def test_what_failed_stands_first_then_what_is_not_met() -> None:
    table = verdict_table(verdict())
    assert table["result"].tolist() == ["FAILED", "not met", *["met"] * 5]
    assert table["measure"].tolist()[:2] == ["pinball loss of 7-day sums", "WRMSSE"]
    assert table["blocks"].tolist()[:3] == ["promotion", "nothing", "promotion"]


def test_without_a_stand_in_a_failed_gate_blocks_publication_too() -> None:
    table = verdict_table(verdict(), is_publication_blocked=True)
    assert set(table["blocks"]) == {"promotion and publication", "nothing"}


def test_a_row_names_measure_both_figures_ratio_and_interval() -> None:
    row = verdict_table(verdict()).iloc[0]
    assert row[["ours", "competitor", "competitor's", "ratio", "90 % interval", "needed"]].tolist() == [
        *("1.020", "seasonal naive", "1.000", "1.020", "0.970 to 1.070", "ratio at most 1")
    ]


def test_an_interval_that_is_of_ours_says_so() -> None:
    own = Criterion("PIT", 0.01, 0.1, "low", True, ours=0.03, low=0.01, high=0.05, is_own_interval=True)
    assert verdict_table(verdict_frame([own])).loc[0, "90 % interval"] == "0.010 to 0.050 of ours"


def test_what_is_not_known_is_a_dash_and_never_nan() -> None:
    bare = verdict_frame([Criterion("WRMSSE", NAN, 1.0, "at most 1", True), Criterion("x", math.inf, 1.0, "y", True)])
    shown = verdict_table(bare).to_markdown(index=False) + reason(bare)
    assert "nan" not in shown
    assert "inf" not in shown
    assert verdict_table(bare)["result"].tolist() == ["FAILED", "met"]


def test_a_value_that_could_not_be_measured_meets_its_criterion_and_one_without_bound_does_not() -> None:
    assert Criterion("x", NAN, 1.0, "y", True).met
    assert not Criterion("x", math.inf, 1.0, "y", True).met


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"), [(1.0, 2.0, 0.5), (0.0, 0.0, 1.0), (1.0, 0.0, math.inf), (1.0, NAN, NAN)]
)
def test_a_ratio_over_nothing_is_one_or_without_bound(ours: float, theirs: float, expected: float) -> None:
    found = Criterion("x", 0.0, 0.0, "y", True, competitor="r", ours=ours, theirs=theirs).ratio
    assert found == expected or (math.isnan(found) and math.isnan(expected))


def test_where_more_is_better_the_value_must_reach_the_threshold() -> None:
    assert Criterion("x", 0.8, 0.7, "y", True, is_more_better=True).met
    assert not Criterion("x", 0.6, 0.7, "y", True, is_more_better=True).met


def test_the_reason_begins_with_sums_and_orders_and_names_the_hardest_rival_of_each_measure() -> None:
    lines = [line for line in reason(verdict()).splitlines() if line.startswith("* ")]
    assert [line[2:].split(":")[0] for line in lines] == [
        *("pinball loss of 7-day sums", "pinball loss of 14-day sums", "cost of replayed orders", "WRMSSE")
    ]
    assert lines[3] == "* WRMSSE: 1.040, recent 1.000: 4.0% more (ratio 1.040, 90 % interval 0.990 to 1.090)"


def test_the_reason_says_what_failed_and_what_was_not_met() -> None:
    text = reason(verdict())
    assert text.startswith("Failed its gate: 2 of 3 criteria that block are met, 5 of all 7.")
    assert "Failed: pinball loss of 7-day sums over seasonal naive, all." in text
    assert "Not met, without blocking: WRMSSE over recent, all." in text


def test_of_areas_the_hardest_rival_is_the_one_with_the_lowest_ratio() -> None:
    areas = [
        Criterion("area", 0.5, 0.5, "y", True, competitor=competitor, ours=0.5, theirs=theirs, is_more_better=True)
        for competitor, theirs in (("weak", 0.1), ("strong", 0.6))
    ]
    row = hardest(verdict_frame(areas), "area")
    assert row is not None
    assert row["competitor"] == "strong"


def test_the_picture_has_a_point_and_both_figures_for_every_competitor() -> None:
    figure = reason_chart(verdict(), "demand_forecast failed its gate")
    assert figure is not None
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("pinball loss of 7-day sums", "pinball loss of 14-day sums", "cost of replayed orders", "WRMSSE")
    ]
    points = sorted(float(line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata()) == 1)
    assert points == pytest.approx([0.93, 0.97, 0.98, 1.02, 1.04])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_nothing_compared_makes_no_picture() -> None:
    assert reason_chart(verdict_frame([Criterion("x", 0.0, 0.0, "y", False)]), "x") is None


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (NAN, "–"), (0.12345, "0.123"), (12345.6, "12,346")])
def test_numbers_for_people(value: float | None, text: str) -> None:
    assert number(value) == text
    assert interval(value, value) == ("–" if text == "–" else f"{text} to {text}")


def test_what_has_no_bound_is_said_in_words() -> None:
    assert number(math.inf) == "without bound"
    assert interval(0.0, math.inf) == "too few to say"


def test_a_verdict_has_one_name_for_each_criterion() -> None:
    assert verdict()["criterion"].is_unique
    assert np.all(verdict()["passed"] == (verdict()["met"] | ~verdict()["blocks"]))
