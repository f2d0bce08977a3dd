"""A combination of recipes: per demand class the one, or the average, that did best on unseen windows.

Here: choosing weights on rolling hold-outs inside the training data, and forecasting with them. Not here: the gate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from ml import metrics
from ml.backtest import Forecaster, Recipe, demand_class, evaluate, stratified_series
from ml.features import KEYS, Floats, Frequency, build_panel
from ml.forecast_distribution import QUANTILE_COLUMNS, QUANTILE_LEVELS

CLASSES = ("smooth", "erratic", "intermittent", "lumpy", "none")


@dataclasses.dataclass(frozen=True)
class CombinedForecaster:
    """Members and their weights; quantiles are averaged level by level (Vincent 1912), so they cannot cross.

    Attributes:
        members: name -> fitted forecaster.
        weights: demand class -> name -> share; the shares of a class sum to one.
        frequency: period length.
    """

    members: dict[str, Forecaster]
    weights: dict[str, dict[str, float]]
    frequency: Frequency

    def predict(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> pd.DataFrame:
        """Forecast as `DemandForecaster.predict`."""
        frames = {
            name: member.predict(history, future).set_index([*KEYS, "period_start"])
            for name, member in self.members.items()
        }
        first = next(iter(frames.values()))
        shares = self._shares(history, first.index.to_frame(index=False))
        values = ["mean_units", *QUANTILE_COLUMNS]
        total = np.zeros((len(first), len(values)))
        for name, frame in frames.items():
            total += shares[name].to_numpy()[:, None] * frame.reindex(first.index)[values].to_numpy(dtype=np.float64)
        return pd.DataFrame(total, columns=values, index=first.index).reset_index()

    def sample_paths(
        self,
        history: pd.DataFrame,
        n: int,
        future: pd.DataFrame | None = None,
        keys: pd.DataFrame | None = None,
        seed: int = 0,
    ) -> Iterator[tuple[pd.DataFrame, Floats]]:
        """Draw paths as `DemandForecaster.sample_paths`; the first member decides how periods hang together."""
        streams = {name: member.sample_paths(history, n, future, keys, seed) for name, member in self.members.items()}
        lead = next(iter(streams))
        buffered = {
            name: {key: paths[place] for chunk, paths in stream for place, key in enumerate(_pairs(chunk))}
            for name, stream in streams.items()
            if name != lead
        }
        for chunk, paths in streams[lead]:
            shares = self._shares(history, chunk)
            grid = np.sort(paths, axis=1) * shares[lead].to_numpy(dtype=np.float32)[:, None, None]
            for name, found in buffered.items():
                weight = shares[name].to_numpy(dtype=np.float32)
                for place, key in enumerate(_pairs(chunk)):
                    if weight[place] > 0 and key in found:
                        grid[place] += weight[place] * np.sort(found[key], axis=0)
            ranks = np.argsort(np.argsort(paths, axis=1, kind="stable"), axis=1, kind="stable")
            yield chunk, np.take_along_axis(grid, ranks, axis=1)

    def _shares(self, history: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
        """Return the share of each member for each row of `keys`; unknown series are of class none."""
        panel = build_panel(history, self.frequency, covariates=[])
        classes = pd.Series(demand_class(panel.demand.astype(np.float64)), index=pd.MultiIndex.from_frame(panel.keys))
        found = classes.reindex(pd.MultiIndex.from_frame(keys[KEYS])).fillna("none")
        return pd.DataFrame({name: [self.weights[one][name] for one in found] for name in self.members})


def _pairs(keys: pd.DataFrame) -> list[tuple[object, object]]:
    return list(zip(keys["sku"], keys["location_id"], strict=True))


def combined(recipes: Mapping[str, Recipe], *, windows: int = 2, most_series: int = 500) -> Recipe:
    """Return a recipe that chooses between others, per demand class, on hold-outs inside its own training data.

    Args:
        recipes: name -> recipe; the first one also decides the joint paths.
        windows: hold-out windows, one horizon apart.
        most_series: series in the hold-outs, stratified.
    """

    def train_combined(
        demand: pd.DataFrame,
        *,
        freq: str,
        horizon: int,
        items: pd.DataFrame | None = None,
        season_length: int | None = None,
        seed: int = 0,
    ) -> CombinedForecaster:
        """Choose the weights, then refit every member that any class uses on everything."""
        evaluation = evaluate(
            recipes,
            demand,
            freq=freq,
            horizon=horizon,
            windows=windows,
            step=horizon,
            items=items,
            season_length=season_length,
            series=stratified_series(demand, freq=freq, most=most_series),
            keep_forecasts=True,
            seed=seed,
        )
        weights = choose_weights(evaluation.forecasts, evaluation.series, list(recipes))
        used = [name for name in recipes if any(shares[name] > 0 for shares in weights.values())]
        members = {
            name: recipes[name](demand, freq=freq, horizon=horizon, items=items, season_length=season_length, seed=seed)
            for name in used
        }
        kept = {one: {name: shares[name] for name in used} for one, shares in weights.items()}
        return CombinedForecaster(members, kept, Frequency.of(freq, season_length))

    return train_combined


def choose_weights(
    forecasts: pd.DataFrame, series: pd.DataFrame, names: list[str], *, margin: float = 0.005
) -> dict[str, dict[str, float]]:
    """Return for each demand class the member, or the average of two or all, with the least pinball loss.

    The whole sample decides for classes with fewer than 10 series. A class departs from the best choice over all only
    for a gain above `margin`: small differences on two windows are noise.

    Args:
        forecasts: `Evaluation.forecasts`.
        series: `Evaluation.series`.
        names: recipes.
        margin: least relative gain.
    """
    keys = ["window", *KEYS, "period_start"]
    aligned = {name: forecasts[forecasts["recipe"] == name].set_index(keys).sort_index() for name in names}
    actual = aligned[names[0]]["actual_units"].to_numpy(dtype=np.float64)
    columns = list(QUANTILE_COLUMNS)
    quantiles = {name: frame[columns].to_numpy(dtype=np.float64) for name, frame in aligned.items()}
    first = series[series["recipe"] == names[0]].set_index(["window", *KEYS])["demand_class"]
    classes = first.reindex(aligned[names[0]].index.droplevel("period_start")).to_numpy()
    choices: list[tuple[str, ...]] = [(name,) for name in names] + list(combinations(names, 2))
    choices += [tuple(names)] if len(names) > 2 else []
    losses = {}
    for choice in choices:
        mean = np.mean([quantiles[name] for name in choice], axis=0)
        losses[choice] = metrics.pinball_loss(actual[:, None], mean, np.asarray(QUANTILE_LEVELS)).mean(axis=1)
    usual = min(choices, key=lambda choice: losses[choice].mean())
    result = {}
    for one in CLASSES:
        inside = classes == one
        members = series[(series["recipe"] == names[0]) & (series["demand_class"] == one)].drop_duplicates(KEYS)
        chosen = usual
        if len(members) >= 10:
            best = min(choices, key=lambda choice: losses[choice][inside].mean())
            if losses[best][inside].mean() < (1.0 - margin) * losses[usual][inside].mean():
                chosen = best
        result[one] = {name: (1.0 / len(chosen) if name in chosen else 0.0) for name in names}
    return result
