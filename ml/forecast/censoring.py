"""Demand behind a stock-out: what was sold is a lower bound, and the sales of days in stock say what lay above it.

Here: how large a sale is that was at least so large (Kaplan and Meier), and demand with partly served periods filled
in. Periods that began without stock say nothing and stay unobserved: a level is the mean of those that say something.
Not here: models, evaluation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ml.panel import Panel
from ml.schema import Doubles, Flags, Floats, Integers

# A series is read from this many sales on; with fewer it leans on the usual sale of all series.
OWN_SALES, NEAR_SALES = 5.0, 20.0
SIZE_GROUPS, SPREAD_GROUPS, FEWEST_SALES = 6, 4, 200
MOST_SALES, PASSES = 400_000, 3
# Survival falls by this factor from point to point of a table.
STEP = np.exp(-1.0 / 40.0)
# The largest sales were cut short themselves: the mean above the last whole one, over it.
BEYOND = 1.5


def partly_served(panel: Panel) -> Flags:
    """Return the stock-outs in which something was sold.

    A period without stock and without sales says nothing about its demand; one that began with stock and ran out had
    more demand than usual, and leaving it out would make every level too low.
    """
    return np.asarray(panel.bound & (panel.demand > 0))


def bounds_as_demand(panel: Panel) -> Panel:
    """Return a panel in which the sales of a series never seen in stock are its demand, until the last of them.

    Where no sale is known to be whole, bounds are all that is known: no forecast should lie below them.
    """
    whole = np.isfinite(panel.demand) & ~panel.bound
    only_bounds = (panel.bound.any(axis=1) & ~whole.any(axis=1)).reshape(-1, 1)
    sold = np.nan_to_num(panel.demand) > 0
    last_sale = np.where(sold.any(axis=1), panel.length - 1 - sold[:, ::-1].argmax(axis=1), -1)
    until_then = np.arange(panel.length) <= last_sale[:, None]
    return dataclasses.replace(panel, bound=panel.bound & ~(only_bounds & until_then))


@dataclasses.dataclass(frozen=True)
class SaleSizes:
    """How the demand of a period with demand is spread around its usual size, told from whole and cut-off sales.

    The usual size is that of the series' other sales, those near in time counting more, times weekday and flags. Over
    it, sales of series of like size and spread have one survival function: the estimate of Kaplan and Meier (1958,
    J. American Statistical Association 53, p. 457), to which a sale cut off by an empty shelf says "at least". It is
    right where the stock a day begins with does not foresee that day's demand. Sales on both sides of a period are
    read: what is filled in is history, never a forecast.

    Attributes:
        typical_size: of the sales of all series, units.
        typical_spread: squared coefficient of variation of the sales of a series.
        size_edges: between the groups of usual size, units.
        spread_edges: between the groups of squared coefficient of variation.
        flags: covariate -> size of sales with it over that without it.
        ratios: demand over usual size, rising along a row [groups + 1, points]; the last row is that of all series.
        shares: probability of each [groups + 1, points].
    """

    typical_size: float
    typical_spread: float
    size_edges: Doubles
    spread_edges: Doubles
    flags: dict[str, float]
    ratios: Doubles
    shares: Doubles

    @classmethod
    def fit(cls, panel: Panel, flags: list[str]) -> SaleSizes | None:
        """Learn from a panel; None = it holds too few sales.

        Args:
            panel: the demand; at most MOST_SALES of its sales are read, of series evenly spaced.
            flags: covariates that are 0 or 1.
        """
        sold = np.nan_to_num(panel.demand) > 0
        counts = sold.sum(axis=1)
        if int((sold & ~panel.bound).sum()) < FEWEST_SALES:
            return None
        chosen = np.flatnonzero(counts > 0)[:: int(np.ceil(counts.sum() / MOST_SALES))]
        demand = panel.demand[chosen].astype(np.float64)
        means = np.where(sold[chosen], demand, 0.0).sum(axis=1) / counts[chosen]
        typical = float(np.exp(np.log(means).mean()))
        sizes = cls(typical, 1.0, np.zeros(0), np.zeros(0), {}, np.zeros((1, 1)), np.ones((1, 1)))
        whole = ~panel.bound[chosen]
        rows, columns = np.nonzero(sold[chosen])
        exact = whole[rows, columns]
        filled = demand
        for _ in range(PASSES):
            usual, spread = sizes._usual(panel, chosen, filled, whole | (filled > 0), rows, columns)
            factors = {}
            for name in flags:
                on = panel.covariates[name][chosen[rows], columns] == 1
                if int((on & exact).sum()) >= FEWEST_SALES:
                    size = filled[rows, columns]
                    factors[name] = _centre(size, usual, on & exact) / _centre(size, usual, ~on & exact)
            for name, factor in factors.items():
                on = panel.covariates[name][chosen[rows], columns] == 1
                usual = np.where(on, usual * factor / sizes.flags.get(name, 1.0), usual)
            edges = np.quantile(usual, np.arange(1, SIZE_GROUPS) / SIZE_GROUPS)
            turns = np.quantile(spread, np.arange(1, SPREAD_GROUPS) / SPREAD_GROUPS)
            sizes = dataclasses.replace(
                sizes,
                typical_spread=float(spread.mean()),
                size_edges=edges,
                spread_edges=turns,
                flags=factors,
            )
            group = sizes._group(usual, spread)
            ratio = demand[rows, columns] / usual
            tables = [_survival(ratio, exact)]
            for number in range(SIZE_GROUPS * SPREAD_GROUPS):
                inside = group == number
                enough = int((inside & exact).sum()) >= FEWEST_SALES
                tables.insert(number, _survival(ratio[inside], exact[inside]) if enough else tables[-1])
            ratios, shares = _stacked(tables)
            sizes = dataclasses.replace(sizes, ratios=ratios, shares=shares)
            cut = ~exact
            filled = demand.copy()
            filled[rows[cut], columns[cut]] = usual[cut] * sizes._above(group[cut], ratio[cut])
        return sizes

    def fill(self, panel: Panel, generator: np.random.Generator | None = None) -> tuple[Floats, Floats]:
        """Return the demand with every partly served period replaced by its expectation, and by one draw.

        Args:
            panel: the demand.
            generator: source of the draws; None = no draws, the second array is the first.
        """
        expected = panel.demand.copy()
        cut = partly_served(panel)
        chosen = np.flatnonzero(cut.any(axis=1))
        if not len(chosen):
            return expected, expected
        demand, whole = panel.demand[chosen].astype(np.float64), ~panel.bound[chosen]
        rows, columns = np.nonzero(cut[chosen])
        filled = demand.copy()
        for _ in range(PASSES - 1):
            usual, spread = self._usual(panel, chosen, filled, whole | (filled > 0), rows, columns)
            group, ratio = self._group(usual, spread), demand[rows, columns] / usual
            filled[rows, columns] = usual * self._above(group, ratio)
        expected[chosen[rows], columns] = filled[rows, columns]
        if generator is None:
            return expected, expected
        drawn = panel.demand.copy()
        drawn[chosen[rows], columns] = usual * self._draw(group, ratio, generator.random(len(rows)))
        return expected, drawn

    def save(self, path: Path) -> None:
        """Write the tables into an .npz file."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "flags"}
        np.savez_compressed(
            path,
            **arrays,
            flag_names=np.array(list(self.flags), dtype=str),
            flag_factors=np.array(list(self.flags.values()), dtype=np.float64),
        )

    @classmethod
    def load(cls, path: Path) -> SaleSizes:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            flags = dict(zip(arrays["flag_names"].tolist(), arrays["flag_factors"].tolist(), strict=True))
            names = [field.name for field in dataclasses.fields(cls) if field.name != "flags"]
            return cls(flags=flags, **{name: arrays[name] for name in names})

    def _usual(
        self, panel: Panel, series: Integers, filled: Doubles, known: Flags, rows: Integers, columns: Integers
    ) -> tuple[Doubles, Doubles]:
        """Return the usual size of some sales and the squared variation of their series, both without the sale itself.

        Args:
            panel: the demand.
            series: which of its series are asked.
            filled: their demand, cut-off sales filled in [series, periods].
            known: cells that say something [series, periods].
            rows: places in `series`.
            columns: periods.
        """
        sold = known & (np.nan_to_num(filled) > 0)
        values = np.where(sold, filled, 0.0)
        count, total, square = sold.sum(axis=1), values.sum(axis=1), np.square(values).sum(axis=1)
        own = values[rows, columns]
        others = count[rows] - 1.0
        mean = (total[rows] - own + OWN_SALES * self.typical_size) / (others + OWN_SALES)
        plain = (total[rows] - own) / np.maximum(others, 1)
        variation = np.maximum((square[rows] - own**2) / np.maximum(others, 1) - plain**2, 0.0)
        variation = np.minimum(variation / np.maximum(plain, 1e-9) ** 2, 10.0)
        weight = np.minimum(others, 100.0)
        strength = 2.0 * OWN_SALES
        spread = (weight * variation + strength * self.typical_spread) / (weight + strength)
        half = panel.frequency.level_window // 2
        first, last = np.maximum(columns - half, 0), np.minimum(columns + half + 1, panel.length)
        sums = np.zeros((len(series), panel.length + 1))
        counts = np.zeros((len(series), panel.length + 1), dtype=np.int32)
        np.cumsum(values, axis=1, out=sums[:, 1:])
        np.cumsum(sold, axis=1, out=counts[:, 1:])
        near_total = sums[rows, last] - sums[rows, first] - own
        near_count = counts[rows, last] - counts[rows, first] - 1.0
        usual = (near_total + NEAR_SALES * mean) / (near_count + NEAR_SALES)
        season = panel.frequency.season
        if season > 1:
            phase = columns % season
            table = np.stack([values[:, k::season].sum(axis=1) for k in range(season)], axis=1)
            often = np.stack([sold[:, k::season].sum(axis=1) for k in range(season)], axis=1)
            usual *= (table[rows, phase] - own + NEAR_SALES * mean) / ((often[rows, phase] - 1.0 + NEAR_SALES) * mean)
        for name, factor in self.flags.items():
            usual[panel.covariates[name][series[rows], columns] == 1] *= factor
        return np.maximum(usual, 1e-9), spread

    def _group(self, usual: Doubles, spread: Doubles) -> Integers:
        return np.asarray(
            np.searchsorted(self.size_edges, usual) * SPREAD_GROUPS + np.searchsorted(self.spread_edges, spread),
            dtype=np.int64,
        )

    def _tables(self, group: Integers) -> Iterator[tuple[Integers, Doubles, Doubles]]:
        for number in np.unique(group):
            some = self.shares[number] > 0
            yield np.flatnonzero(group == number), self.ratios[number][some], self.shares[number][some]

    def _above(self, group: Integers, ratio: Doubles) -> Doubles:
        """Return the mean demand over usual size, given that it is at least `ratio`."""
        result = np.empty(len(ratio))
        for inside, ratios, shares in self._tables(group):
            mass = np.cumsum(shares[::-1])[::-1]
            moment = np.cumsum((shares * ratios)[::-1])[::-1]
            place = np.minimum(np.searchsorted(ratios, ratio[inside]), len(ratios) - 1)
            result[inside] = np.maximum(moment[place] / mass[place], ratio[inside])
        return result

    def _draw(self, group: Integers, ratio: Doubles, uniform: Doubles) -> Doubles:
        """Return one draw of demand over usual size, given that it is at least `ratio`."""
        result = np.empty(len(ratio))
        for inside, ratios, shares in self._tables(group):
            upto = np.cumsum(shares)
            place = np.minimum(np.searchsorted(ratios, ratio[inside]), len(ratios) - 1)
            before = upto[place] - shares[place]
            chosen = np.searchsorted(upto, before + uniform[inside] * (1.0 - before))
            result[inside] = np.maximum(ratios[np.minimum(chosen, len(ratios) - 1)], ratio[inside])
        return result


def _centre(size: Doubles, usual: Doubles, inside: Flags) -> float:
    return float(size[inside].sum() / max(float(usual[inside].sum()), 1e-9))


def _survival(ratio: Doubles, exact: Flags) -> tuple[Doubles, Doubles]:
    """Return values and their probabilities by the estimate of Kaplan and Meier, neighbours joined to a short table."""
    order = np.argsort(ratio, kind="stable")
    values, first = np.unique(ratio[order], return_index=True)
    ended = np.add.reduceat(exact[order].astype(np.float64), first)
    survival = np.cumprod(1.0 - ended / (len(ratio) - first))
    share = np.concatenate([[1.0], survival[:-1]]) - survival
    bins = np.floor(np.log(np.maximum(survival + share, 1e-9)) / np.log(STEP)).astype(np.int64)
    _, starts = np.unique(bins, return_index=True)
    mass = np.add.reduceat(share, starts)
    mean = np.add.reduceat(share * values, starts) / np.maximum(mass, 1e-300)
    kept = mass > 0
    mean, mass, rest = mean[kept], mass[kept], float(survival[-1])
    return (np.append(mean, BEYOND * values[-1]), np.append(mass, rest)) if rest > 1e-12 else (mean, mass)


def _stacked(tables: list[tuple[Doubles, Doubles]]) -> tuple[Doubles, Doubles]:
    """Return tables as rows of two matrices; short ones end in their last value, with no probability left."""
    width = max(len(values) for values, _ in tables)
    ratios = np.stack([np.append(values, np.full(width - len(values), values[-1])) for values, _ in tables])
    shares = np.stack([np.append(mass, np.zeros(width - len(mass))) for _, mass in tables])
    return ratios, shares
