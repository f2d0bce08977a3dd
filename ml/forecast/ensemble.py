"""A combination of forecasters: the first, and per demand class another or the even mixture where clearly better.

Here: choosing the shares from what earlier windows showed, and forecasting with them. Not here: the gate.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from ml.forecast.base import FittedForecaster, Forecaster, GridForecaster, PreparedHistory
from ml.forecast.distribution import QUANTILE_COLUMNS, QUANTILE_LEVELS, Dependence, multiplied
from ml.metrics import forecast as metrics
from ml.schema import KEYS, Doubles, Floats, Integers
from ml.segments import demand_class

CLASSES = ("smooth", "erratic", "intermittent", "lumpy", "none")
COMBINED, FORMAT = "combined", 1
SERIES_AT_ONCE = 500
# Probability that each published quantile stands for: half way to its neighbours.
_EDGES = np.concatenate([[0.0], (np.asarray(QUANTILE_LEVELS[1:]) + np.asarray(QUANTILE_LEVELS[:-1])) / 2, [1.0]])


@dataclasses.dataclass(frozen=True)
class CombinedForecaster(GridForecaster):
    """FittedForecasters and their shares per demand class; the distribution of a series is the mixture of theirs.

    A mixture of whole units stays in whole units and keeps calibrated members calibrated; averages of quantiles
    (Vincent 1912) do neither. The first member decides how periods hang together, which series there are, and what last
    year and planned promotions do to every forecast: the share of another member is moved by the same factors, less
    those that it knows itself.

    Attributes:
        members: name -> fitted forecaster.
        weights: demand class -> name -> share; the shares of a class sum to one.
    """

    members: dict[str, FittedForecaster]
    weights: dict[str, dict[str, float]]

    @property
    def kind(self) -> str:
        """Its name among the kinds of forecasters."""
        return COMBINED

    @property
    def horizon(self) -> int:
        """Periods that are forecast."""
        return self.lead.horizon

    @property
    def lead(self) -> FittedForecaster:
        """The first member."""
        return next(iter(self.members.values()))

    def prepare(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> CombinedHistory:
        """Lay out a history for every member."""
        return CombinedHistory(self, history, future)

    def season_note(self) -> str:
        """Return in words what last year says, as `DemandForecaster.season_note`."""
        return self.lead.season_note()

    def season_frame(self, seen: pd.Timestamp | None = None) -> pd.DataFrame:
        """Return what last year does to every forecast, as `DemandForecaster.season_frame`."""
        return self.lead.season_frame(seen)

    def save(self, folder: str | Path) -> None:
        """Write shares and members into a folder, each member into one of its own."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        document = {"format": FORMAT, "members": list(self.members), "weights": self.weights}
        (target / "combination.json").write_text(json.dumps(document, indent=1, sort_keys=True))
        for name, member in self.members.items():
            member.save(target / name)

    @classmethod
    def load(cls, folder: str | Path, load_member: Callable[[Path], FittedForecaster]) -> CombinedForecaster:
        """Read what `save` wrote.

        Args:
            folder: that `save` wrote.
            load_member: reads the folder of a member, whatever its kind.

        Raises:
            ValueError: the folder is of another format.
        """
        path = Path(folder) / "combination.json"
        document = json.loads(path.read_text())
        if document.get("format") != FORMAT:
            raise ValueError(f"{path} has format {document.get('format')!r}, this code reads {FORMAT}: train again")
        return cls({name: load_member(path.parent / name) for name in document["members"]}, document["weights"])


class CombinedHistory(PreparedHistory):
    """A history laid out for all members; series are numbered as the first member numbers them."""

    def __init__(self, forecaster: CombinedForecaster, history: pd.DataFrame, future: pd.DataFrame | None) -> None:
        names = list(forecaster.members)
        self.histories = {name: member.prepare(history, future) for name, member in forecaster.members.items()}
        self.lead = self.histories[names[0]]
        super().__init__(self.lead.panel, forecaster.horizon)
        # Each member lays out its own.
        self.rows_at_once = SERIES_AT_ONCE * self.horizon
        index = pd.MultiIndex.from_frame(self.panel.keys)
        self.places = {
            name: np.asarray(pd.MultiIndex.from_frame(prepared.panel.keys).get_indexer(index), dtype=np.int64)
            for name, prepared in self.histories.items()
        }
        classes = demand_class(np.where(self.panel.bound, np.nan, self.panel.demand).astype(np.float64))
        shares = pd.DataFrame(forecaster.weights).T.reindex(index=classes, columns=names).to_numpy(dtype=np.float64)
        # A brand-new item is known to the first member alone.
        for number, name in enumerate(names[1:], start=1):
            # The others say nothing of a series without a past.
            unknown = (self.places[name] < 0) | (self.histories[name].panel.last_row[self.places[name]] < 0)
            shares[unknown, 0] += shares[unknown, number]
            shares[unknown, number] = 0.0
        self.shares = dict(zip(names, shares.T, strict=True))

    def dependences(self, rows: Integers) -> list[Dependence]:
        """Return how the periods of each of some series hang together."""
        return self.lead.dependences(rows)

    def season_factors(self) -> Doubles:
        """Return what last year multiplies every mean by [horizon]."""
        return self.lead.season_factors()

    def grid(self, rows: Integers, n: int) -> Floats:
        """Return the quantile functions of some series [series, horizon, n]: each member fills its share of the n."""
        result = np.empty((len(rows), self.horizon, n), dtype=np.float32)
        upto = np.rint(n * np.cumsum([share[rows] for share in self.shares.values()], axis=0)).astype(np.int64)
        since = np.vstack([np.zeros((1, len(rows)), dtype=np.int64), upto[:-1]])
        for name, firsts, lasts in zip(self.shares, since, upto, strict=True):
            for first, last in sorted(set(zip(firsts.tolist(), lasts.tolist(), strict=True))):
                inside = np.flatnonzero((firsts == first) & (lasts == last))
                if last > first:
                    prepared, places = self.histories[name], self.places[name]
                    grid = prepared.grid(places[rows[inside]], last - first)
                    if prepared is not self.lead:
                        grid = multiplied(grid, self._missing_effects(prepared, places, rows[inside]))
                    result[inside, :, first:last] = grid
        mixed = np.flatnonzero((upto > since).sum(axis=0) > 1)
        result[mixed] = np.sort(result[mixed], axis=2)
        return result

    def promotion_effects(self, rows: Integers) -> Doubles:
        """Return what planned promotions make of the demand of an ordinary period: a factor [series, horizon]."""
        return self.lead.promotion_effects(rows)

    def _missing_effects(self, prepared: PreparedHistory, places: Integers, rows: Integers) -> Doubles:
        """Return what the first member knows of season and promotions and another does not [series, horizon]."""
        seasons = self.lead.season_factors() / prepared.season_factors()
        return seasons * (self.lead.promotion_effects(rows) / prepared.promotion_effects(places[rows]))


@dataclasses.dataclass(frozen=True)
class Combination:
    """A model spec made of others, as `ml.backtest.evaluate` takes it.

    Attributes:
        members: names of model specs; the first one also decides the joint paths.
    """

    members: tuple[str, ...]

    def __call__(
        self, fitted: Mapping[str, Forecaster], tried: pd.DataFrame, sums: pd.DataFrame | None = None
    ) -> CombinedForecaster:
        """Mix fitted forecasters by what was seen of them.

        Args:
            fitted: name -> forecaster; the members are among them.
            tried: as `choose_weights`, forecasts whose periods have passed; empty = the first member stands.
            sums: as `choose_weights`.
        """
        return CombinedForecaster(self._members(fitted), choose_weights(tried, self.members, sums))

    def choices(self, fitted: Mapping[str, Forecaster]) -> dict[str, CombinedForecaster]:
        """Return every choice that may be made for a demand class, made for all of them: label -> forecaster."""
        members = self._members(fitted)
        return {
            " + ".join(choice): CombinedForecaster(members, {one: _even(choice, self.members) for one in CLASSES})
            for choice in _choices(self.members)
        }

    def _members(self, fitted: Mapping[str, Forecaster]) -> dict[str, FittedForecaster]:
        return {name: cast("FittedForecaster", fitted[name]) for name in self.members}


def _choices(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each name alone, each pair, and all of them."""
    every = [(name,) for name in names] + list(combinations(names, 2))
    return every + ([tuple(names)] if len(names) > 2 else [])


def _even(choice: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    return {name: (1.0 / len(choice) if name in choice else 0.0) for name in names}


def choose_weights(
    tried: pd.DataFrame, names: Sequence[str], sums: pd.DataFrame | None = None, *, margin: float = 0.02
) -> dict[str, dict[str, float]]:
    """Return for each demand class the member, or the even mixture of two or all, with the least pinball loss.

    The loss is the mean of two ratios to the choice that stands: over single periods and, where sums were tried, over
    sums of periods (each span alike). Orders cover a lead time, and a choice that is right day by day can be wrong on
    the upper quantiles of weeks. The first member stands unless another choice gains more than `margin` over all, and
    a class departs from what stands over all only for such a gain: small differences on a few overlapping windows are
    noise. The whole sample decides for classes with fewer than 10 series.

    Args:
        tried: model_spec, window, sku, location_id, period_start, demand_class, actual_units, q05_units ... of
            forecasts and what happened; as `Evaluation.forecasts`. Empty = the first stands.
        names: of the members.
        sums: as `Evaluation.tried_sums`; None or empty = single periods alone decide.
        margin: least relative gain.

    Returns:
        demand class -> name -> share.
    """
    if tried.empty:
        return {one: _even(names[:1], names) for one in CLASSES}
    singles = {name: _aligned(tried, name, ["window", *KEYS, "period_start"]) for name in names}
    first = singles[names[0]]
    actual = first["actual_units"].to_numpy(dtype=np.float64)
    quantiles = {name: frame[list(QUANTILE_COLUMNS)].to_numpy(dtype=np.float64) for name, frame in singles.items()}
    choices = _choices(names)
    losses = {choice: _losses(actual, mixed_quantiles([quantiles[name] for name in choice])) for choice in choices}
    measures = [(first["demand_class"].to_numpy(), losses)]
    for _, part in [] if sums is None or sums.empty else sums.groupby("span"):
        of_choice = {choice: _aligned(part, " + ".join(choice), ["window", *KEYS]) for choice in choices}
        losses = {
            choice: _losses(frame["actual_units"].to_numpy(dtype=np.float64), frame[list(QUANTILE_COLUMNS)].to_numpy())
            for choice, frame in of_choice.items()
        }
        measures.append((of_choice[choices[0]]["demand_class"].to_numpy(), losses))

    def ratio(choice: tuple[str, ...], standing: tuple[str, ...], one: str | None) -> float:
        found = []
        for classes, loss in measures:
            inside = np.ones(len(classes), dtype=bool) if one is None else classes == one
            own, other = float(loss[choice][inside].sum()), float(loss[standing][inside].sum())
            found.append(own / other if other > 0 else 1.0)
        return found[0] if len(found) == 1 else (found[0] + float(np.mean(found[1:]))) / 2.0

    def best_of(standing: tuple[str, ...], one: str | None) -> tuple[str, ...]:
        best = min(choices, key=lambda choice: ratio(choice, standing, one))
        return best if ratio(best, standing, one) < 1.0 - margin else standing

    usual = best_of(choices[0], None)
    result = {}
    for one in CLASSES:
        series = first.loc[first["demand_class"] == one, KEYS].drop_duplicates()
        result[one] = _even(best_of(usual, one) if len(series) >= 10 else usual, names)
    return result


def _aligned(frame: pd.DataFrame, model_spec: str, keys: list[str]) -> pd.DataFrame:
    return frame[frame["model_spec"] == model_spec].sort_values(keys, kind="stable")


def _losses(actual: Doubles, quantiles: Doubles) -> Doubles:
    return np.asarray(metrics.pinball_loss(actual[:, None], quantiles, np.asarray(QUANTILE_LEVELS)).mean(axis=1))


def mixed_quantiles(parts: Sequence[Doubles]) -> Doubles:
    """Return the quantiles of the even mixture of distributions known by their quantiles alone [rows, levels].

    Each quantile stands for the probability half way to its neighbours.
    """
    if len(parts) == 1:
        return parts[0]
    values = np.concatenate(parts, axis=1)
    mass = np.tile(np.diff(_EDGES) / len(parts), len(parts))
    order = np.argsort(values, axis=1, kind="stable")
    upto = np.cumsum(mass[order], axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    places = [np.argmax(upto >= level - 1e-9, axis=1) for level in QUANTILE_LEVELS]
    return np.take_along_axis(ordered, np.stack(places, axis=1), axis=1)
