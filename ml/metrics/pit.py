"""Whether forecast distributions are the right ones: how far the PIT of what came lies from even.

Here: one distance with its interval, and the shares to draw. Not here: the PIT itself (`ml.metrics.forecast`), and
which forecasts are judged together (`ml.backtest`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ml.schema import Doubles, Integers

BINS = 20
"""Parts of (0, 1) at whose edges the shares are compared; also the bars of a picture."""

_FEWEST_CLUSTERS = 5
_LEVELS = np.arange(1, BINS) / BINS
_DEVIATION = np.sqrt(_LEVELS * (1 - _LEVELS))


@dataclasses.dataclass(frozen=True)
class PitDistance:
    """How far PIT values lie from even.

    Attributes:
        distance: largest difference between a level u and the share of values up to u, in standard deviations of one
            value, sqrt(u (1 - u)), over the edges of `BINS` parts: 0 = the distributions are right; 0.1 = the median is
            missed by five points, or the level 0.95 by two.
        low: end of the 90 % interval; above 0 only where chance does not explain the distance.
        high: its other end.
        shares: share of the values in each part; all 1 / `BINS` where the distributions are right.
        count: values.
    """

    distance: float
    low: float
    high: float
    shares: Doubles
    count: int


def pit_distance(pit: Doubles, series: Integers, period: Integers, *, draws: int = 400, seed: int = 0) -> PitDistance:
    """Measure how far randomised PIT values lie from even, and how sure that is.

    The statistic is that of Kolmogorov and Smirnov, weighted as by Anderson and Darling (1952, Annals of Mathematical
    Statistics 23, p. 193): orders hang on the upper levels, and where most periods sell nothing a wrong spread shows
    there alone. Its tables hold for independent values; those of one series or of one day are not. The interval comes
    from drawing whole series again, and whole periods again, with replacement: 90 % of the draws differ from what was
    seen by at most its half width, at every level at once. The wider of the two counts, and never less than what as
    many independent values would be off by chance: few values lie by chance alike in every draw.

    Args:
        pit: randomised PIT values, as `ml.metrics.randomised_pit` [values].
        series: number of the series of each value [values].
        period: number of its period [values].
        draws: bootstrap samples of each kind.
        seed: of the bootstrap.

    Returns:
        The distance with its interval, which begins at 0 and has no end for fewer than five series or periods.

    Raises:
        ValueError: there is no value, or one lies outside 0 ... 1.
    """
    if not len(pit) or not ((pit >= 0) & (pit <= 1)).all():
        raise ValueError(
            f"{len(pit)} PIT values from {np.min(pit, initial=1)} to {np.max(pit, initial=0)}: give some, from 0 to 1"
        )
    place = np.minimum((np.asarray(pit, dtype=np.float64) * BINS).astype(np.int64), BINS - 1)
    shares = np.bincount(place, minlength=BINS) / len(place)
    distance = float((np.abs(shares.cumsum()[:-1] - _LEVELS) / _DEVIATION).max())
    generator = np.random.default_rng(seed)
    half = max(
        _chance(len(place), draws, generator),
        *(_half_width(cluster, place, shares, draws, generator) for cluster in (series, period)),
    )
    return PitDistance(distance, max(distance - half, 0.0), distance + half, shares, len(place))


def _chance(count: int, draws: int, generator: np.random.Generator) -> float:
    """Return what nine of ten samples of so many independent even values are off by at most."""
    drawn = generator.multinomial(count, np.full(BINS, 1 / BINS), size=draws).cumsum(axis=1)[:, :-1] / count
    return float(np.quantile((np.abs(drawn - _LEVELS) / _DEVIATION).max(axis=1), 0.9))


def _half_width(
    cluster: Integers, place: Integers, shares: Doubles, draws: int, generator: np.random.Generator
) -> float:
    """Return what 90 % of the draws of whole clusters differ by at most, at the level where they differ most."""
    number, code = np.unique(cluster, return_inverse=True)
    if len(number) < _FEWEST_CLUSTERS:
        return float("inf")
    counts = np.bincount(code * BINS + place, minlength=len(number) * BINS).reshape(len(number), BINS)
    drawn = generator.multinomial(len(number), np.full(len(number), 1 / len(number)), size=draws) @ counts
    sampled = drawn.cumsum(axis=1) / np.maximum(drawn.sum(axis=1, keepdims=True), 1)
    return float(np.quantile((np.abs(sampled - shares.cumsum())[:, :-1] / _DEVIATION).max(axis=1), 0.9))
