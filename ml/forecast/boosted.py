"""The demand forecaster: a global gradient-boosted model with a whole distribution per series and period.

Here: the fitted forecaster and a history laid out for it. Not here: its training (`ml.forecast.training`), features
(`ml.forecast.features`), boosters (`ml.forecast.boosters`), the distribution and its dependence over time
(`ml.forecast.distribution`), its folder (`ml.forecast.storage`).

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
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.forecast import storage
from ml.forecast.base import GridForecaster, PreparedHistory
from ml.forecast.boosters import (
    Settings,
    known_levels,
    mixed_mean,
    predict_mean,
    predict_sold,
    predict_spread,
    spread_features,
)
from ml.forecast.censoring import SaleSizes, bounds_as_demand, partly_served
from ml.forecast.distribution import Dependence, Shape, sold_kind
from ml.forecast.features import FeatureBuilder, FeaturePlan, History, Rows, nameless
from ml.forecast.new_items import Analogues, NewItems
from ml.forecast.promotions import UPLIFT, PromotionMemory, declared_uplift, ordinary, plan_promotions
from ml.forecast.season import Season, waking
from ml.panel import build_panel, covariate_names, repeat_unknown
from ml.schema import KEYS, Doubles, Flags, Floats, Integers

BOOSTER = "xgboost"
COLD_ROWS = 100_000


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
        fields = dataclasses.fields(DemandForecaster)
        storage.write(Path(folder), {field.name: getattr(self, field.name) for field in fields})

    @classmethod
    def load(cls, folder: str | Path) -> DemandForecaster:
        """Read a forecaster that `save` wrote.

        Raises:
            ValueError: if the folder holds none, or one of another format.
        """
        return cls(**storage.read(Path(folder)))


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
        super().__init__(panel if forecaster.sizes is not None else bounds_as_demand(panel), plan.horizon)
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
        demand, known = repeat_unknown(self.panel, demand, known)
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
