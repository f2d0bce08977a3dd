"""The deep-learning challenger: one compact Keras network for all series, with the interface of the booster.

Here: a convolution over the recent past of a series beside the same features the booster sees, giving mean and
quantiles. Not here: features, paths, censoring, evaluation: those are the booster's own.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.forecast.boosted import DemandForecaster
from ml.forecast.boosters import Block, Settings, prior_levels
from ml.forecast.distribution import KNOTS, SOLD_SHARES, Dependence, Shape
from ml.forecast.features import FeatureBuilder
from ml.forecast.promotions import PromotionMemory, count_promotions
from ml.forecast.training import Pairs, Training
from ml.panel import Frequency, build_panel, check_items
from ml.schema import Doubles, Floats, Integers

NETWORK, BATCH = "network", 1024


@dataclasses.dataclass
class NeuralForecaster(DemandForecaster):
    """A fitted network; everything but `distribution` is the booster's.

    Attributes:
        network: Keras model of (past [rows, lookback, 2], features [rows, features]) -> raw mean and quantile steps.
        centre: mean of each feature, subtracted first [features].
        spread: standard deviation of each feature [features].
        lookback: periods of the past that the network reads.
    """

    network: Any = None
    centre: Floats = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    spread: Floats = dataclasses.field(default_factory=lambda: np.ones(0, dtype=np.float32))
    lookback: int = 56

    @property
    def kind(self) -> str:
        """Its name among the kinds of forecasters."""
        return NETWORK

    def distribution(self, builder: FeatureBuilder, rows: Integers, origins: Integers, ahead: Integers) -> Shape:
        """Return the distributions as `DemandForecaster.distribution`."""
        built = builder.build(rows, origins, ahead)
        past = past_window(builder, rows, origins, built.scale[:: ahead.shape[1]], self.lookback)
        past = np.repeat(past, ahead.shape[1], axis=0)
        raw = self._raw(past, _standard(built.features, self.centre, self.spread))
        mean = np.exp(np.clip(raw[:, 0].astype(np.float64), -8.0, 4.0)) * built.baseline
        steps = np.logaddexp(0.0, raw[:, 1:].astype(np.float64) - 1.0)
        return Shape(mean, np.ones(len(mean)), (np.cumsum(steps, axis=1) * built.baseline[:, None]).astype(np.float32))

    def _raw(self, past: Floats, features: Floats) -> Floats:
        parts = [
            np.asarray(self.network([past[start : start + 16_384], features[start : start + 16_384]], training=False))
            for start in range(0, len(features), 16_384)
        ]
        return np.concatenate(parts).astype(np.float32)

    def save(self, folder: str | Path) -> None:
        """Write the forecaster into a folder, as .keras, .npz, .json (and .ubj for the level of new items)."""
        super().save(folder)
        target = Path(folder)
        self.network.save(target / "network.keras")
        np.savez_compressed(target / "scaling.npz", centre=self.centre, spread=self.spread)
        (target / "network.json").write_text(json.dumps({"lookback": self.lookback}))

    @classmethod
    def load(cls, folder: str | Path) -> NeuralForecaster:
        """Read a forecaster that `save` wrote; errors as `ml.forecast.load`."""
        import keras

        source = Path(folder)
        base = DemandForecaster.load(source)
        with np.load(source / "scaling.npz", allow_pickle=False) as arrays:
            centre, spread = arrays["centre"], arrays["spread"]
        return cls(
            **{field.name: getattr(base, field.name) for field in dataclasses.fields(base)},
            network=keras.models.load_model(source / "network.keras", compile=False, safe_mode=True),
            centre=centre,
            spread=spread,
            lookback=int(json.loads((source / "network.json").read_text())["lookback"]),
        )


def train_neural(
    demand: pd.DataFrame,
    *,
    freq: str,
    horizon: int,
    items: pd.DataFrame | None = None,
    season_length: int | None = None,
    seed: int = 0,
    rows: int = 60_000,
    epochs: int = 8,
) -> NeuralForecaster:
    """Fit the network; arguments as `ml.forecast.train`.

    Args:
        demand: the panel.
        freq: period length.
        horizon: periods ahead.
        items: static attributes.
        season_length: periods of the season.
        seed: decides every random choice.
        rows: training rows.
        epochs: passes over them.

    Raises:
        ValueError: as `ml.forecast.train`, or when there is too little history for a network.
    """
    if items is not None:
        check_items(items)
    panel = build_panel(demand, Frequency.of(freq, season_length), extra_keys=items)
    settings = Settings(mean_rows=rows, spread_rows=rows // 3)
    return _NeuralTraining(panel, items, int(horizon), seed, settings).fit(epochs)


class _NeuralTraining(Training):
    """Training of the network on all periods, and of the dependence on the last ones."""

    def fit(self, epochs: int) -> NeuralForecaster:
        split = self._split()
        if split is None:
            raise ValueError(
                f"demand has {int(self.usable.sum())} observed periods, too few for a network: use ml.forecast.train"
            )
        lookback = {"D": 8 * self.panel.frequency.season, "MS": 24}.get(self.panel.frequency.name, 26)
        builder = self._builder(split)
        first = self._network(builder, self._cells(split), lookback, epochs)
        pairs = self._holdout_pairs(split)
        dependences = self._dependences_of(first, builder, pairs)
        prior, prior_model = prior_levels(self.history, self.statics, self.panel.length, self.seed)
        builder = FeatureBuilder(self.history, self.plan, self.statics, prior)
        final = self._network(builder, self._cells(self.panel.length), lookback, epochs)
        return dataclasses.replace(
            final,
            dependences=dependences,
            prior_model=prior_model,
            promotions=PromotionMemory(count_promotions(self.history)),
        )

    def _network(self, builder: FeatureBuilder, cells: Integers, lookback: int, epochs: int) -> NeuralForecaster:
        import keras

        block, rows, origins = self._drawn_rows(builder, cells)
        centre = np.nan_to_num(np.nanmean(np.where(np.isfinite(block.features), block.features, np.nan), axis=0))
        spread = np.nan_to_num(np.nanstd(np.where(np.isfinite(block.features), block.features, np.nan), axis=0))
        spread = np.where(spread > 1e-6, spread, 1.0).astype(np.float32)
        features = _standard(block.features, centre.astype(np.float32), spread)
        past = past_window(builder, rows, origins, block.scale, lookback)
        target = (block.actual / block.baseline).astype(np.float32)[:, None]
        weight = np.sqrt(block.scale)
        keras.utils.set_random_seed(self.seed)
        network = _build_network(lookback, features.shape[1], self.panel.frequency.season)
        steps = max(1, epochs * -(-len(target) // BATCH))
        rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
        network.compile(optimizer=keras.optimizers.Adam(rate, clipnorm=1.0), loss=_loss)
        network.fit(
            [past, features],
            target,
            sample_weight=(weight / weight.mean()).astype(np.float32),
            batch_size=BATCH,
            epochs=epochs,
            verbose=0,
        )
        base = self._forecaster([], 0.0, None, None, 0.0, [Dependence(0.1, 0.1, 0.5, 0.0)] * len(SOLD_SHARES))
        return NeuralForecaster(
            **{field.name: getattr(base, field.name) for field in dataclasses.fields(base)},
            network=network,
            centre=centre.astype(np.float32),
            spread=spread,
            lookback=lookback,
        )

    def _drawn_rows(self, builder: FeatureBuilder, cells: Integers) -> tuple[Block, Integers, Integers]:
        """Draw target cells and horizons as the booster's training does, and keep where each row starts."""
        generator = np.random.default_rng([self.seed, 7])
        size = min(self.settings.mean_rows, 4 * len(cells))
        cells = np.sort(generator.choice(cells, size=size, replace=size > len(cells), shuffle=False))
        rows, targets = np.divmod(cells, self.panel.length)
        ahead = np.minimum(generator.integers(1, self.horizon + 1, size=size), targets + 1)
        cold = generator.random(size) < self.settings.cold_share
        built = builder.build(rows, targets - ahead, ahead[:, None], cold)
        actual = self.history.values[rows, targets].astype(np.float64)
        return Block(built.features, actual, built.scale, built.baseline, np.ones(size)), rows, targets - ahead

    def _dependences_of(self, model: NeuralForecaster, builder: FeatureBuilder, pairs: Pairs) -> list[Dependence]:
        block, judged = self._pair_block(builder, pairs)
        shape = model.distribution(builder, pairs.rows, pairs.origins, pairs.ahead)
        seen = Shape(shape.mean[judged], shape.sold[judged], shape.knots[judged])
        return self._dependences_from(seen, block, judged, pairs)


def past_window(builder: FeatureBuilder, rows: Integers, origins: Integers, scale: Doubles, lookback: int) -> Floats:
    """Return the last `lookback` periods over their scale, and whether each was observed [pairs, lookback, 2]."""
    columns = origins[:, None] - np.arange(lookback - 1, -1, -1)[None, :]
    values = builder.history.at(rows[:, None], columns) / scale[:, None]
    known = np.isfinite(values)
    return np.stack([np.log1p(np.where(known, values, 0.0)), known], axis=2).astype(np.float32)


def _standard(features: Floats, centre: Floats, spread: Floats) -> Floats:
    return np.asarray(np.nan_to_num(np.clip((features - centre) / spread, -6.0, 6.0)), dtype=np.float32)


def _build_network(lookback: int, features: int, season: int) -> Any:
    import keras
    from keras import layers

    past = keras.Input((lookback, 2))
    known = keras.Input((features,))
    wave = layers.Conv1D(24, max(season, 4), padding="causal", activation="relu")(past)
    wave = layers.Conv1D(24, 4, strides=2, activation="relu")(wave)
    memory = layers.Concatenate()([layers.GlobalAveragePooling1D()(wave), layers.GlobalMaxPooling1D()(wave)])
    joined = layers.Concatenate()([layers.Dense(32, activation="relu")(memory), known])
    hidden = layers.Dense(96, activation="relu")(joined)
    hidden = layers.Dense(64, activation="relu")(hidden)
    return keras.Model([past, known], layers.Dense(1 + len(KNOTS), kernel_initializer="zeros")(hidden))


def _loss(actual: Any, raw: Any) -> Any:
    """Return Poisson deviance of the mean plus mean pinball loss of the quantiles, both over the seasonal level."""
    import tensorflow as tf

    log_mean = tf.clip_by_value(raw[:, :1], -8.0, 4.0)
    deviance = tf.exp(log_mean) - actual * log_mean
    quantiles = tf.cumsum(tf.nn.softplus(raw[:, 1:] - 1.0), axis=1)
    error = actual - quantiles
    levels = tf.constant(np.asarray(KNOTS, dtype=np.float32))[None, :]
    pinball = tf.reduce_mean(tf.maximum(levels * error, (levels - 1.0) * error), axis=1)
    return deviance[:, 0] * 0.3 + 2.0 * pinball
