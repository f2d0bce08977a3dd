"""Training of the demand forecaster: which rows the boosters learn from and are judged on, in which order.

Here: `train` and its steps. Not here: the boosters themselves (`ml.forecast.boosters`), forecasting with them
(`ml.forecast.boosted`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from ml.forecast.boosted import DemandForecaster
from ml.forecast.boosters import (
    Block,
    Settings,
    best_level_share,
    fit_mean,
    fit_mean_judged,
    fit_sold,
    fit_spread,
    known_levels,
    mixed_mean,
    predict_mean,
    predict_sold,
    predict_spread,
    prior_levels,
    spread_features,
)
from ml.forecast.censoring import SaleSizes, bounds_as_demand, partly_served
from ml.forecast.distribution import SOLD_SHARES, Dependence, Shape, match_sums, sold_kind
from ml.forecast.features import FeatureBuilder, FeaturePlan, History, nameless, static_features
from ml.forecast.new_items import NewItems
from ml.forecast.promotions import PROMOTION, PromotionMemory, remember
from ml.forecast.season import Season, coming, second_opinion, spans_of, waking
from ml.metrics.forecast import randomised_pit
from ml.panel import Frequency, Panel, build_panel, check_items
from ml.schema import Doubles, Flags, Floats, Integers

# Points of the quantile functions that unseen demand is held against: the rarest demand told from none is 1 in 200.
JUDGED_POINTS = 200
# Share of its yearly mean that a series without any demand before its season is taken to have had.
YEAR_FLOOR = 0.1
# One series a million times as large as the others must not decide what is learnt of them: a row weighs at most so
# many times the mean of the lower nine tenths, and where the scale is a guess, for a series that is new or has shown
# few periods, its target is at most so many scales. Elsewhere a season may be hundreds of scales.
MOST_WEIGHT, MOST_SCALES, FEW_PERIODS = 20.0, 30.0, 14


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Unseen (series, origin) pairs and their horizons.

    Attributes:
        rows: series numbers [pairs].
        origins: last column seen [pairs].
        ahead: periods ahead [pairs, horizons]; pairs of one origin share them.
        groups: number of the origin [pairs].
        cold: built as if the series were brand new [pairs].
        anonymous: built without attributes [pairs].
    """

    rows: Integers
    origins: Integers
    ahead: Integers
    groups: Integers
    cold: Flags
    anonymous: Flags


def train(
    demand: pd.DataFrame,
    *,
    freq: str,
    horizon: int,
    items: pd.DataFrame | None = None,
    season_length: int | None = None,
    seed: int = 0,
    settings: Settings | None = None,
) -> DemandForecaster:
    """Fit a forecaster on a panel of demand.

    Args:
        demand: sku, location_id, period_start, demand_units (units a period; NaN or no row = not observed)
            [, is_in_stock: False = demand_units is a lower bound] [, numeric covariates known ahead]
            [, is_open: False = no demand by calendar].
        freq: "D", "W-MON" ... "W-SUN" or "MS".
        horizon: periods to forecast, >= 1.
        items: sku, location_id and static attributes (text or number); a key without demand is a brand-new item.
        season_length: periods of the season; None = 7 days, 52 weeks, 12 months.
        seed: decides every random choice.
        settings: other parameters than the standard ones.

    Returns:
        The fitted forecaster.

    Raises:
        ValueError: for impossible input; the message names the value, its place and the remedy.
    """
    if (
        not isinstance(horizon, int | float | np.integer)
        or not np.isfinite(horizon)
        or int(horizon) != horizon
        or horizon < 1
    ):
        raise ValueError(f"horizon is {horizon!r}: give a whole number of periods, 1 or more")
    chosen = settings if settings is not None else Settings()
    frequency = Frequency.of(freq, season_length)
    if items is not None:
        check_items(items)
    panel = build_panel(demand, frequency, extra_keys=items)
    if not np.isfinite(panel.demand).any():
        raise ValueError("demand_units is missing in every row: give the demand of at least one period")
    return Training(panel, items, int(horizon), seed, chosen).run()


class Training:
    """The steps of one training, in order."""

    def __init__(self, panel: Panel, items: pd.DataFrame | None, horizon: int, seed: int, settings: Settings) -> None:
        self.panel, self.horizon, self.seed, self.settings = panel, horizon, seed, settings
        self.statics, names, codes = static_features(panel.keys, items)
        flags, rare = [], []
        for name, values in panel.covariates.items():
            finite = values[np.isfinite(values)]
            if ((finite == 0.0) | (finite == 1.0)).all():
                flags.append(name)
                if len(finite) and finite.mean() < 0.02:
                    rare.append(name)
        yearly = panel.length >= 2 * panel.frequency.year
        self.plan = FeaturePlan(
            panel.frequency, horizon, list(panel.covariates), flags, rare, yearly, names, codes, YEAR_FLOOR
        )
        observed = panel.demand[np.isfinite(panel.demand)]
        self.counted = bool(len(observed)) and bool((np.abs(observed - np.rint(observed)) < 1e-6).all())
        # The features see the expectation of what a stock-out hid, the distribution is learnt from draws of it.
        self.sizes = SaleSizes.fit(panel, [name for name in flags if name not in rare])
        if self.sizes is None:
            self.panel = panel = bounds_as_demand(panel)
        expected, self.drawn = panel.demand, panel.demand
        known = ~panel.bound
        if self.sizes is not None and panel.bound.any():
            expected, self.drawn = self.sizes.fill(panel, np.random.default_rng([seed, 6]))
            known = known | partly_served(panel)
            if self.counted:
                self.drawn = np.rint(self.drawn)
        self.history = History(dataclasses.replace(panel, demand=expected), known)
        self.usable = self.history.observed

    def run(self) -> DemandForecaster:
        panel, settings = self.panel, self.settings
        split = self._split()
        dependences = [Dependence(0.1, 0.1, 0.5, 0.0)] * len(SOLD_SHARES)
        spread: Any = None
        sold_model: Any = None
        mean_models: list[Any] = []
        level_share = 0.0
        promotions = PromotionMemory()
        if split is not None:
            builder = self._builder(split)
            learn = self.mean_block(builder, split, 1)
            pairs = self._holdout_pairs(split)
            judge, judged = self._pair_block(builder, pairs)
            first, chosen = fit_mean_judged(learn, judge, settings, self.seed)
            booster_mean = predict_mean([first], judge.features, judge.scale, judge.baseline)
            level_share = best_level_share(booster_mean, judge, settings)
            mean = mixed_mean(booster_mean, judge.scale, level_share)
            features = spread_features(self.plan, judge.features, mean, judge.scale)
            sold_model = fit_sold(features, judge.actual, settings, self.seed)
            sold = predict_sold(sold_model, features)
            spread = fit_spread(features, judge.actual, mean / sold, settings, self.seed, sold_model is not None)
            shape = Shape(mean, sold, predict_spread(spread, features, mean / sold))
            dependences = self._dependences_from(shape, judge, judged, pairs)
        prior, prior_model = prior_levels(self.history, self.statics, panel.length, self.seed)
        if split is not None:
            builder = FeatureBuilder(self.history, self.plan, self.statics, prior)
            mean_models = self.mean_models(builder, chosen)
            promotions = self._promotions(builder, mean_models, level_share)
        forecaster = self._forecaster(mean_models, level_share, sold_model, spread, prior_model, dependences)
        builder = FeatureBuilder(self.history, self.plan, self._nameless(), prior)

        def expected(rows: Integers, columns: Integers) -> Doubles:
            return forecaster.cold_mean(builder, rows, columns - 1, np.ones((len(rows), 1), dtype=np.int64))

        seen = known_levels(prior_model, self.statics) / prior
        new_items = NewItems.learn(self.history, self.plan, self.statics, expected, seen)
        season = self._second_opinion(forecaster, prior)
        return dataclasses.replace(forecaster, season=season, promotions=promotions, new_items=new_items)

    def _nameless(self) -> Floats:
        """Return the static features without the item's name, which says nothing of a new one."""
        return nameless(self.plan, self.statics, np.ones(len(self.statics), dtype=bool))

    def _promotions(self, builder: FeatureBuilder, mean_models: list[Any], level_share: float) -> PromotionMemory:
        """Hold what the boosters expect of past promotions against what they sold."""
        generator = np.random.default_rng([self.seed, 7])

        def expected(rows: Integers, columns: Integers) -> tuple[Doubles, Doubles]:
            ahead = np.minimum(generator.integers(1, self.horizon + 1, size=len(rows)), columns + 1)
            built = builder.build(rows, columns - ahead, ahead[:, None])
            mean = predict_mean(mean_models, built.features, built.scale, built.baseline)
            return mixed_mean(mean, built.scale, level_share), built.scale

        return remember(self.history, expected, self.seed, is_rare=PROMOTION in self.plan.rare)

    def _second_opinion(self, forecaster: DemandForecaster, prior: Doubles) -> Season:
        """Hold the forecast of everything against last year; see `ml.forecast.season`."""
        panel = self.panel
        spans = spans_of(panel.frequency)
        if spans is None or panel.length < panel.frequency.year + spans.fewest:
            return Season(first=panel.first + panel.length)
        reach = self.horizon + spans.spare
        history = coming(self.history, reach)
        builder = FeatureBuilder(history, self.plan, self.statics, prior)
        closed = history.panel.closed[:, panel.length :]
        means, wakes = np.zeros((panel.series, reach)), np.zeros(panel.series, dtype=np.int64)
        alive = np.flatnonzero(panel.last_row >= panel.length - panel.frequency.level_window)
        steps = np.arange(1, reach + 1)
        for rows in np.array_split(alive, max(1, len(alive) * reach // 20_000)):
            origins, ahead = np.full(len(rows), panel.length - 1), np.tile(steps, (len(rows), 1))
            _, mean = forecaster.booster_means(builder, rows, origins, ahead)
            means[rows] = np.where(closed[rows], 0.0, mean.reshape(ahead.shape))
            wakes[rows] = waking(history, rows, origins, ahead)[1].reshape(ahead.shape).max(axis=1)
        return second_opinion(history, means, wakes, self.settings.season_trust)

    def _forecaster(
        self,
        mean_models: list[Any],
        level_share: float,
        sold_model: Any,
        spread_model: Any,
        prior_model: Any,
        dependences: list[Dependence],
    ) -> DemandForecaster:
        return DemandForecaster(
            plan=self.plan,
            seed=self.seed,
            counted=self.counted,
            dependences=dependences,
            mean_models=mean_models,
            level_share=level_share,
            sold_model=sold_model,
            spread_model=spread_model,
            prior_model=prior_model,
            keys=self.panel.keys,
            statics=self.statics,
            has_demand=np.asarray(np.isfinite(self.panel.demand).any(axis=1)),
            sizes=self.sizes,
            settings=self.settings,
        )

    def _builder(self, end: int) -> FeatureBuilder:
        prior, _ = prior_levels(self.history, self.statics, end, self.seed)
        return FeatureBuilder(self.history, self.plan, self.statics, prior)

    def _split(self) -> int | None:
        """Return the column where the unseen periods begin; None = too little history to hold any out."""
        length = self.panel.length
        held = max(int(self.settings.holdout_share * length), 1)
        split = length - held
        if split < 4 or int(self.usable[:, split:].sum()) < 40 or int(self.usable[:, :split].sum()) < 40:
            return None
        return split

    def _cells(self, end: int) -> Integers:
        """Return the flat numbers of the cells before column `end` that can be targets."""
        return np.flatnonzero(self.usable[:, :end].reshape(-1)) if end == self.panel.length else self._flat(end)

    def _flat(self, end: int) -> Integers:
        rows, columns = np.nonzero(self.usable[:, :end])
        return np.asarray(rows * self.panel.length + columns, dtype=np.int64)

    def mean_models(self, builder: FeatureBuilder, settings: Settings) -> list[Any]:
        """Fit the boosters of the mean on the whole history, each on a draw of its own."""
        return [
            fit_mean(self.mean_block(builder, self.panel.length, 2, number), settings, self.seed + 1000 * number)
            for number in range(settings.mean_boosters)
        ]

    def mean_block(self, builder: FeatureBuilder, end: int, stream: int, draw: int = 0) -> Block:
        """Draw the rows a booster of the mean learns from.

        Args:
            builder: features.
            end: columns before it may be targets.
            stream: of the generator.
            draw: number of the draw from the stream.
        """
        settings = self.settings
        most = settings.mean_rows
        if not self.plan.rare:
            most = min(most, max(settings.series_rows * self.panel.series, settings.fewest_rows))
        return self._block(builder, self._cells(end), most, [stream, draw])

    def _block(self, builder: FeatureBuilder, cells: Integers, most: int, stream: list[int]) -> Block:
        """Draw target cells evenly and a horizon for each, and build their rows."""
        generator = np.random.default_rng([self.seed, *stream])
        repeats = min(4, max(1, most // max(len(cells), 1)))
        if len(cells) > most:
            cells = cells[np.sort(generator.choice(len(cells), size=most, replace=False, shuffle=False))]
        elif repeats > 1:
            cells = np.repeat(cells, repeats)
        rows, targets = np.divmod(cells, self.panel.length)
        ahead = generator.integers(1, self.horizon + 1, size=len(cells))
        ahead = np.minimum(ahead, targets + 1)
        cold = generator.random(len(cells)) < self.settings.cold_share
        built = builder.build(rows, targets - ahead, ahead[:, None], cold)
        anonymous = generator.random(len(cells)) < self.settings.anonymous_share
        self._forget_attributes(built.features, anonymous)
        actual = self.history.values[rows, targets].astype(np.float64)
        guessed = cold | (self.history.count[rows, targets - ahead + 1] < FEW_PERIODS)
        actual[guessed] = np.minimum(actual[guessed], MOST_SCALES * built.scale[guessed])
        return Block(built.features, actual, built.scale, built.baseline, self._weight(built.scale))

    def _weight(self, scale: Doubles) -> Doubles:
        weight = scale**self.settings.volume_power
        lower = np.sort(weight)[: max(9 * len(weight) // 10, 1)]
        return np.asarray(np.minimum(weight, MOST_WEIGHT * lower.mean()))

    def _forget_attributes(self, features: Floats, rows: Flags) -> None:
        statics = self.statics.shape[1]
        if statics:
            features[rows, features.shape[1] - statics :] = np.nan

    def _holdout_pairs(self, split: int) -> Pairs:
        """Choose unseen (series, origin) pairs; the pairs of one origin share their horizons."""
        generator = np.random.default_rng([self.seed, 3])
        length = self.panel.length
        last = max(split - 1, length - 1 - self.horizon)
        # A horizon longer than what is held out is judged as far as that reaches.
        reach = min(self.horizon, length - 1 - last)
        steps = min(reach, 16)
        origins = np.unique(np.linspace(split - 1, last, num=min(16, last - split + 2)).round().astype(np.int64))
        per_origin = max(1, self.settings.spread_rows // (len(origins) * steps))
        alive = np.flatnonzero(self.usable.any(axis=1))
        rows, starts, ahead, groups = [], [], [], []
        for number, origin in enumerate(origins):
            chosen = alive if len(alive) <= per_origin else np.sort(generator.choice(alive, per_origin, replace=False))
            horizons = np.sort(generator.choice(np.arange(1, reach + 1), size=steps, replace=False))
            rows.append(chosen)
            starts.append(np.full(len(chosen), origin))
            ahead.append(np.tile(horizons, (len(chosen), 1)))
            groups.append(np.full(len(chosen), number))
        blind = generator.random((2, sum(len(part) for part in rows)))
        return Pairs(
            np.concatenate(rows),
            np.concatenate(starts),
            np.concatenate(ahead),
            np.concatenate(groups),
            cold=blind[0] < self.settings.cold_share,
            anonymous=blind[1] < self.settings.anonymous_share,
        )

    def _pair_block(self, builder: FeatureBuilder, pairs: Pairs) -> tuple[Block, Flags]:
        """Build the observed rows of the pairs; the mask says which of pairs x horizons they are."""
        rows, origins, ahead, cold = pairs.rows, pairs.origins, pairs.ahead, pairs.cold
        built = builder.build(rows, origins, ahead, cold)
        self._forget_attributes(built.features, np.repeat(pairs.anonymous, ahead.shape[1]))
        targets = origins[:, None] + ahead
        inside = targets < self.panel.length
        place = np.minimum(targets, self.panel.length - 1)
        known = (inside & self.usable[rows[:, None], place]).reshape(-1)
        actual = self.drawn[rows[:, None], place].reshape(-1)[known].astype(np.float64)
        scale = built.scale[known]
        block = Block(built.features[known], actual, scale, built.baseline[known], self._weight(scale))
        return block, known

    def _dependences_from(self, expected: Shape, judge: Block, judged: Flags, pairs: Pairs) -> list[Dependence]:
        """Estimate the copula of each class of sold share, from where the unseen demand fell in its distribution."""
        from scipy.special import ndtri

        generator = np.random.default_rng([self.seed, 4])
        shape = pairs.ahead.shape
        grid = np.zeros((len(judged), JUDGED_POINTS), dtype=np.float32)
        grid[judged] = expected.grid(JUDGED_POINTS, self.counted)
        ranks = randomised_pit(judge.actual, grid[judged], generator.random(len(judge.actual)))
        scores = np.full(len(judged), np.nan)
        scores[judged] = ndtri(np.clip(ranks, 0.004, 0.996))
        actual = np.full(len(judged), np.nan)
        actual[judged] = judge.actual
        share = np.full(len(judged), np.nan)
        share[judged] = judge.features[:, self.plan.names().index(self.plan.sold_share())]
        kind = sold_kind(np.nanmax(np.where(np.isnan(share), -1.0, share).reshape(shape), axis=1))
        table, amounts = scores.reshape(shape), actual.reshape(shape)
        quantiles = grid.reshape(*shape, JUDGED_POINTS)
        pooled = Dependence.fit(table[~pairs.cold], pairs.ahead[~pairs.cold], pairs.groups[~pairs.cold])
        result = []
        for number in range(len(SOLD_SHARES)):
            inside = np.flatnonzero((kind == number) & ~pairs.cold)
            if len(inside) < 60:
                result.append(pooled)
                continue
            own = Dependence.fit(table[inside], pairs.ahead[inside], pairs.groups[inside])
            some = inside if len(inside) <= 1000 else np.sort(generator.choice(inside, 1000, replace=False))
            result.append(match_sums(own, quantiles[some], pairs.ahead[some], amounts[some], generator))
        return result
