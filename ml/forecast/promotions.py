"""Planned promotions: the factor somebody declared, else what past promotions taught, else nothing at all.

Here: what training saw of promotions, laying out the planned ones, and the factor of the mean on their days. Not here:
the effect itself, which the boosters learn from the covariates, and words about it (`ml.forecast.notes`).

A declared factor stands for the whole promotion: the boosters then forecast an ordinary day at the usual price, and
their mean is multiplied. So nothing counts twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from ml.forecast.features import History
from ml.panel import Panel
from ml.schema import Doubles, Flags, Floats, Integers

PROMOTION, PRICE, UPLIFT = "is_promotion", "unit_price", "expected_uplift"
# Fewer past promotions than these teach nothing that orders should follow.
FEWEST_PROMOTIONS = 5
MOST_ROWS = 20_000


@dataclasses.dataclass(frozen=True)
class PromotionMemory:
    """What training saw of promotions.

    Attributes:
        promotions: past ones with observed demand: runs of days of one series; None = their number was not kept.
        missed: factor by which their demand exceeded what the boosters learnt of it; 1 = nothing was missed.
    """

    promotions: int | None = 0
    missed: float = 1.0

    @property
    def is_learnt(self) -> bool:
        """Whether there were enough of them to forecast others by."""
        return self.promotions is None or self.promotions >= FEWEST_PROMOTIONS


def past_promotions(history: History) -> tuple[Integers, Integers, Integers]:
    """Return series, column and number of the promotion of each observed day of a promotion."""
    values = history.panel.covariates.get(PROMOTION)
    if values is None:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, nothing
    on = values[:, : history.panel.length] == 1
    begins = on & ~np.pad(on, ((0, 0), (1, 0)))[:, :-1]
    rows, columns = np.nonzero(on & history.observed)
    runs = np.cumsum(begins.reshape(-1))[rows * on.shape[1] + columns]
    return rows.astype(np.int64), columns.astype(np.int64), np.unique(runs, return_inverse=True)[1].astype(np.int64)


def count_promotions(history: History) -> int:
    """Return how many promotions with observed demand there were."""
    runs = past_promotions(history)[2]
    return int(runs.max()) + 1 if len(runs) else 0


def missed_factor(actual: Doubles, expected: Doubles, scale: Doubles, runs: Integers) -> float:
    """Return the factor that brings what was expected of past promotions to what they sold, shrunk towards one.

    The ratio of the sums over all promotions, its error by leaving out one promotion at a time (Quenouille 1956,
    Biometrika 43, p. 353), and a garrote: what is not beyond twice its error is one (Breiman 1995, Technometrics 37,
    p. 373).

    Args:
        actual: demand of the days of promotions, units [days].
        expected: of the boosters, units [days].
        scale: recent level of the series, units a period [days].
        runs: number of the promotion, 0 ... [days].
    """
    weight = 1.0 / np.sqrt(scale)
    sold, thought = (np.bincount(runs, one * weight) for one in (actual, expected))
    if len(sold) < FEWEST_PROMOTIONS or sold.sum() <= 0 or (sold.sum() - sold).min() <= 0:
        return 1.0
    logs = np.log(sold.sum() / thought.sum())
    without = np.log((sold.sum() - sold) / (thought.sum() - thought))
    count = len(sold)
    error = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    return float(np.exp(logs * max(0.0, 1.0 - (2.0 * error / logs) ** 2))) if logs else 1.0


def remember(
    history: History, expected: Callable[[Integers, Integers], tuple[Doubles, Doubles]], seed: int, *, is_rare: bool
) -> PromotionMemory:
    """Return what there is to know of past promotions.

    Args:
        history: prefix sums.
        expected: of series and columns, what the boosters expect there and the level of the series, units a period.
        seed: decides which days are looked at where there are many.
        is_rare: promotions are so rare that the boosters, which shrink what few rows say, may have missed a part.
    """
    rows, columns, runs = past_promotions(history)
    count = count_promotions(history)
    if not is_rare or count < FEWEST_PROMOTIONS:
        return PromotionMemory(count)
    if len(rows) > MOST_ROWS:
        some = np.sort(np.random.default_rng([seed, 8]).choice(len(rows), MOST_ROWS, replace=False))
        rows, columns, runs = rows[some], columns[some], np.unique(runs[some], return_inverse=True)[1]
    mean, scale = expected(rows, columns)
    return PromotionMemory(count, missed_factor(history.values[rows, columns].astype(np.float64), mean, scale, runs))


@dataclasses.dataclass(frozen=True)
class Planned:
    """The promotions of the coming periods.

    Attributes:
        promoted: days of a promotion, or with a declared factor [series, ahead].
        declared: factor of usual demand that was declared; NaN = none [series, ahead].
        factor: what the mean of the boosters is multiplied by [series, ahead].
        learnt: days whose effect the boosters know [series, ahead].
    """

    promoted: Flags
    declared: Doubles
    factor: Doubles
    learnt: Flags


def declared_uplift(panel: Panel) -> Doubles:
    """Take the declared factors of the coming periods out of the covariates [series, ahead].

    Raises:
        ValueError: a factor is not above zero; the message names it and its place.
    """
    values = panel.covariates.pop(UPLIFT, None)
    if values is None:
        return np.full((panel.series, panel.ahead), np.nan)
    factors = values[:, panel.length :].astype(np.float64)
    if (factors <= 0).any():
        row, column = (int(one) for one in np.argwhere(factors <= 0)[0])
        key, period = panel.keys.iloc[row], panel.future_periods(panel.ahead)[column]
        raise ValueError(
            f"future.{UPLIFT} is {factors[row, column]:g} for sku {key['sku']!r}, location {key['location_id']!r}, "
            f"{period:%Y-%m-%d}: give the factor of usual demand, above 0, as in 1.8"
        )
    return factors


def plan_promotions(panel: Panel, declared: Doubles, memory: PromotionMemory) -> Planned:
    """Lay out the planned promotions; the covariates of days that the boosters shall not know become ordinary ones.

    Args:
        panel: history and future; changed in place.
        declared: as `declared_uplift`.
        memory: of the training.
    """
    flags = panel.covariates.get(PROMOTION)
    promoted = np.isfinite(declared)
    if flags is not None:
        promoted = promoted | (flags[:, panel.length :] == 1)
    learnt = promoted & ~np.isfinite(declared) & memory.is_learnt
    factor = np.where(np.isfinite(declared), declared, np.where(learnt, memory.missed, 1.0))
    planned = Planned(promoted, declared, factor, learnt)
    panel.covariates.update(ordinary(panel, promoted & ~learnt))
    return planned


def ordinary(panel: Panel, days: Flags) -> dict[str, Floats]:
    """Return the covariates of a panel with some coming days made ordinary: no promotion, at the usual price.

    Args:
        panel: history and future.
        days: those days [series, ahead].
    """
    result = dict(panel.covariates)
    flags, prices = panel.covariates.get(PROMOTION), panel.covariates.get(PRICE)
    wide = np.zeros((panel.series, panel.length + panel.ahead), dtype=bool)
    wide[:, panel.length :] = days
    if flags is not None:
        result[PROMOTION] = np.where(wide & (flags == 1), np.float32(0.0), flags)
    if prices is not None and days.any():
        usual = np.where(wide if flags is None else wide | (flags == 1), np.float32(np.nan), prices)
        filled = pd.DataFrame(usual.T).ffill().to_numpy().T
        result[PRICE] = np.where(wide & np.isfinite(filled), filled, prices).astype(np.float32)
    return result
