"""Predictive distributions: quantile functions on a fixed grid, their dependence over time, and sample paths.

Here: turning a mean and a few quantiles into a whole quantile function with that mean, where an observation falls in
it, how ranks hang together over the horizon, and paths with exact (Latin hypercube) marginals. Not here: models.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from ml.metrics.forecast import randomised_pit
from ml.schema import KEYS, Doubles, Flags, Floats, Integers

STANDARD_PATHS = 500
QUANTILE_LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
QUANTILE_COLUMNS = tuple(f"q{round(level * 100):02d}_units" for level in QUANTILE_LEVELS)
KNOTS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99)
COUNTED_BELOW = 60.0
# Copulas are learnt apart for series that sell seldom, often, almost always: share of periods with demand.
SOLD_SHARES = (0.0, 0.15, 0.4, 0.8)


@functools.lru_cache(maxsize=1024)
def grid_weights(levels: tuple[float, ...], n: int) -> Floats:
    """Return the matrix that turns quantiles at `levels` into quantiles at (i + 0.5) / n.

    Linear between levels, linear below the lowest, exponential above the highest: the tail keeps the slope in
    log(1 - u) of the last two levels.

    Args:
        levels: rising probabilities.
        n: points of the grid.

    Returns:
        float32 [levels, n]; quantiles [rows, levels] @ weights = grid [rows, n].
    """
    knots = np.asarray(levels, dtype=np.float64)
    u = (np.arange(n) + 0.5) / n
    right = np.clip(np.searchsorted(knots, u), 1, len(knots) - 1)
    share = (u - knots[right - 1]) / (knots[right] - knots[right - 1])
    beyond = u > knots[-1]
    slope = np.log((1 - knots[-2]) / (1 - knots[-1]))
    share[beyond] = 1.0 + np.log((1 - knots[-1]) / (1 - u[beyond])) / slope
    weights = np.zeros((len(knots), n))
    columns = np.arange(n)
    weights[right - 1, columns] = 1.0 - share
    weights[right, columns] += share
    return weights.astype(np.float32)


def quantile_grid(knots: Floats, mean: Doubles, n: int, counted: Flags, sold: Doubles | None = None) -> Floats:
    """Return a quantile function on n equal steps whose mean is `mean`.

    The points of periods without demand are zero, the others share the sizes among them. The sizes are scaled by at
    most a fifth towards the mean; what is left goes to the upper fortieth of the grid, which the levels published as
    quantiles do not reach.

    Args:
        knots: quantiles at KNOTS of the demand of periods with demand, units [rows, knots]; need not be sorted.
        mean: expected units of any period, >= 0 [rows].
        n: points.
        counted: rows whose demand comes in whole units [rows].
        sold: probability of demand, in (0, 1] [rows]; None = one.

    Returns:
        float32 [rows, n], rising along each row, >= 0; column i is the quantile at (i + 0.5) / n.
    """
    whole = counted & (mean < COUNTED_BELOW)
    grid = np.zeros((len(mean), n), dtype=np.float32)
    points = np.full(len(mean), n) if sold is None else _sold_points(np.where(whole, np.minimum(sold, mean), sold), n)
    order = np.argsort(points, kind="stable")
    sizes = np.sort(knots, axis=1)
    for rows in np.split(order, np.flatnonzero(np.diff(points[order])) + 1):
        if len(rows):
            count = int(points[rows[0]])
            grid[rows, n - count :] = _sizes(sizes[rows], mean[rows] * (n / count), count, n, whole[rows])
    return grid


def _sold_points(sold: Doubles, n: int) -> Integers:
    """Return how many of n points have demand: at least one; above an eighth in steps, so that many rows share one."""
    points = np.maximum(np.rint(sold * n), 1.0)
    step = max(1, n // 100)
    coarse = np.minimum(np.rint(points / step) * step, n)
    return np.where(points > n // 8, coarse, points).astype(np.int64)


def _sizes(knots: Floats, mean: Doubles, count: int, n: int, whole: Flags) -> Floats:
    """Return quantile functions on `count` equal steps with a given mean, the upper n / 40 of them bent to it."""
    grid = knots @ grid_weights(KNOTS, count)
    np.maximum(grid, 0.0, out=grid)
    target = mean.astype(np.float32)
    factor = np.clip(target / np.maximum(grid.mean(axis=1), 1e-9), 0.8, 1.25).astype(np.float32)
    grid *= factor[:, None]
    if whole.any():
        grid[whole] = np.rint(grid[whole])
        if count < n:
            grid[whole] = np.maximum(grid[whole], np.minimum(target[whole], 1.0)[:, None])
    top = max(1, min(n // 40, count // 2))
    rest = (target.astype(np.float64) - grid.mean(axis=1, dtype=np.float64)) * count
    more = rest > 0
    ramp = np.arange(1, top + 1, dtype=np.float64)
    ramp /= ramp.sum()
    grid[more, count - top :] += (rest[more, None] * ramp).astype(np.float32)
    less = np.flatnonzero(rest < 0)
    if len(less):
        base = grid[less, count - top - 1 : count - top] if count > top else np.zeros((len(less), 1), np.float32)
        excess = grid[less, count - top :] - base
        room = excess.sum(axis=1, dtype=np.float64)
        keep = 1.0 - np.minimum(1.0, -rest[less] / np.maximum(room, 1e-9))
        grid[less, count - top :] = base + excess * keep[:, None].astype(np.float32)
        now = grid[less].mean(axis=1, dtype=np.float64)
        shrink = np.minimum(1.0, target[less] / np.maximum(now, 1e-9))
        grid[less] *= shrink[:, None].astype(np.float32)
    return grid


def grid_quantiles(grid: Floats, levels: Sequence[float] = QUANTILE_LEVELS) -> Floats:
    """Return the smallest grid value that at least a share `level` of the grid does not exceed [rows, levels]."""
    n = grid.shape[-1]
    places = [max(0, int(np.ceil(round(level * n, 6))) - 1) for level in levels]
    return grid[..., places]


def multiplied(grid: Floats, factors: Doubles) -> Floats:
    """Return quantile functions times a factor; whole units stay whole on average.

    Args:
        grid: quantile functions [series, horizon, n].
        factors: [series, horizon].
    """
    if (factors == 1.0).all():
        return grid
    result = grid * factors[:, :, None].astype(np.float32)
    whole = (grid == np.rint(grid)).all(axis=2) & (factors != 1.0)
    upto = np.floor(np.cumsum(result[whole], axis=1, dtype=np.float64) + 0.5)
    result[whole] = np.sort(np.diff(upto, axis=1, prepend=0.0), axis=1)
    return result


def forecast_frame(keys: pd.DataFrame, periods: pd.DatetimeIndex, mean: Doubles, quantiles: Doubles) -> pd.DataFrame:
    """Return forecasts as the frame that every forecaster answers with.

    Args:
        keys: sku and location_id of each series.
        periods: period starts that are forecast.
        mean: units a period [series, periods].
        quantiles: at QUANTILE_LEVELS, units a period [series, periods, levels].

    Returns:
        sku, location_id, period_start, mean_units, q05_units ... q95_units: one row per series and period.
    """
    frame = pd.DataFrame({key: np.repeat(keys[key].to_numpy(), len(periods)) for key in KEYS})
    frame["period_start"] = np.tile(periods, len(keys))
    frame["mean_units"] = mean.reshape(-1)
    for place, name in enumerate(QUANTILE_COLUMNS):
        frame[name] = quantiles[:, :, place].reshape(-1)
    return frame


@dataclasses.dataclass(frozen=True)
class Dependence:
    """Gaussian copula of a series over its horizon: correlation = level + wave * decay ** lag; and between series.

    Attributes:
        level: share of variance common to the whole horizon, in [0, 1).
        wave: share that fades with the lag.
        decay: how fast, per period, in [0, 1).
        shared: share common to all series in the same period, in [0, 1).
    """

    level: float
    wave: float
    decay: float
    shared: float

    @classmethod
    def fit(cls, scores: Doubles, horizons: Integers, groups: Integers) -> Dependence:
        """Estimate from normal scores of observations in their predictive distributions.

        Args:
            scores: normal scores, NaN = not observed [pairs, horizons].
            horizons: periods ahead of each column [pairs, horizons].
            groups: number of the origin; pairs of one group share origin and horizons [pairs].
        """
        known = np.isfinite(scores)
        if known.sum() < 50:
            return cls(0.1, 0.1, 0.5, 0.0)
        spread = float(np.nanstd(scores))
        z = np.where(known, (scores - np.nanmean(scores)) / max(spread, 1e-6), 0.0)
        longest = int(horizons.max())
        product, weight = np.zeros(longest + 1), np.zeros(longest + 1)
        for a in range(scores.shape[1]):
            for b in range(a + 1, scores.shape[1]):
                both = known[:, a] & known[:, b]
                lag = np.abs(horizons[:, a] - horizons[:, b])[both]
                np.add.at(product, lag, (z[:, a] * z[:, b])[both])
                np.add.at(weight, lag, 1.0)
        lags = np.flatnonzero(weight > 0)
        level, wave, decay = 0.1, 0.1, 0.5
        if len(lags) > 2:
            correlation, importance = product[lags] / weight[lags], weight[lags]
            best = np.inf
            for candidate in (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
                shape = np.column_stack([np.ones(len(lags)), candidate**lags]) * np.sqrt(importance)[:, None]
                solution = np.linalg.lstsq(shape, correlation * np.sqrt(importance), rcond=None)[0]
                pair = np.clip(solution, 0.0, 0.95)
                loss = float((((shape @ pair) - correlation * np.sqrt(importance)) ** 2).sum())
                if loss < best and pair.sum() < 0.98:
                    best, level, wave, decay = loss, float(pair[0]), float(pair[1]), candidate
        total, count = 0.0, 0.0
        for group in np.unique(groups):
            inside = groups == group
            m = known[inside].sum(axis=0).astype(np.float64)
            s = z[inside].sum(axis=0)
            squares = (z[inside] ** 2).sum(axis=0)
            enough = m > 4
            total += float((s**2 - squares)[enough].sum())
            count += float((m * (m - 1))[enough].sum())
        shared = float(np.clip(total / count, 0.0, 0.9)) if count else 0.0
        return cls(level, wave, decay, shared if shared > 0.01 else 0.0)

    def scores(self, generator: np.random.Generator, n: int, horizon: int) -> Floats:
        """Return standard normal scores with this dependence over time [n, horizon]."""
        noise = generator.standard_normal((horizon + 2, n), dtype=np.float32)
        carry = np.float32(self.decay)
        innovation = np.float32(np.sqrt(1.0 - self.decay**2))
        wave = np.empty((horizon, n), dtype=np.float32)
        state = noise[1]
        for step in range(horizon):
            wave[step] = state
            if step + 1 < horizon:
                state = carry * state + innovation * noise[step + 2]
        rest = max(0.0, 1.0 - self.level - self.wave)
        result = np.float32(np.sqrt(self.level)) * noise[0] + np.float32(np.sqrt(self.wave)) * wave
        if rest > 0:
            result += np.float32(np.sqrt(rest)) * generator.standard_normal((horizon, n), dtype=np.float32)
        return np.ascontiguousarray(result)

    def ranks(self, generator: np.random.Generator, n: int, horizon: int, pools: int) -> Integers:
        """Return ranks 0 ... n - 1 of several independent samples of n paths [pools, horizon, n]."""
        scores = np.stack([self.scores(generator, n, horizon) for _ in range(pools)])
        return np.argsort(np.argsort(scores, axis=2), axis=2)


def match_sums(
    dependence: Dependence, grid: Floats, horizons: Integers, actual: Doubles, generator: np.random.Generator
) -> Dependence:
    """Return the dependence whose sums over the horizon are spread as the observed sums are.

    Scores of counts with many zeros understate how much their periods hang together, so the common share is searched:
    where the observed sums fall in the simulated ones must be as even as can be, tails included (least
    Anderson-Darling distance).
    A spread of the scores matched to one would answer a mean that is too low with more dependence.

    Args:
        dependence: first estimate.
        grid: quantile functions [pairs, horizons, n].
        horizons: periods ahead, rising along a row [pairs, horizons].
        actual: observed units, NaN = not observed [pairs, horizons].
        generator: source of chance.
    """
    known = np.isfinite(actual)
    enough = known.sum(axis=1) >= 2
    if int(enough.sum()) < 50:
        return dependence
    grid, horizons, known = grid[enough], horizons[enough], known[enough]
    total = np.where(known, actual[enough], 0.0).sum(axis=1)
    uniform = generator.random(len(total))
    n, pools = grid.shape[2], 8
    pool = np.arange(len(total)) % pools
    seed = int(generator.integers(2**31))
    candidates = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    even = (np.arange(len(total)) + 0.5) / len(total)
    distances = []
    for level in candidates:
        rest = min(dependence.wave, 0.97 - level)
        trial = dataclasses.replace(dependence, level=level, wave=max(rest, 0.0))
        ranks = trial.ranks(np.random.default_rng(seed), n, int(horizons.max()), pools)
        sums = np.zeros((len(total), n), dtype=np.float64)
        for place in range(horizons.shape[1]):
            order = ranks[pool, horizons[:, place] - 1]
            sums += np.take_along_axis(grid[:, place], order, axis=1) * known[:, place, None]
        pit = randomised_pit(total, sums, uniform)
        distances.append(float(np.mean(np.square(np.sort(pit) - even) / (even * (1.0 - even)))))
    best = candidates[int(np.argmin(distances))]
    return dataclasses.replace(dependence, level=best, wave=max(min(dependence.wave, 0.97 - best), 0.0))


def series_generator(seed: int, sku: object, location_id: object) -> np.random.Generator:
    """Return the random generator of one series: the same whatever other series there are."""
    text = f"{seed}\x1f{sku}\x1f{location_id}".encode()
    return np.random.Generator(np.random.SFC64(int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")))


def shuffle_grid(
    grid: Floats, keys: Sequence[tuple[object, object]], dependences: Sequence[Dependence], seed: int
) -> Floats:
    """Return paths whose values at every period are exactly the grid's, permuted jointly.

    Args:
        grid: quantile functions [series, horizon, n].
        keys: sku and location_id of each series.
        dependences: copula of each series over the horizon and with the others.
        seed: seed of the run.

    Returns:
        float32 [series, n, horizon].
    """
    series, horizon, n = grid.shape
    common = {
        kind: kind.scores(series_generator(seed, "", "all series"), n, horizon)
        for kind in set(dependences)
        if kind.shared > 0
    }
    paths = np.empty((series, n, horizon), dtype=np.float32)

    def fill(number: int) -> None:
        sku, location_id = keys[number]
        kind = dependences[number]
        scores = kind.scores(series_generator(seed, sku, location_id), n, horizon)
        if kind in common:
            scores *= np.float32(np.sqrt(1.0 - kind.shared))
            scores += np.float32(np.sqrt(kind.shared)) * common[kind]
        order = np.argsort(scores, axis=1)
        block = np.empty((horizon, n), dtype=np.float32)
        np.put_along_axis(block, order, grid[number], axis=1)
        paths[number] = block.T

    # Drawing and sorting let go of the interpreter lock; each series has its own generator, so threads change nothing.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for _ in pool.map(fill, range(series)):
            pass
    return paths


@dataclasses.dataclass(frozen=True)
class Shape:
    """Predictive distributions before they are laid on a grid.

    Attributes:
        mean: expected units a period [rows].
        sold: probability of any demand, in (0, 1] [rows].
        knots: quantiles at KNOTS of the demand of periods with demand, units [rows, knots].
    """

    mean: Doubles
    sold: Doubles
    knots: Floats

    def grid(self, n: int, counted: bool) -> Floats:
        """Return the quantile functions [rows, n]; `counted` = demand comes in whole units."""
        return quantile_grid(self.knots, self.mean, n, np.full(len(self.mean), counted), self.sold)

    def times(self, factor: Doubles) -> Shape:
        """Return the distributions with `factor` times as much demand, part of it in more periods that sell [rows]."""
        if (factor == 1.0).all():
            return self
        sold = 1.0 - (1.0 - self.sold) ** factor
        sizes = factor * self.sold / sold
        return Shape(self.mean * factor, sold, (self.knots * sizes[:, None]).astype(np.float32))


def sold_kind(share: Doubles | Floats) -> Integers:
    """Return the class of SOLD_SHARES each share of periods with demand falls into; unknown = the first."""
    return np.maximum(np.searchsorted(SOLD_SHARES, np.nan_to_num(share, nan=0.0), side="right") - 1, 0)
