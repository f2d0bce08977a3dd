"""Why a day is reported, in a sentence with the numbers that speak for it."""

from __future__ import annotations

import numpy as np

from ml.anomaly.features import Facts


def numbers(facts: Facts, entry: int) -> dict[str, float]:
    """Return the numbers known of one row."""
    numbers = {name: float(values[entry]) for name, values in facts.state.items()}
    event = int(np.searchsorted(facts.events, entry))
    if event < len(facts.events) and facts.events[event] == entry:
        numbers |= {name: float(values[event]) for name, values in facts.detail.items()}
    return numbers


def sentence(kind: str, fact: dict[str, float]) -> str:
    """Say in words and numbers why a day is reported as this kind."""
    if kind == "phantom_stock":
        return (
            f"No sale on {fact['quiet_days']:.0f} open days with {_units(fact['closing'])} in stock on record, where "
            f"{fact['selling_share'] * 100:.0f} % of days sell: the stock may not be there."
        )
    if kind == "demand_drop":
        return (
            f"Demand of the last week runs at {_units(fact['fast'])} a day against {_units(fact['mean'])} before, "
            "with stock on record."
        )
    usual = f"{_units(fact['usual_low'])} to {_units(fact['usual_high'])} a selling day"
    mean = f"{_units(fact['mean'])} a day on average"
    if kind == "demand_spike":
        return f"Demand of {_units(fact['demand'])} where usual are {usual} and {mean}."
    if kind == "negative_stock":
        return (
            f"Recorded stock fell from {_units(fact['opening'])} to {_units(fact['closing'])}: more left than was ever "
            "booked in."
        )
    if kind == "record_error_adjustment":
        return f"Other movements of {_units(fact['other'])} with {_units(fact['opening'])} in stock; demand is {mean}."
    if kind == "record_error_sale":
        return _sale_sentence(fact, usual)
    if kind == "record_error_receipt":
        return _receipt_sentence(fact, mean)
    return _count_sentence(fact)


def _sale_sentence(fact: dict[str, float], usual: str) -> str:
    """Say what is odd about sales."""
    sales = _units(fact["sales"])
    if fact["repeated"] > 0:
        again = f"A sale of {_units(fact['repeated'])} is on record twice"
        when = f", {fact['repeat_minutes']:.0f} minutes apart" if fact["repeat_minutes"] > 0 else " at the same minute"
        return f"{again}{when}, under two documents; usual are {usual}."
    if fact["sales"] > fact["available"] >= 0:
        return f"Sales of {sales} are on record where {_units(fact['available'])} were in stock; usual are {usual}."
    if abs(fact["price_gap_z"]) > 3:
        share = np.exp(fact["price_gap"]) * 100
        return f"Sales of {sales} were charged at {share:.0f} % of the price of this sku: they may be of another."
    return f"Sales of {sales} are on record; usual are {usual}."


def _receipt_sentence(fact: dict[str, float], mean: str) -> str:
    """Say what is odd about a receipt."""
    said = f"A receipt of {_units(fact['receipt'])} is on record"
    if fact["receipt_repeated"] > 0:
        return f"{said}, {_units(fact['repeated'])} under each of two documents; demand is {mean}."
    if fact["expected_receipt"] == 0:
        return f"{said} for which no purchase order of this sku was open."
    if np.isfinite(fact["expected_receipt"]) and fact["expected_receipt"] != fact["receipt"]:
        return f"{said} where the purchase order had {_units(fact['expected_receipt'])} open."
    if fact["last_receipt"] > 0:
        return f"{said}; the one before was {_units(fact['last_receipt'])}, {_units(fact['opening'])} were in stock."
    return f"{said} with {_units(fact['opening'])} in stock; demand is {mean}."


def _count_sentence(fact: dict[str, float]) -> str:
    """Say what is odd about a count."""
    more = "more" if fact["correction"] > 0 else "fewer"
    difference = (
        f"{_units(abs(fact['correction']))} {more} than the {_units(fact['closing'] - fact['correction'])} recorded"
    )
    counted = f"A count left {_units(fact['closing'])} in stock, {difference}"
    if fact["correction_slip"] > 0:
        return f"{counted}: a zero or two digits may be mis-keyed."
    if fact["correction_is_a_movement"] > 0:
        return f"{counted}: exactly a movement on record {fact['matched_days_ago']:.0f} days before."
    return f"{counted}; demand is {_units(fact['mean'])} a day on average."


def _units(value: float) -> str:
    """Write units as a planner would: no needless decimals."""
    return f"{value:,.0f}" if abs(value) >= 10 or value == round(value) else f"{value:,.2g}"
