"""A wrong spread fails in every demand class, the right distribution passes: on Poisson and negative binomial truth."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import nbinom, poisson

from ml.backtest import BacktestSetup, Evaluation, evaluate, pit_by_class, verdict
from ml.forecast.base import GridForecaster, PreparedHistory
from ml.metrics import pit_distance
from ml.panel import Frequency, build_panel
from ml.schema import Floats, Integers

SERIES, DAYS, HORIZON = 100, 150, 14
# Mean, and the size of a negative binomial; None = Poisson.
TRUTHS: dict[str, tuple[float, float | None]] = {
    "smooth": (20.0, None),
    "erratic": (20.0, 1.2),
    "intermittent": (0.5, None),
    "lumpy": (0.8, 0.25),
}


def truth(name: str) -> Callable[[Floats], Floats]:
    """Return the quantile function of a class."""
    mean, size = TRUTHS[name]
    frozen = poisson(mean) if size is None else nbinom(size, size / (size + mean))
    return lambda levels: np.asarray(frozen.ppf(levels), dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class Knowing(GridForecaster):
    """Knows the truth of its class, and says its spread so many times too wide."""

    name: str
    spread: float
    kind: str = "knowing"

    def prepare(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> PreparedHistory:
        return KnowingHistory(build_panel(history, Frequency.of("D"), future=future, ahead=HORIZON), self)

    def save(self, folder: object) -> None:
        raise NotImplementedError


class KnowingHistory(PreparedHistory):
    def __init__(self, panel: object, forecaster: Knowing) -> None:
        super().__init__(panel, HORIZON)  # type: ignore[arg-type]
        self.forecaster = forecaster

    def grid(self, rows: Integers, n: int) -> Floats:
        units = truth(self.forecaster.name)((np.arange(n) + 0.5) / n)
        mean = TRUTHS[self.forecaster.name][0]
        said = np.maximum(np.rint(mean + self.forecaster.spread * (units - mean)), 0.0).astype(np.float32)
        return np.broadcast_to(said, (len(rows), HORIZON, n)).copy()


@pytest.fixture(scope="module", params=list(TRUTHS))
def judged(request: pytest.FixtureRequest) -> tuple[str, Evaluation]:
    """A class, and its evaluation by forecasters with the right, half and twice the spread."""
    name = str(request.param)
    chance = np.random.default_rng(0).random((SERIES, DAYS))
    demand = pd.DataFrame(truth(name)(chance), index=[f"p{number:03d}" for number in range(SERIES)])
    demand.columns = pd.date_range("2024-01-01", periods=DAYS)
    long = demand.rename_axis("sku").reset_index().melt("sku", var_name="period_start", value_name="demand_units")
    specs = {
        label: (lambda _demand, spread=spread, **_named: Knowing(name, spread))
        for label, spread in {"right": 1.0, "halved": 0.5, "doubled": 2.0}.items()
    }
    setup = BacktestSetup(freq="D", horizon=HORIZON, windows=4, step=HORIZON, spans=(7,), paths=100)
    return name, evaluate(specs, long.assign(location_id="L"), setup)


def found(judged: tuple[str, Evaluation], spec: str) -> pd.Series:
    name, evaluation = judged
    table = verdict(evaluation, spec, "right", champion=spec).set_index("criterion")
    return table.loc[f"PIT distance of single periods, demand_class {name}, surely"]


def test_the_right_distribution_passes(judged: tuple[str, Evaluation]) -> None:
    row = found(judged, "right")
    assert (row["met"], row["passed"]) == (True, True)
    assert row["ours"] < 0.05


@pytest.mark.parametrize("spec", ["halved", "doubled"])
def test_a_spread_that_is_half_or_twice_the_right_one_fails_and_blocks(
    judged: tuple[str, Evaluation], spec: str
) -> None:
    row = found(judged, spec)
    assert (row["met"], row["blocks"], row["passed"]) == (False, True, False)
    assert row["threshold"] < row["low"] < row["ours"] < row["high"]


@pytest.mark.parametrize("spec", ["halved", "doubled"])
def test_sums_show_a_wrong_spread_and_never_block(judged: tuple[str, Evaluation], spec: str) -> None:
    name, evaluation = judged
    table = verdict(evaluation, spec, "right", champion=spec).set_index("criterion")
    row = table.loc[f"PIT distance of 7-period sums, demand_class {name}, surely"]
    assert row["ours"] > 0.2
    assert (row["blocks"], row["passed"]) == (False, True)


def test_every_class_is_measured_for_every_model_spec(judged: tuple[str, Evaluation]) -> None:
    name, evaluation = judged
    table = pit_by_class(evaluation.pit, ["right", "halved"])
    assert table.loc[table["values"] > 1000, "demand_class"].unique().tolist() == [name]
    assert set(table["model_spec"]) == {"right", "halved"}
    assert set(table["span"]) == {1, 7}


def test_the_same_value_is_placed_alike_for_every_forecaster(judged: tuple[str, Evaluation]) -> None:
    pit = judged[1].pit
    ours, again = (pit.loc[pit["model_spec"] == "right", "pit"].reset_index(drop=True) for _ in range(2))
    assert ours.equals(again)
    cells = pit.groupby("model_spec", observed=True)[["series", "period"]].sum()
    assert (cells == cells.iloc[0]).all(axis=None)


def even(count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) / count


def test_even_values_have_no_distance() -> None:
    series, period = np.divmod(np.arange(10_000), 100)
    one = pit_distance(np.random.default_rng(0).permutation(even(10_000)), series, period)
    assert one.distance < 1e-9
    assert one.low == 0.0
    assert one.shares == pytest.approx(0.05)


def test_the_distance_is_the_largest_gap_between_share_and_level() -> None:
    series, period = np.divmod(np.arange(10_000), 100)
    one = pit_distance(even(10_000) ** 2, series, period)
    # The share up to u is its root: at 0.05 it is 0.2236, and one value varies by sqrt(0.05 * 0.95).
    assert one.distance == pytest.approx((np.sqrt(0.05) - 0.05) / np.sqrt(0.05 * 0.95), abs=1e-3)


def test_the_interval_holds_the_true_distance_where_a_shock_is_shared_by_all_series() -> None:
    # Each day all series lie at nearly the same place: a hundred days are a hundred values, not ten thousand.
    hits = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        day = generator.random(60)
        pit = np.clip(np.tile(day, 50) + generator.normal(0, 0.01, 3000), 0, 1)
        series, period = np.divmod(np.arange(3000), 60)
        hits += pit_distance(pit, series, period, draws=200, seed=seed).low == 0.0
    assert hits >= 34


def test_a_handful_of_values_that_lie_alike_by_chance_are_not_surely_off() -> None:
    one = pit_distance(np.full(6, 0.97), np.arange(6), np.arange(6))
    assert one.distance > 1.0
    many = pit_distance(np.full(600, 0.97), np.arange(600), np.arange(600))
    assert one.low < one.distance - 0.8
    assert many.low > many.distance - 0.2


def test_too_few_series_say_nothing() -> None:
    one = pit_distance(np.full(50, 0.9), np.zeros(50, dtype=int), np.arange(50))
    assert (one.low, one.high) == (0.0, np.inf)


@pytest.mark.parametrize("values", [[], [1.2], [float("nan")]])
def test_values_that_are_no_pit_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        pit_distance(np.array(values), np.zeros(len(values), dtype=int), np.zeros(len(values), dtype=int))
