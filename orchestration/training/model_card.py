"""The model card of the demand forecast: what it is for, what it learnt from, how it was judged, where it ends.

Belongs here: the words and tables of the card. Does not: training and measuring (demand_forecast.py, ml/).
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from ml.backtest import Evaluation

_MEASURES = ("wrmsse", "pinball", "wape", "bias")

_USE = """
For restock orders, stock plans and sales plans of items that are sold day by day. Not for what was never stocked and
resembles nothing, and not beyond the horizon. A day's sales of one item are mostly chance: read the quantiles, or sums
over days, not the mean of one day.
"""

_MODEL = """
The forecast of each demand class is the first member, unless another or the even mixture was clearly better on periods
none had seen, day by day and on sums over lead times alike:
"""

_LIMITS = """
With less than a year of history Christmas comes as a surprise. With one year, last year's weeks move the total, and no
item has a season of its own but one that sleeps until it; two years teach the season of items. Brand-new items borrow
from items like them and are less sure. A promotion or event of a kind that was never seen moves nothing. Totals over
many items depend on shocks that all share, of which a few windows show few. Contributions explain the booster's share
of a forecast.
"""


def forecast_card(
    evaluation: "Evaluation",
    model_spec: str,
    demand: "pd.DataFrame",
    pit: "pd.DataFrame",
    *,
    horizon: int,
    most_series: int,
    weights: Mapping[str, Mapping[str, float]],
    season_note: str,
    season: "pd.DataFrame",
    seed: int,
) -> str:
    """Return the card of a demand forecaster, Markdown.

    Args:
        evaluation: of the model spec beside its competitors.
        model_spec: the candidate.
        demand: what it learnt from, as `demand_frames.demand_history`.
        pit: as `ml.backtest.pit_by_class`.
        horizon: days ahead.
        most_series: most series that were evaluated.
        weights: demand class -> member -> share.
        season_note: what last year says of the forecast total, as `DemandForecaster.season_note`.
        season: the same by day, as `DemandForecaster.season_frame`.
        seed: of the training.
    """
    parts = {
        "Use": _USE,
        "Data": _data(demand, seed),
        "Model": f"{_MODEL}\n{_shares(weights)}",
        "Season": _season(season_note, season),
        "Evaluation": _evaluated(evaluation, pit, model_spec, horizon, most_series),
        "Limits": _LIMITS,
    }
    head = f"Daily demand of every sku and location, {horizon} days ahead: mean, eleven quantiles and joint paths."
    return "\n\n".join([head, *(f"## {title}\n\n{text.strip()}" for title, text in parts.items())])


def _data(demand: "pd.DataFrame", seed: int) -> str:
    series = demand[["sku", "location_id"]].drop_duplicates()
    first, last = demand["period_start"].min(), demand["period_start"].max()
    out_of_stock = 100 * (1 - demand["is_in_stock"].mean())
    return f"""
{len(demand):,} days of {len(series):,} series of {series["location_id"].nunique()} locations, {first:%Y-%m-%d} to \
{last:%Y-%m-%d}. Known ahead: closed days, promotions, events, prices. Attributes: category, cost, price.

Out of stock on {out_of_stock:.1f} % of the days: there demand is a lower bound. Partly served days are filled in by how
large sales are (Kaplan and Meier), days without stock are left out.

The run's tags and environment.json name the data's hash and moment, code, lock, versions and machine; seed {seed}.
"""


def _shares(weights: Mapping[str, Mapping[str, float]]) -> str:
    members = list(next(iter(weights.values())))
    rows = [[name, *(f"{shares[member]:.0%}" for member in members)] for name, shares in weights.items()]
    return _table(["demand class", *members], rows)


def _season(note: str, season: "pd.DataFrame") -> str:
    by_week = season.iloc[::7].to_dict("records")
    rows = [
        [f"{row['period_start']:%Y-%m-%d}", f"{row['last_year_says']:+.0%}", f"{row['factor']:.2f}"] for row in by_week
    ]
    return f"{note}\n\n{_table(['day', 'last year says', 'factor'], rows)}" if rows else note


def _evaluated(evaluation: "Evaluation", pit: "pd.DataFrame", model_spec: str, horizon: int, most_series: int) -> str:
    origins = evaluation.windows["origin"]
    overall = evaluation.segments[evaluation.segments["segment_kind"] == "all"].to_dict("records")
    own = evaluation.segments[evaluation.segments["model_spec"] == model_spec]
    by_segment = own[own["segment_kind"] != "all"].to_dict("records")
    compared = _table(["model", *_MEASURES], [[row["model_spec"], *_figures(row)] for row in overall])
    segments = _table(
        ["segment", "series", *_MEASURES],
        [[f"{row['segment_kind']} {row['segment']}", f"{row['series']:,.0f}", *_figures(row)] for row in by_segment],
    )
    return f"""
{origins.nunique()} rolling windows of {horizon} days, from {origins.min():%Y-%m-%d} to {origins.max():%Y-%m-%d}; each
model refitted per window on up to {most_series:,} series, scored on the observed demand of days in stock. The mixture
of a window was chosen on what earlier windows had shown by its first day. Bias above 0 = forecast too high.

{compared}

The candidate by segment (a series counts once a window):

{segments}

{_calibration(pit, model_spec)}
"""


def _calibration(pit: "pd.DataFrame", model_spec: str) -> str:
    """Return how far the PIT of each demand class lies from even, single days and sums."""
    from ml.metrics import interval, number

    own = pit[pit["model_spec"] == model_spec]
    rows = [
        [
            str(row["demand_class"]),
            "single days" if row["span"] == 1 else f"sums of {row['span']} days",
            f"{row['series']:,.0f}",
            number(row["distance"]),
            interval(row["low"], row["high"]),
        ]
        for row in own.to_dict("records")
    ]
    head = (
        "Calibration: distance of the randomised PIT from even. 0 = right; 0.1 = the median is missed by five points,"
        " or the level 0.95 by two."
    )
    return f"{head}\n\n{_table(['demand class', 'of', 'series', 'distance', '90 % interval'], rows)}"


def _figures(row: Mapping[Hashable, float]) -> list[str]:
    from ml.metrics import number

    return [number(row[name]) for name in _MEASURES]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))
