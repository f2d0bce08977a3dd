import numpy as np
import pandas as pd
import pytest

from ml.panel import Frequency, build_panel, check_items, repeat_unknown


def frame(values, start="2024-01-01", freq="D", sku="a", location_id="north", **more):
    periods = pd.date_range(start, periods=len(values), freq=freq)
    return pd.DataFrame(
        {"sku": sku, "location_id": location_id, "period_start": periods, "demand_units": values, **more}
    )


@pytest.mark.parametrize("freq", ["D", "W-MON", "W-SUN", "MS"])
def test_ordinals_count_periods_and_give_the_dates_back(freq):
    dates = pd.date_range("2023-11-01", periods=40, freq=freq)
    ordinals = Frequency.of(freq).ordinals(dates)
    assert (np.diff(ordinals) == 1).all()
    assert (Frequency.of(freq).periods(ordinals) == dates).all()


def test_an_unknown_frequency_is_named():
    with pytest.raises(ValueError, match="freq is 'fortnight': use 'D'"):
        Frequency.of("fortnight")


def test_a_date_off_the_grid_is_named():
    with pytest.raises(ValueError, match=r"2024-01-02.*does not start a period of freq 'W-MON'"):
        build_panel(frame([1.0, 2.0], start="2024-01-02", freq="7D"), Frequency.of("W-MON"))


def test_negative_demand_is_refused_with_value_place_and_remedy():
    with pytest.raises(ValueError, match=r"negative \(-3.0\) in row 1 .*sku 'a'.*net or drop"):
        build_panel(frame([1.0, -3.0]), Frequency.of("D"))


def test_infinite_demand_is_refused():
    with pytest.raises(ValueError, match="infinite"):
        build_panel(frame([1.0, np.inf]), Frequency.of("D"))


def test_a_key_twice_is_refused():
    with pytest.raises(ValueError, match=r"sku 'a', location 'north'.*twice"):
        build_panel(pd.concat([frame([1.0, 2.0]), frame([5.0])]), Frequency.of("D"))


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"lacks the columns \['demand_units'\]"):
        build_panel(frame([1.0]).drop(columns="demand_units"), Frequency.of("D"))


def test_a_missing_key_is_refused():
    broken = frame([1.0, 2.0]).assign(sku=["a", None])
    with pytest.raises(ValueError, match="sku is missing in row 1"):
        build_panel(broken, Frequency.of("D"))


def test_text_in_a_number_column_is_refused():
    broken = frame([1.0, 2.0]).astype({"demand_units": object})
    broken.loc[1, "demand_units"] = "many"
    with pytest.raises(ValueError, match="are not numbers"):
        build_panel(broken, Frequency.of("D"))


def test_a_period_without_a_row_is_not_observed():
    gappy = frame([1.0, 2.0, 3.0]).drop(index=1)
    assert np.isnan(build_panel(gappy, Frequency.of("D")).demand[0, 1])


def test_a_closed_day_is_not_an_observation_of_zero():
    panel = build_panel(frame([1.0, 0.0, 3.0], is_open=[True, False, True]), Frequency.of("D"))
    assert np.isnan(panel.demand[0, 1])
    assert panel.closed[0].tolist() == [False, True, False]


def test_a_shop_closed_on_one_weekday_stays_closed_ahead():
    opened = [day % 7 != 5 for day in range(28)]
    panel = build_panel(frame(np.ones(28), is_open=opened), Frequency.of("D"), ahead=7)
    assert panel.closed[0, 28:].tolist() == [False] * 5 + [True, False]


def test_a_price_not_given_ahead_carries_its_last_value():
    panel = build_panel(frame(np.ones(10), unit_price=np.arange(10.0) + 0.5), Frequency.of("D"), ahead=3)
    assert panel.covariates["unit_price"][0, 10:].tolist() == [9.5, 9.5, 9.5]


def test_a_future_row_twice_is_refused():
    future = frame([0.0, 0.0], start="2024-01-11", unit_price=1.0).drop(columns="demand_units")
    with pytest.raises(ValueError, match="twice: drop one"):
        build_panel(frame(np.ones(10), unit_price=1.0), Frequency.of("D"), ahead=3, future=pd.concat([future, future]))


def test_an_infinite_covariate_is_refused():
    with pytest.raises(ValueError, match=r"demand.unit_price is infinite in row 1"):
        build_panel(frame([1.0, 2.0], unit_price=[1.0, np.inf]), Frequency.of("D"))


def test_an_item_twice_is_refused():
    with pytest.raises(ValueError, match="twice: keep one row"):
        check_items(pd.DataFrame({"sku": ["a", "a"], "location_id": ["x", "x"]}))


def test_the_unobserved_end_of_a_location_repeats_its_last_whole_seasons():
    weeks, lost = [float(n) for n in range(1, 22)], [np.nan] * 9
    frames = [
        frame(weeks + lost),
        frame(weeks, sku="ended"),
        frame(weeks + [5.0] * 9, location_id="south"),
        frame(weeks + lost, location_id="south", sku="b"),
    ]
    panel = build_panel(pd.concat(frames), Frequency.of("D"))
    known = np.isfinite(panel.demand)
    demand, filled = repeat_unknown(panel, panel.demand, known)
    assert demand[0, 21:].tolist() == weeks[7:16]
    assert filled[0].all()
    assert np.array_equal(demand[1:], panel.demand[1:], equal_nan=True)
    assert np.array_equal(filled[1:], known[1:])


def test_a_gap_of_a_location_within_its_history_repeats_the_season_before():
    weeks = [float(n) for n in range(1, 29)]
    gone, short = [np.nan if 14 <= n < 18 else one for n, one in enumerate(weeks)], weeks.copy()
    short[14:16] = [np.nan, np.nan]
    frames = [frame(gone), frame(gone[:14], sku="ended"), frame(short, location_id="south")]
    panel = build_panel(pd.concat(frames), Frequency.of("D"))
    demand, filled = repeat_unknown(panel, panel.demand, np.isfinite(panel.demand))
    assert demand[0].tolist() == [*weeks[:14], *weeks[7:11], *weeks[18:]]
    assert filled[0].all()
    assert np.array_equal(demand[1:], panel.demand[1:], equal_nan=True)
