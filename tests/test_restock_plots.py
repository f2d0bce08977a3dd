"""Pictures of orders: what is drawn, and stock at mean demand."""

import pandas as pd

from ml.restock.plots import expected_stock, order_outlook

DAYS = pd.date_range("2011-12-09", periods=4)


def stock(on_hand: float, demand: list[float], arrivals: dict[str, float]) -> list[float]:
    arriving = pd.Series(arrivals, dtype="float64")
    arriving.index = pd.to_datetime(arriving.index)
    return expected_stock(on_hand, pd.Series(demand, index=DAYS), arriving).tolist()


def test_stock_falls_by_demand_and_never_below_zero():
    assert stock(5, [2, 2, 2, 2], {}) == [3, 1, 0, 0]


def test_what_arrives_serves_its_own_day_and_not_the_days_before():
    assert stock(1, [2, 2, 2, 0], {"2011-12-11": 5}) == [0, 0, 3, 3]


def test_a_negative_record_is_an_empty_shelf():
    assert stock(-4, [1, 1, 1, 1], {"2011-12-09": 3}) == [2, 1, 0, 0]


def test_an_arrival_beyond_the_forecast_is_left_out():
    assert stock(1, [0, 0, 0, 0], {"2011-12-31": 5}) == [1, 1, 1, 1]


def moves(*rows: tuple[float, str, str]) -> pd.DataFrame:
    names = ["units", "from_location_id", "to_location_id"]
    found = pd.DataFrame(rows, columns=names).assign(order_by_date=DAYS[0], expected_arrival_date=DAYS[1])
    return found.astype({"units": "float64"})


def outlook(order_units: float, *moved: tuple[float, str, str]):
    past = pd.DataFrame({"day": DAYS - pd.Timedelta(days=4), "demand_units": [1.0] * 4, "closing_units": [9.0] * 4})
    forecast = pd.DataFrame({"day": DAYS, "mean_units": 2.0, "q10_units": 0.0, "q90_units": 4.0})
    dates = {"order_by_date": DAYS[0], "expected_arrival_date": DAYS[2]} if order_units else {}
    line = {"product_name": "BOWL", "sku": "A", "location_id": "UKN", "on_hand_units": 3.0, "order_units": order_units}
    empty = {"order_by_date": pd.NaT, "expected_arrival_date": pd.NaT}
    open_orders = pd.DataFrame({"day": DAYS[[1, 1]], "open_units": [1.0, 1.0]})
    return order_outlook(past, forecast, open_orders, pd.Series(line | empty | dates), moves(*moved))


def drawn(figure) -> dict[str, list[float]]:
    return {str(line.get_label()): [float(y) for y in line.get_ydata()] for line in figure.axes[1].get_lines()}


def test_stock_is_drawn_with_the_order_and_without_it():
    lines = drawn(outlook(6))
    assert lines["stock"] == [9, 9, 9, 9]
    assert lines["expected without it"] == [1, 1, 0, 0]
    assert lines["expected with the order"] == [1, 1, 5, 3]


def test_the_days_to_order_and_of_arrival_are_named():
    assert [text.get_text().strip() for text in outlook(6).axes[1].texts] == ["order by 09 Dec", "arrives 11 Dec"]


def test_proposed_transfers_are_drawn_with_where_from_and_where_to():
    figure = outlook(6, (4, "N", "UKN"), (1, "UKN", "S"))
    # One leaves on the first day, four come on the second, six on the third.
    assert drawn(figure)["expected with both"] == [0, 4, 8, 6]
    assert figure.axes[1].get_title(loc="left") == "Stock, with an order of 6, 4 in, 1 out"
    assert [text.get_text().strip() for text in figure.axes[1].texts][2:] == ["4 from N", "1 to S"]
    alone = drawn(outlook(0, (4, "N", "UKN")))
    assert (alone["expected with the transfers"], alone["expected without them"]) == ([1, 5, 3, 1], [1, 1, 0, 0])


def test_an_item_without_an_order_has_no_line_with_it():
    assert "expected with the order" not in drawn(outlook(0))
