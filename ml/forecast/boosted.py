"""The demand forecaster: a global gradient-boosted model with a whole distribution per series and period.

Here: training, predicting, sample paths, saving and loading. Not here: features (`ml.panel`), the distribution and
its dependence over time (`ml.forecast.distribution`), baselines (`ml.forecast.baselines`), evaluation (`ml.backtest`).

How it works. A row is (series, origin, periods ahead). Its target is divided by the recent level of the series, so one
model serves a slow mover and a fast one. Tweedie boosters start from the seasonal level and learn the mean; periods
unseen by a first one say how much of the recent level is mixed in. Two more learn on those periods: how likely any
demand is, and the quantiles of its size. Last year's same periods have a say in the total and wake what sleeps until
its season (`ml.forecast.season`). Together they become one quantile function whose mean is the forecast; a Gaussian
copula over the horizon joins the periods.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.forecast.base import GridForecaster, PreparedHistory
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
from ml.forecast.censoring import SaleSizes, partly_served
from ml.forecast.distribution import SOLD_SHARES, Dependence, Shape, match_sums, sold_kind
from ml.forecast.features import FeatureBuilder, FeaturePlan, History, Rows, nameless, static_features
from ml.forecast.new_items import Analogues, NewItems
from ml.forecast.promotions import (
    PROMOTION,
    UPLIFT,
    PromotionMemory,
    declared_uplift,
    ordinary,
    plan_promotions,
    remember,
)
from ml.forecast.season import Season, coming, season_from, second_opinion, spans_of, waking
from ml.metrics.forecast import randomised_pit
from ml.panel import Frequency, Panel, build_panel, check_items, covariate_names
from ml.schema import KEYS, Doubles, Flags, Floats, Integers

BOOSTER = "xgboost"
FORMAT, READABLE = 3, (1, 2, 3)


# Points of the quantile functions that unseen demand is held against: the rarest demand told from none is 1 in 200.
JUDGED_POINTS = 200
# Share of its yearly mean that a series without any demand before its season is taken to have had.
YEAR_FLOOR = 0.1
# One series a million times as large as the others must not decide what is learnt of them: a row weighs at most so
# many times the mean of the lower nine tenths, and where the scale is a guess, for a series that is new or has shown
# few periods, its target is at most so many scales. Elsewhere a season may be hundreds of scales.
MOST_WEIGHT, MOST_SCALES, FEW_PERIODS = 20.0, 30.0, 14
COLD_ROWS = 100_000


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
        raise ValueError("demand_units is NaN in every row: nothing was observed, give at least one period's demand")
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


@dataclasses.dataclass
class DemandForecaster(GridForecaster):
    """A fitted forecaster. `train` makes it; `save` and `load` keep it.

    Attributes:
        plan: the features.
        seed: of the training.
        counted: whether demand comes in whole units.
        dependences: how periods hang together, for each class of SOLD_SHARES.
        mean_models: boosters of the mean; none = the seasonal level itself.
        sold_model: booster of the probability of any demand, or None (it is in the quantiles).
        spread_model: booster of the quantiles of demand over its mean, given that there is any; or None.
        prior_model: booster of the log level by attributes, or that log level.
        keys: sku and location_id of the series known in training.
        statics: their static features [series, columns].
        has_demand: which of them had any demand row; the others are brand-new items.
        sizes: how large sales are, for periods cut short by an empty shelf; None = too few sales to say.
        settings: parameters of the training.
        level_share: share of the recent level in the mean, the rest is the booster's.
        season: what last year says of the total, and whether series may wake; None = trained without it.
        promotions: what the training saw of promotions.
        new_items: what is expected of items that have not sold yet; None = nothing sold that they could be compared
            with.
    """

    plan: FeaturePlan
    seed: int
    counted: bool
    dependences: list[Dependence]
    mean_models: list[Any]
    sold_model: Any
    spread_model: Any
    prior_model: Any
    keys: pd.DataFrame
    statics: Floats
    has_demand: Flags
    sizes: SaleSizes | None = None
    settings: Settings = dataclasses.field(default_factory=Settings)
    level_share: float = 0.0
    season: Season | None = None
    promotions: PromotionMemory = dataclasses.field(default_factory=PromotionMemory)
    new_items: NewItems | None = None

    @property
    def kind(self) -> str:
        """Its name among the kinds of forecasters."""
        return BOOSTER

    @property
    def horizon(self) -> int:
        """Periods that are forecast."""
        return self.plan.horizon

    def distribution(self, builder: FeatureBuilder, rows: Integers, origins: Integers, ahead: Integers) -> Shape:
        """Return the distributions of (series, origin) pairs at their horizons [pairs * horizons].

        Args:
            builder: features of the history.
            rows: series numbers [pairs].
            origins: last column that may be seen [pairs].
            ahead: periods ahead [pairs, horizons].
        """
        built, booster_mean = self.booster_means(builder, rows, origins, ahead)
        factor, floor = self.seasonal(builder.history, rows, origins, ahead)
        mean = np.maximum(booster_mean * factor, floor)
        features = spread_features(self.plan, built.features, mean, built.scale)
        sold = predict_sold(self.sold_model, features)
        woken = floor > booster_mean * factor
        sold[woken] = np.maximum(sold[woken], -np.expm1(-mean[woken]))
        usual = mean / sold
        knots = predict_spread(self.spread_model, features, usual)
        if woken.any():
            # No row that taught the spread had just woken: the distribution is as wide as one taught by nothing.
            knots[woken] = predict_spread(None, features[woken], usual[woken])
        return Shape(mean, sold, knots)

    def booster_means(
        self, builder: FeatureBuilder, rows: Integers, origins: Integers, ahead: Integers
    ) -> tuple[Rows, Doubles]:
        """Return features and means, units a period, before last year is asked; arguments as `distribution`."""
        built = builder.build(rows, origins, ahead)
        mean = predict_mean(self.mean_models, built.features, built.scale, built.baseline)
        return built, np.maximum(mixed_mean(mean, built.scale, self.level_share), 1e-6)

    def seasonal(self, history: History, rows: Integers, origins: Integers, ahead: Integers) -> tuple[Doubles, Doubles]:
        """Return what last year does to means: a factor by date, and a floor of series that wake, units a period.

        Args:
            history: of the series.
            rows: series numbers [pairs].
            origins: last column that may be seen [pairs].
            ahead: periods ahead [pairs, horizons].
        """
        size = ahead.size
        if self.season is None:
            return np.ones(size), np.zeros(size)
        f, first = self.plan.frequency, history.panel.first
        seen = np.repeat(origins, ahead.shape[1]) + first
        floor, _ = waking(history, rows, origins, ahead)
        return self.season.at(seen, seen + ahead.reshape(-1), f.level_window), floor

    def season_note(self) -> str:
        """Return in words what last year says of the forecast total, how far it is believed, and who wakes."""
        return Season().note(self.plan.frequency) if self.season is None else self.season.note(self.plan.frequency)

    def season_frame(self, seen: pd.Timestamp | None = None) -> pd.DataFrame:
        """Return what last year does to every forecast, a row per period after the last one seen.

        Args:
            seen: start of the last period of the history that is forecast; None = the end of the training data.

        Returns:
            period_start, factor (every mean is multiplied by it), last_year_says (share of the forecast total, -0.38 =
            38 % less), trust (0 ... 1), text (empty where the factor is 1). No rows = last year says nothing.
        """
        return (Season() if self.season is None else self.season).frame(self.plan.frequency, seen)

    def cold_mean(self, builder: FeatureBuilder, rows: Integers, origins: Integers, ahead: Integers) -> Doubles:
        """Return the expected units a period of series as if they were brand new [pairs * horizons].

        Args:
            builder: features of the history.
            rows: series numbers [pairs].
            origins: column of the period before the first that is forecast [pairs].
            ahead: periods ahead [pairs, horizons].
        """
        parts = []
        # What a series did under its own prices and promotions is not known of a new one.
        own = [place for place, name in enumerate(self.plan.names()) if name.startswith(("effect_", "change_"))]
        size = max(1, COLD_ROWS // ahead.shape[1])
        for start in range(0, len(rows), size):
            some = slice(start, start + size)
            built = builder.build(rows[some], origins[some], ahead[some], np.ones(len(rows[some]), dtype=bool))
            built.features[:, own] = np.nan
            booster_mean = predict_mean(self.mean_models, built.features, built.scale, built.baseline)
            parts.append(mixed_mean(booster_mean, built.scale, self.level_share))
        return np.maximum(np.concatenate(parts), 1e-6) if parts else np.zeros(0)

    def prepare(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> BoostedHistory:
        """Lay out a history; arguments as `predict`."""
        return BoostedHistory(self, history, future)

    def save(self, folder: str | Path) -> None:
        """Write the forecaster into a folder, as .ubj, .npz and .json files."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        models: dict[str, Any] = {
            **{f"mean_{number}": model for number, model in enumerate(self.mean_models)},
            "sold": self.sold_model,
            "spread": self.spread_model,
            "prior": self.prior_model,
        }
        boosters = {name: model for name, model in models.items() if model is not None and not isinstance(model, float)}
        for name, model in boosters.items():
            model.save_model(target / f"{name}.ubj")
        np.savez_compressed(
            target / "series.npz",
            sku=self.keys["sku"].astype(str).to_numpy(dtype=str),
            location_id=self.keys["location_id"].astype(str).to_numpy(dtype=str),
            statics=self.statics,
            has_demand=self.has_demand,
        )
        if self.sizes is not None:
            self.sizes.save(target / "sizes.npz")
        if self.new_items is not None:
            self.new_items.save(target / "new_items.json")
        plan = dataclasses.asdict(self.plan)
        document = {
            "format": FORMAT,
            "seed": self.seed,
            "boosters": list(boosters),
            "settings": dataclasses.asdict(self.settings),
            "counted": self.counted,
            "level_share": self.level_share,
            "promotions": dataclasses.asdict(self.promotions),
            "dependences": [dataclasses.asdict(one) for one in self.dependences],
            "prior": self.prior_model if isinstance(self.prior_model, float) else None,
            "whole_number_keys": [key for key in KEYS if pd.api.types.is_integer_dtype(self.keys[key])],
            "plan": plan,
            "season": None if self.season is None else dataclasses.asdict(self.season),
        }
        (target / "forecaster.json").write_text(json.dumps(document, indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: str | Path) -> DemandForecaster:
        """Read a forecaster that `save` wrote.

        Raises:
            ValueError: if the folder holds none, or one of another format.
        """
        return cls(**_read(Path(folder)))


def _read(source: Path) -> dict[str, Any]:
    """Return the fields of a saved forecaster."""
    import xgboost

    path = source / "forecaster.json"
    if not path.is_file():
        raise ValueError(f"{source} holds no forecaster.json: pass the folder that DemandForecaster.save wrote")
    document = json.loads(path.read_text())
    if document.get("format") not in READABLE:
        raise ValueError(f"{path} has format {document.get('format')!r}, this code reads {READABLE}: train again")

    boosters = {}
    for name in document.get("boosters", sorted(file.stem for file in source.glob("*.ubj"))):
        file = source / f"{name}.ubj"
        if not file.is_file():
            raise ValueError(
                f"{source} lacks {file.name}, which {path.name} names: copy the whole folder or train again"
            )
        boosters[name] = xgboost.Booster()
        boosters[name].load_model(file)

    plan = dict(document["plan"])
    plan["frequency"] = Frequency(**{**plan["frequency"], "windows": tuple(plan["frequency"]["windows"])})
    with np.load(source / "series.npz", allow_pickle=False) as arrays:
        keys = pd.DataFrame({key: arrays[key].astype(object) for key in KEYS})
        for key in document["whole_number_keys"]:
            keys[key] = keys[key].astype(np.int64)
        statics, has_demand = arrays["statics"], arrays["has_demand"]
    return {
        "plan": FeaturePlan(**plan),
        "seed": document["seed"],
        "counted": document["counted"],
        "dependences": [Dependence(**one) for one in document["dependences"]],
        "mean_models": [boosters[name] for name in boosters if name.startswith("mean")],
        "sold_model": boosters.get("sold"),
        "spread_model": boosters.get("spread"),
        "prior_model": document["prior"] if document["prior"] is not None else boosters["prior"],
        "keys": keys,
        "statics": statics,
        "has_demand": has_demand,
        "sizes": SaleSizes.load(source / "sizes.npz") if (source / "sizes.npz").is_file() else None,
        "settings": Settings(**{"mean_boosters": 1, **document.get("settings", {})}),
        "level_share": document.get("level_share", 0.0),
        "season": season_from(document.get("season")),
        "promotions": PromotionMemory(**document.get("promotions", {"promotions": None})),
        "new_items": NewItems.load(source / "new_items.json") if (source / "new_items.json").is_file() else None,
    }


class BoostedHistory(PreparedHistory):
    """A history laid out for forecasting from its last period."""

    def __init__(self, forecaster: DemandForecaster, history: pd.DataFrame, future: pd.DataFrame | None) -> None:
        self.forecaster = forecaster
        plan = forecaster.plan
        names = [*plan.covariates, *(["is_open"] if "is_open" in covariate_names(history) else [])]
        names += [UPLIFT] if isinstance(future, pd.DataFrame) and UPLIFT in future.columns else []
        fresh = forecaster.keys[~forecaster.has_demand]
        panel = build_panel(
            history.drop(columns=UPLIFT, errors="ignore"),
            plan.frequency,
            covariates=names,
            future=future,
            ahead=plan.horizon,
            extra_keys=fresh,
        )
        super().__init__(panel, plan.horizon)
        self.promotions = plan_promotions(self.panel, declared_uplift(self.panel), forecaster.promotions)
        last = self.panel.last_row
        self.ended = (last >= 0) & (last < self.panel.length - plan.frequency.level_window)
        self.statics = statics = self._statics(future)
        levels = known_levels(forecaster.prior_model, statics)
        demand, known = self.panel.demand, ~self.panel.bound
        partly = partly_served(self.panel)
        if forecaster.sizes is not None and partly.any():
            demand, _ = forecaster.sizes.fill(self.panel)
            known = known | partly
        self.history = History(dataclasses.replace(self.panel, demand=demand), known)
        self.levels = levels
        # Not sold yet, and not long on the shelf: compared with its like.
        unsold = np.nansum(self.panel.demand, axis=1) == 0
        self.unsold_periods = self.history.count[:, -1].astype(np.int64)
        self.is_new = unsold & (self.unsold_periods < plan.frequency.level_window) & ~self.ended
        if forecaster.new_items is None:
            self.is_new[:] = False
        self.builder = FeatureBuilder(self.history, plan, nameless(plan, statics, self.is_new), levels)

    def dependences(self, rows: Integers) -> list[Dependence]:
        """Return the copula of each of some series."""
        f = self.forecaster.plan.frequency
        last = np.full(len(rows), self.panel.length - 1)
        count = self.history.window(self.history.count, rows, last, f.windows[4])
        sold = self.history.window(self.history.sold, rows, last, f.windows[4])
        found = [self.forecaster.dependences[kind] for kind in sold_kind(sold / np.maximum(count, 1))]
        new_items = self.forecaster.new_items
        if new_items is not None:
            new = np.flatnonzero(self.is_new[rows])
            for place, like in zip(new, self.analogues(rows[new]), strict=True):
                found[place] = new_items.dependence(like.median, found[place])
        return found

    def season_factors(self) -> Doubles:
        """Return what last year multiplies every mean by [horizon]."""
        horizon, season = self.forecaster.horizon, self.forecaster.season
        if season is None:
            return np.ones(horizon)
        seen = np.full(horizon, self.panel.first + self.panel.length - 1)
        return season.at(seen, seen + np.arange(1, horizon + 1), self.forecaster.plan.frequency.level_window)

    def analogues(self, rows: Integers) -> list[Analogues]:
        """Return the items that each of some new series is compared with."""
        new_items, keys = self.forecaster.new_items, self.panel.keys.iloc[rows]
        return [] if new_items is None else new_items.analogues(keys, self.forecaster.plan, self.statics[rows])

    def start(self, rows: Integers) -> tuple[Doubles, Doubles]:
        """Return what their groups suggest of some new series, and equally likely factors of it.

        Returns:
            units a period [series, horizon], and factors [series, levels].
        """
        new_items = self.forecaster.new_items
        if new_items is None or not len(rows):
            return np.zeros((len(rows), self.forecaster.horizon)), np.ones((len(rows), 1))
        origins, ahead = self._ahead(rows)
        cold = self.forecaster.cold_mean(self.builder, rows, origins, ahead).reshape(ahead.shape)
        met = np.exp([like.log_factor for like in self.analogues(rows)])
        last_year, _ = self.forecaster.seasonal(self.history, rows, origins, ahead)
        usual = cold * met[:, None] * self.promotions.factor[rows] * last_year.reshape(ahead.shape)
        return usual, new_items.factors(usual.mean(axis=1), self.unsold_periods[rows])

    def closed(self, rows: Integers) -> Flags:
        """Return the coming periods without demand: closed ones, and all of a series that has ended."""
        return np.asarray(self.panel.closed[rows, self.panel.length :] | self.ended[rows, None])

    def promotion_effects(self, rows: Integers) -> Doubles:
        """Return what planned promotions make of the demand of an ordinary period: a factor [series, horizon]."""
        effects = np.where(self.promotions.learnt[rows], 1.0, self.promotions.factor[rows])
        touched = np.flatnonzero(self.promotions.learnt[rows].any(axis=1))
        if not len(touched):
            return effects
        some = rows[touched]
        calm = copy.copy(self.history)
        calm.panel = dataclasses.replace(self.panel, covariates=ordinary(self.panel, self.promotions.learnt))
        origins, ahead = self._ahead(some)
        with_them, without = (
            self.forecaster.distribution(builder, some, origins, ahead).mean.reshape(ahead.shape)
            for builder in (self.builder, FeatureBuilder(calm, self.forecaster.plan, self.builder.statics, self.levels))
        )
        learnt = self.promotions.learnt[some]
        effects[touched] = np.where(learnt, with_them / without * self.promotions.factor[some], effects[touched])
        return effects

    def _ahead(self, rows: Integers) -> tuple[Integers, Integers]:
        """Return origin and periods ahead of the forecasts of some series [series], [series, horizon]."""
        horizon = self.forecaster.horizon
        return np.full(len(rows), self.panel.length - 1), np.tile(np.arange(1, horizon + 1), (len(rows), 1))

    def _statics(self, future: pd.DataFrame | None) -> Floats:
        """Return the static features of the series: those of the training, else what key and future say of them."""
        forecaster, plan = self.forecaster, self.forecaster.plan
        keys = self.panel.keys
        known = pd.MultiIndex.from_frame(forecaster.keys.astype(str)).get_indexer(
            pd.MultiIndex.from_frame(keys.astype(str))
        )
        result = np.full((len(keys), len(plan.statics)), np.nan, dtype=np.float32)
        result[known >= 0] = forecaster.statics[known[known >= 0]]
        for place, name in enumerate(plan.statics):
            if name in KEYS:
                codes = keys[name].astype("string").map(plan.codes[name])
                result[:, place] = codes.to_numpy(dtype=np.float32, na_value=np.nan)
            elif name in plan.codes and future is not None and name in future.columns and (known < 0).any():
                told = future.drop_duplicates(KEYS).set_index(KEYS)[name].reindex(pd.MultiIndex.from_frame(keys[KEYS]))
                found = told.astype("string").map(plan.codes[name]).to_numpy(dtype=np.float32, na_value=np.nan)
                result[known < 0, place] = found[known < 0]
        return result

    def grid(self, rows: Integers, n: int) -> Floats:
        """Return the quantile functions of some series [series, horizon, n]."""
        forecaster, shape = self.forecaster, (len(rows), self.forecaster.horizon)
        origins, ahead = self._ahead(rows)
        found = forecaster.distribution(self.builder, rows, origins, ahead)
        found = found.times(self.promotions.factor[rows].reshape(-1))
        grid = found.grid(n, forecaster.counted).reshape(*shape, n)
        new = np.flatnonzero(self.is_new[rows])
        if len(new) and forecaster.new_items is not None:
            grid[new] = forecaster.new_items.grid(*self.start(rows[new]), n, forecaster.counted)
        grid[self.closed(rows)] = 0.0
        return grid
