"""The boosters of the demand forecaster: the level of unknown items, the mean, whether anything sells, its dispersion.

Here: their parameters, fitting them on rows of features and asking them. Not here: which rows they learn from
(`ml.forecast.training`), the forecaster made of them (`ml.forecast.boosted`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ml.forecast.distribution import KNOTS
from ml.forecast.features import FeaturePlan, History
from ml.schema import Doubles, Floats

FEWEST_SALES = 200
BALANCE_ROUNDS = 4
# A Newton step under a logarithm overshoots by far where a leaf's actual is many times its forecast: largest step.
BALANCE_STEP = 0.3
BINS, BINNED_ROWS = 128, 20_000
# Best in fewer rounds than these, the booster of the mean is fitted again in steps so many times as small.
FEW_ROUNDS, FINER = 80, 2
LEVEL_SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Parameters of the training, all in one place.

    Attributes:
        mean_boosters: boosters of the mean, each on rows and horizons drawn anew; their mean is the forecast, which
            chance then decides less.
        mean_rows: most rows each of them is trained on; drawn evenly by the seed.
        series_rows: most of them a series, where no rare event must be learnt: days of one series resemble each other.
        fewest_rows: rows that a few long series may give all the same.
        spread_rows: most rows the quantile booster is trained on.
        rounds: most boosting rounds of the mean, before they are made finer; unseen periods choose the number.
        patience: rounds without gain on unseen periods after which it stops.
        learning_rate: of the mean boosters.
        depth: of its trees.
        tweedie_power: variance power of the mean objective, between 1 (Poisson) and 2 (gamma).
        volume_power: a row weighs scale ** volume_power; 0 = every series alike, 1 = every unit alike.
        spread_rounds: boosting rounds of each quantile.
        spread_rate: learning rate of the quantiles.
        spread_depth: depth of the quantile trees.
        cold_share: share of rows built as if the series were brand new.
        anonymous_share: share of rows without attributes, so that a series the training never met is forecast well.
        holdout_share: last share of the periods that teaches the spread and the number of rounds.
        season_trust: how far last year is believed about the total where only one year was seen, 0 ... 1; 1 = the
            trade is known to be seasonal. Two years tell it themselves.
    """

    mean_boosters: int = 2
    mean_rows: int = 240_000
    series_rows: int = 250
    fewest_rows: int = 15_000
    spread_rows: int = 80_000
    rounds: int = 200
    patience: int = 15
    learning_rate: float = 0.1
    depth: int = 6
    tweedie_power: float = 1.3
    volume_power: float = 1.0
    spread_rounds: int = 50
    spread_rate: float = 0.15
    spread_depth: int = 4
    cold_share: float = 0.04
    anonymous_share: float = 0.08
    holdout_share: float = 0.35
    season_trust: float = 0.85


@dataclasses.dataclass(frozen=True)
class Block:
    """Training rows: features, scaled target, weight, where the booster starts."""

    features: Floats
    actual: Doubles
    scale: Doubles
    baseline: Doubles
    weight: Doubles


def prior_levels(history: History, statics: Floats, end: int, seed: int) -> tuple[Doubles, Any]:
    """Return the level that the attributes of each series suggest, and the model that says so.

    Each series is judged by a model that did not see it (three folds), so that training meets the same error that a
    brand-new item will.

    Args:
        history: prefix sums.
        statics: static features [series, columns].
        end: columns before it may be seen.
        seed: decides the folds.

    Returns:
        units a period, > 0 [series]; and a booster of log level, or the log level itself where there is nothing to
        learn from.
    """
    import xgboost

    count = history.count[:, end].astype(np.float64)
    level = history.total[:, end] / np.maximum(count, 1)
    known = (count > 0) & (level > 0)
    usual = float(np.median(level[known])) if known.any() else 1.0
    logs = np.log(np.maximum(level, 0.02 * usual))
    usable = count > 0
    if statics.shape[1] == 0 or int(usable.sum()) < 30:
        centre = float(logs[usable].mean()) if usable.any() else 0.0
        return np.full(len(level), np.exp(centre)), centre
    parameters = {"objective": "reg:squarederror", "max_depth": 4, "eta": 0.15, "lambda": 3.0, "seed": seed}
    rounds = 40
    folds = np.random.default_rng([seed, 5]).integers(0, 3, size=len(level))
    result = np.empty(len(level))
    weight = np.minimum(count, 60.0)
    for fold in range(3):
        learn = usable & (folds != fold)
        matrix = xgboost.DMatrix(statics[learn], logs[learn], weight=weight[learn])
        model = xgboost.train(parameters, matrix, rounds)
        result[folds == fold] = model.inplace_predict(statics[folds == fold])
    whole = xgboost.train(parameters, xgboost.DMatrix(statics[usable], logs[usable], weight=weight[usable]), rounds)
    result[~usable] = whole.inplace_predict(statics[~usable]) if (~usable).any() else 0.0
    return np.exp(result), whole


def known_levels(prior_model: Any, statics: Floats) -> Doubles:
    """Return the level that the attributes suggest, by the model of `prior_levels`, units a period, > 0 [series]."""
    if isinstance(prior_model, float):
        return np.full(len(statics), np.exp(prior_model))
    return np.asarray(np.exp(np.asarray(prior_model.inplace_predict(statics), dtype=np.float64)))


def fit_mean(block: Block, settings: Settings, seed: int) -> Any:
    """Fit the booster of the mean, in as many rounds as the settings say."""
    import xgboost

    matrix = _matrix(block)
    return _balanced(xgboost.train(_mean_parameters(settings, seed), matrix, settings.rounds), matrix, seed)


def fit_mean_judged(block: Block, judge: Block, settings: Settings, seed: int) -> tuple[Any, Settings]:
    """Fit the booster of the mean in the number of rounds that is best on unseen rows.

    Where few rounds are best, chance decides much of each tree: smaller steps then average over more of them
    (Friedman 2001, Annals of Statistics 29, p. 1203).

    Args:
        block: rows to learn from.
        judge: unseen rows.
        settings: of the training; its rounds are the most there may be.
        seed: of the booster.

    Returns:
        The booster, and the settings with the rounds and the learning rate that were best.
    """
    import xgboost

    matrix = _matrix(block)
    unseen = _matrix(judge, reference=matrix)
    rate, finer = settings.learning_rate, 1
    while True:
        booster = xgboost.train(
            _mean_parameters(settings, seed) | {"eta": rate},
            matrix,
            settings.rounds * finer,
            evals=[(unseen, "unseen")],
            early_stopping_rounds=settings.patience * finer,
            verbose_eval=False,
        )
        best = min(max(int(booster.best_iteration) + 1, 10), booster.num_boosted_rounds())
        if finer > 1 or best >= FEW_ROUNDS or settings.rounds <= FEW_ROUNDS:
            chosen = dataclasses.replace(settings, rounds=best, learning_rate=rate)
            return _balanced(booster[:best], matrix, seed), chosen
        rate, finer = rate / FINER, FINER


def _mean_parameters(settings: Settings, seed: int) -> dict[str, Any]:
    return {
        "objective": "reg:tweedie",
        "tweedie_variance_power": settings.tweedie_power,
        "eval_metric": f"tweedie-nloglik@{settings.tweedie_power}",
        "eta": settings.learning_rate,
        "max_depth": settings.depth,
        "min_child_weight": 20.0,
        "subsample": 0.8,
        "colsample_bynode": 0.6,
        "lambda": 2.0,
        "max_bin": BINS,
        "tree_method": "hist",
        "base_score": 1.0,
        "seed": seed,
    }


def best_level_share(mean: Doubles, judge: Block, settings: Settings) -> float:
    """Return the share of the recent level in the mean that has the least Tweedie deviance on unseen rows.

    A booster of a short history reads more into the last periods than the next ones bear out; the mean of two
    forecasts that err differently errs less than either (Bates and Granger 1969, Operational Research Quarterly 20,
    p. 451).

    Args:
        mean: of the booster, units a period [rows].
        judge: the unseen rows.
        settings: of the training.
    """
    power, actual = settings.tweedie_power, judge.actual / judge.scale

    def deviance(share: float) -> float:
        forecast = np.maximum(mixed_mean(mean, judge.scale, share) / judge.scale, 1e-6)
        losses = forecast ** (2.0 - power) / (2.0 - power) - actual * forecast ** (1.0 - power) / (1.0 - power)
        return float(np.average(losses, weights=judge.weight))

    return min(LEVEL_SHARES, key=deviance)


def mixed_mean(mean: Doubles, level: Doubles, level_share: float) -> Doubles:
    """Return the mean of a booster and of the recent level, `level_share` of it the level's, units a period [rows]."""
    return (1.0 - level_share) * mean + level_share * level


def _balanced(booster: Any, matrix: Any, seed: int) -> Any:
    """Return the booster with a few broad trees added that give each part of the training rows its actual total.

    Boosting stopped early under a logarithm leaves demand that is rarely above zero a tenth too low; a Poisson leaf
    without shrinkage has forecast total = actual total (Denuit, Charpentier and Trufin 2021, Insurance: Mathematics
    and Economics 101, p. 485).
    """
    total = float(np.sum(matrix.get_label() * matrix.get_weight()))
    booster.set_param(
        {
            "objective": "count:poisson",
            "max_delta_step": BALANCE_STEP,
            "eta": 0.7,
            "max_depth": 3,
            "lambda": 0.0,
            "subsample": 1.0,
            "colsample_bynode": 1.0,
            "min_child_weight": max(total / 25.0, 1e-6),
        }
    )
    first = booster.num_boosted_rounds()
    for number in range(BALANCE_ROUNDS):
        booster.update(matrix, first + number)
    return booster


def _matrix(block: Block, reference: Any = None) -> Any:
    import xgboost

    weight = block.weight / block.weight.mean()
    if reference is None:
        # Where the bins end is told well enough by some of the rows, and that is half the time of a matrix.
        step = max(1, len(weight) // BINNED_ROWS)
        reference = xgboost.QuantileDMatrix(block.features[::step], weight=weight[::step], max_bin=BINS)
    return xgboost.QuantileDMatrix(
        block.features,
        label=block.actual / block.scale,
        weight=weight,
        base_margin=np.log(block.baseline / block.scale),
        max_bin=BINS,
        ref=reference,
    )


def predict_mean(models: list[Any], features: Floats, scale: Doubles, baseline: Doubles) -> Doubles:
    """Return the expected units a period [rows], the mean of the boosters; without any, the seasonal level."""
    if not models:
        return baseline
    margin = np.log(baseline / scale).astype(np.float32)
    parts = [np.asarray(model.inplace_predict(features, base_margin=margin), dtype=np.float64) for model in models]
    return np.asarray(np.mean(parts, axis=0) * scale)


SPREAD_COLUMNS = (
    "horizon",
    "size",
    "variation",
    "since_sale",
    "age",
    "weekday",
    "phase",
    "season_index",
    "time_of_year",
)


def spread_features(plan: FeaturePlan, features: Floats, mean: Doubles, scale: Doubles) -> Floats:
    """Return the columns that decide the shape of the distribution, with the mean in units among them."""
    names = plan.names()
    f = plan.frequency
    wanted = {*SPREAD_COLUMNS, f"sold_{f.windows[2]}", f"sold_{f.windows[4]}", f"mean_{f.windows[1]}"}
    wanted |= {f"covariate_{name}" for name in plan.covariates if name not in plan.rare}
    wanted |= {f"near_{name}" for name in plan.rare}
    kept = [place for place, name in enumerate(names) if name in wanted or name.startswith("static_")]
    logs = np.log(np.maximum(mean, 1e-6))
    return np.column_stack([features[:, kept], logs, logs - np.log(scale)]).astype(np.float32)


def fit_sold(features: Floats, actual: Doubles, settings: Settings, seed: int) -> Any:
    """Fit the probability of any demand; None where nearly every period has some, or too few have."""
    import xgboost

    sold = actual > 0
    if sold.mean() > 0.98 or int(sold.sum()) < FEWEST_SALES:
        return None
    parameters = {
        "objective": "binary:logistic",
        "base_score": float(sold.mean()),
        "eta": settings.spread_rate,
        "max_depth": settings.spread_depth,
        "min_child_weight": 10.0,
        "lambda": 1.0,
        "max_bin": 64,
        "tree_method": "hist",
        "seed": seed,
    }
    matrix = xgboost.QuantileDMatrix(features, label=sold, max_bin=64)
    return xgboost.train(parameters, matrix, settings.spread_rounds)


def predict_sold(model: Any, features: Floats) -> Doubles:
    """Return the probability of any demand [rows]; one where no model tells it apart from its size."""
    if model is None:
        return np.ones(len(features))
    return np.maximum(np.asarray(model.inplace_predict(features), dtype=np.float64), 1e-5)


def fit_spread(
    features: Floats, actual: Doubles, usual: Doubles, settings: Settings, seed: int, sold_only: bool
) -> Any:
    """Fit the quantiles of actual / usual at KNOTS on rows that the model of the mean had not seen.

    Args:
        features: of the rows, as `spread_features`.
        actual: units a period [rows].
        usual: expected units a period, given demand if `sold_only` [rows].
        settings: of the training.
        seed: of the booster.
        sold_only: learn from periods with demand alone.
    """
    import xgboost

    if sold_only:
        sold = actual > 0
        features, actual, usual = features[sold], actual[sold], usual[sold]
    weight = np.sqrt(np.maximum(usual, 1e-6))
    matrix = xgboost.QuantileDMatrix(
        features, label=actual / np.maximum(usual, 1e-6), weight=weight / weight.mean(), max_bin=64
    )
    parameters = {
        "objective": "reg:quantileerror",
        "quantile_alpha": np.asarray(KNOTS),
        "eta": settings.spread_rate,
        "max_depth": settings.spread_depth,
        "min_child_weight": 30.0,
        "lambda": 1.0,
        "max_bin": 64,
        "tree_method": "hist",
        "seed": seed,
    }
    return xgboost.train(parameters, matrix, settings.spread_rounds)


def predict_spread(model: Any, features: Floats, usual: Doubles) -> Floats:
    """Return quantiles at KNOTS, units a period [rows, knots]; `usual` as in `fit_spread`."""
    if model is not None:
        ratios = np.asarray(model.inplace_predict(features), dtype=np.float32)
        return np.asarray(ratios * usual[:, None].astype(np.float32))
    from scipy.stats import gamma

    # Nothing to learn from: a gamma as wide as a Poisson count plus half the mean.
    safe = np.maximum(usual, 1e-6)[:, None]
    variance = safe + (0.5 * safe) ** 2
    return np.asarray(gamma.ppf(np.asarray(KNOTS), a=safe**2 / variance, scale=variance / safe), dtype=np.float32)
