"""What is expected of an item that has never sold: the items it is compared with, and the distribution they suggest.

Here: choosing the items, how far their levels lie from what the boosters expect of an unknown item, what days on the
shelf without a sale say, the quantile functions. Not here: the boosters, which know attributes, season and promotions.

Levels of items that sell are skewed, and boosters forecast means: those of the few large ones. The start is therefore
set so that the median of the items that the new one is compared with is met, and how far the others lie from it is its
uncertainty.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ml.forecast.distribution import KNOTS, Dependence, quantile_grid
from ml.forecast.features import FeaturePlan, History
from ml.panel import Frequency
from ml.schema import KEYS, Doubles, Flags, Floats, Integers

# A median of fewer items is left for that of a wider group.
FEWEST_ITEMS = 8
# Equally likely levels that stand for the distribution of the level of a new item.
LEVELS = 10
# Classes of items by level, each with the share of periods that sell and the sizes of sales.
SHAPES, FEWEST_IN_SHAPE = 12, 4
FINE = 200
LEAST_SPREAD = 0.3
# Share of the items at either end that are taken for no larger, or smaller, than the last one before them.
OUTSIDE = 0.05
MOST_CELLS, MOST_ROWS = 20_000_000, 400_000
_ARRAYS = ("around", "levels", "sold", "sizes", "variation")


@dataclasses.dataclass(frozen=True)
class Analogues:
    """Items that a new one is compared with.

    Attributes:
        shared: what they have in common, in words; "" = they are all items.
        items: how many.
        median: the median of their recent levels, units a period.
        log_factor: logarithm of what the forecast of an unknown item has to be multiplied by to meet their median.
    """

    shared: str
    items: int
    median: float
    log_factor: float


@dataclasses.dataclass(frozen=True)
class NewItems:
    """What items that sell say of one that has not sold yet.

    Attributes:
        attributes: text attributes that groups are made by, the widest first.
        groups: values of the first attributes, and the location last where it is shared -> the items.
        around: how far levels lie from what their group suggests: logarithms, equally likely, rising [FINE].
        levels: mean level of each class of items, rising, units a period [shapes].
        sold: share of periods with demand [shapes].
        sizes: quantiles at KNOTS of the demand of periods with demand, over its mean [shapes, knots].
        variation: squared coefficient of variation of the demand of a period [shapes].
    """

    attributes: tuple[str, ...]
    groups: dict[tuple[str, ...], Analogues]
    around: Doubles
    levels: Doubles
    sold: Doubles
    sizes: Doubles
    variation: Doubles

    @classmethod
    def learn(
        cls,
        history: History,
        plan: FeaturePlan,
        statics: Floats,
        expected: Callable[[Integers, Integers], Doubles],
        seen: Doubles,
    ) -> NewItems | None:
        """Learn from the items that sold within the last level window.

        Args:
            history: prefix sums.
            plan: names and codes of the attributes.
            statics: static features [series, columns].
            expected: of series and columns, what is forecast there of an unknown item with their attributes, units a
                period; the level that the attributes suggest is by a model that did not see the item.
            seen: factor by which the model of all items, which new ones meet, suggests other levels [series].

        Returns:
            None where nothing sold.
        """
        panel = history.panel
        width = min(panel.frequency.level_window, panel.length)
        observed = history.observed[:, panel.length - width :]
        demand = np.where(observed, history.values[:, panel.length - width :], 0.0).astype(np.float64)
        count, total = observed.sum(axis=1), demand.sum(axis=1)
        selling = np.flatnonzero((total > 0) & (count >= min(_first_periods(panel.frequency) // 2, width)))
        if not len(selling):
            return None
        selling = selling[:: -(-len(selling) * width // MOST_ROWS)]
        level = total[selling] / count[selling]
        rows, columns = np.nonzero(observed[selling])
        forecast = expected(selling[rows], columns + panel.length - width)
        unseen = np.log(level * count[selling] / np.bincount(rows, forecast))
        attributes = tuple(name for name in plan.statics if name in plan.codes and name not in KEYS)
        values = _values(statics[selling], plan, attributes)
        table = pd.DataFrame({name: values[name] for name in attributes})
        table["location"] = panel.keys["location_id"].astype(str).to_numpy()[selling]
        # Where the middle lies is told by the model that new items meet, how far items lie from it by one that had not
        # seen them.
        table["level"], table["away"], table["unseen"] = level, unseen - np.log(seen[selling]), unseen
        groups = _groups(table, attributes)
        found = [
            _find(groups, [values[name][row] for name in attributes], table["location"].iloc[row])
            for row in range(len(selling))
        ]
        middle = pd.Series(unseen).groupby([like.shared for like in found]).transform("median").to_numpy()
        around = np.quantile(unseen - middle, np.clip((np.arange(FINE) + 0.5) / FINE, OUTSIDE, 1.0 - OUTSIDE))
        if around.std() < LEAST_SPREAD:
            around = LEAST_SPREAD * np.linspace(-1.7, 1.7, FINE)
        # What is added up over items must not exceed what they sold together, the few largest cut.
        suggested = level * np.exp(middle - unseen)
        sold = np.minimum(level, suggested * np.exp(around[-1])).sum()
        lower = min(0.0, float(np.log(sold / (suggested.sum() * np.exp(around).mean()))))
        return cls(attributes, groups, around + lower, *_shapes(demand[selling], observed[selling], level))

    def analogues(self, keys: pd.DataFrame, plan: FeaturePlan, statics: Floats) -> list[Analogues]:
        """Return the items that each new one is compared with: the narrowest group that is large enough.

        Args:
            keys: sku and location_id of the new items.
            plan: names and codes of the attributes.
            statics: static features of the new items [series, columns].
        """
        values = _values(statics, plan, self.attributes)
        locations = keys["location_id"].astype(str).to_numpy()
        return [
            _find(self.groups, [values[name][row] for name in self.attributes], locations[row])
            for row in range(len(keys))
        ]

    def factors(self, usual: Doubles, unsold: Integers) -> Doubles:
        """Return equally likely factors of what the group of a new item suggests [series, LEVELS].

        Args:
            usual: level that its group suggests, units a period [series].
            unsold: periods on the shelf without a sale: they speak for the slower levels [series].
        """
        fine = np.exp(self.around)
        sold = np.minimum(self.sold[self._class_of(usual[:, None] * fine)], 0.99)
        upto = np.cumsum((1.0 - sold) ** unsold[:, None], axis=1)
        wanted = (np.arange(LEVELS) + 0.5) / LEVELS
        places = (upto[:, None, :] < (wanted * upto[:, -1:])[:, :, None]).sum(axis=2)
        return np.asarray(fine[np.minimum(places, FINE - 1)])

    def grid(self, usual: Doubles, factors: Doubles, n: int, counted: bool) -> Floats:
        """Return quantile functions of new items: the mixture over their levels [series, horizon, n].

        Args:
            usual: what the group of each suggests, units a period [series, horizon].
            factors: equally likely factors of it [series, LEVELS].
            n: points.
            counted: whether demand comes in whole units.
        """
        points = -(-n // LEVELS)
        horizon = usual.shape[1]
        result = np.empty((len(usual), horizon, n), dtype=np.float32)
        chosen = np.floor((np.arange(n) + 0.5) * LEVELS * points / n).astype(np.int64)
        block = max(1, MOST_CELLS // (horizon * LEVELS * points))
        for start in range(0, len(usual), block):
            inside = slice(start, start + block)
            mean = np.maximum(usual[inside][:, :, None] * factors[inside][:, None, :], 1e-6).reshape(-1)
            kind = self._class_of(mean)
            # Within a class the share of periods that sell goes with the level.
            sold = np.clip(1.0 - (1.0 - np.minimum(self.sold[kind], 0.999)) ** (mean / self.levels[kind]), 1e-5, 1.0)
            sizes = (self.sizes[kind] * (mean / sold)[:, None]).astype(np.float32)
            parts = quantile_grid(sizes, mean, points, np.full(len(mean), counted), sold)
            mixed = np.sort(parts.reshape(-1, horizon, LEVELS * points), axis=2)
            result[inside] = mixed[:, :, chosen]
        return result

    def dependence(self, median: float, usual: Dependence) -> Dependence:
        """Return how the periods of a new item hang together: whatever its level is, all of them share it."""
        noise = float(np.log1p(self.variation[self._class_of(np.array([median]))[0]]))
        # In steps, so that many items share one.
        variance = float(self.around.var())
        level = min(round(variance / (variance + noise), 1), 0.9)
        level = max(level, usual.level)
        return dataclasses.replace(usual, level=level, wave=max(min(usual.wave, 0.97 - level), 0.0))

    def _class_of(self, levels: Doubles) -> Integers:
        """Return the class whose mean level is nearest, by the logarithm."""
        edges = np.sqrt(self.levels[1:] * self.levels[:-1])
        return np.searchsorted(edges, levels)

    def save(self, path: Path) -> None:
        """Write what was learnt as JSON."""
        document = {
            "attributes": self.attributes,
            "groups": [[list(key), dataclasses.astuple(group)] for key, group in self.groups.items()],
            **{name: getattr(self, name).tolist() for name in _ARRAYS},
        }
        path.write_text(json.dumps(document, indent=1))

    @classmethod
    def load(cls, path: Path) -> NewItems:
        """Read what `save` wrote."""
        document = json.loads(path.read_text())
        groups = {tuple(key): Analogues(*group) for key, group in document["groups"]}
        arrays = [np.asarray(document[name], dtype=np.float64) for name in _ARRAYS]
        return cls(tuple(document["attributes"]), groups, *arrays)


def _first_periods(frequency: Frequency) -> int:
    """Return the periods of about four weeks."""
    return {"D": 28, "MS": 2}.get(frequency.name, 4)


def _groups(table: pd.DataFrame, attributes: tuple[str, ...]) -> dict[tuple[str, ...], Analogues]:
    """Return the items by their first attributes and location, by fewer of them, and all of them."""
    groups: dict[tuple[str, ...], Analogues] = {
        (): Analogues("", len(table), float(table["level"].median()), float(table["away"].median()))
    }
    for shared in range(len(attributes) + 1):
        for by in ([*attributes[:shared], "location"], list(attributes[:shared])):
            for key, inside in table.dropna(subset=by).groupby(by) if by else []:
                if len(inside) < FEWEST_ITEMS:
                    continue
                texts = [str(one) for one in key]
                place = texts.pop() if by[-1] == "location" else None
                words = ", ".join(f"{name} {value}" for name, value in zip(attributes, texts, strict=False))
                said = " ".join(part for part in (words, "" if place is None else f"at {place}") if part)
                middle = float(inside["level"].median()), float(inside["away"].median())
                groups[_key(texts, place)] = Analogues(said, len(inside), *middle)
    return groups


def _key(values: list[str], location: str | None) -> tuple[str, ...]:
    # The location has a mark of its own: a location may be called like a category.
    return (*values, *(() if location is None else (f"@{location}",)))


def _find(groups: dict[tuple[str, ...], Analogues], values: list[str | None], location: str) -> Analogues:
    texts: list[str] = []
    for value in values:
        if value is None:
            break
        texts.append(value)
    for shared in range(len(texts), -1, -1):
        for place in (location, None):
            found = groups.get(_key(texts[:shared], place))
            if found is not None:
                return found
    return groups[()]


def _values(statics: Floats, plan: FeaturePlan, attributes: tuple[str, ...]) -> dict[str, list[str | None]]:
    """Return the texts behind the codes of some attributes; None = not known."""
    result: dict[str, list[str | None]] = {}
    for name in attributes:
        texts = {float(code): text for text, code in plan.codes[name].items()}
        result[name] = [texts.get(float(code)) for code in statics[:, plan.statics.index(name)]]
    return result


def _shapes(demand: Doubles, observed: Flags, level: Doubles) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Return level, share of periods sold, relative sizes and variation of classes of items, the slowest first."""
    order = np.argsort(level, kind="stable")
    classes = np.array_split(order, max(1, min(SHAPES, len(level) // FEWEST_IN_SHAPE)))
    levels, sold, sizes, variation = [], [], [], []
    for rows in classes:
        seen = observed[rows]
        positive = seen & (demand[rows] > 0)
        share = positive.sum(axis=1) / seen.sum(axis=1)
        relative = demand[rows] / level[rows][:, None]
        levels.append(float(np.exp(np.mean(np.log(level[rows])))))
        sold.append(float(share.mean()))
        sizes.append(np.quantile((relative * share[:, None])[positive], KNOTS))
        variation.append(float(np.mean((relative[seen] - 1.0) ** 2)))
    return np.array(levels), np.array(sold), np.array(sizes), np.array(variation)
