"""The network and the classical methods beside the booster, in a small home."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.small_marts import small_home

from ml.backtest import BacktestSetup, evaluate
from ml.forecast.baselines import train_recent, train_seasonal_naive
from ml.forecast.distribution import QUANTILE_COLUMNS
from ml.forecast.kinds import KINDS
from orchestration.training.challengers import challenge, chosen_shares, train_beside_challengers
from orchestration.training.data import read_training_data
from orchestration.warehouse.demand_frames import demand_history


def test_a_home_with_few_series_is_not_challenged(tmp_path: Path) -> None:
    home = small_home(tmp_path, days=56, series=8)
    found = challenge(home, read_training_data(home), [7])
    assert found.verdict.empty
    assert found.tables == {}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    demand = demand_history(small_home(tmp_path_factory.mktemp("home"), days=56, series=12))
    model_specs = {"xgboost": train_recent, "recent": train_recent, "network": train_seasonal_naive}
    return evaluate(
        model_specs, demand, BacktestSetup(freq="D", horizon=7, windows=2, step=7, keep_forecasts=True)
    ).forecasts


def test_a_challenger_that_is_clearly_better_would_be_chosen(tried: pd.DataFrame) -> None:
    better = tried.copy()
    quantiles = list(QUANTILE_COLUMNS)
    is_network = better["model_spec"] == "network"
    better.loc[is_network, quantiles] = np.repeat(better.loc[is_network, ["actual_units"]].to_numpy(), 11, axis=1)
    choice = chosen_shares(better, ["xgboost", "recent", "network"])
    assert choice["network"].eq(1.0).all()
    assert set(choice["demand_class"]) == set(tried["demand_class"])


def test_a_challenger_that_is_no_better_would_not_be_chosen(tried: pd.DataFrame) -> None:
    worse = tried.copy()
    worse.loc[worse["model_spec"] == "network", list(QUANTILE_COLUMNS)] += 100.0
    choice = chosen_shares(worse, ["xgboost", "recent", "network"])
    assert choice["xgboost"].eq(1.0).all()


@pytest.mark.deep
def test_every_challenger_is_told_beside_the_booster_and_none_blocks(tmp_path: Path) -> None:
    home = small_home(tmp_path, days=170, series=44)
    found = challenge(home, read_training_data(home), [7])
    assert set(found.tables["challengers"]["model_spec"]) == set(KINDS)
    assert not found.verdict["blocks"].any()
    assert found.verdict["passed"].all()
    criteria = set(found.verdict["criterion"])
    assert {"44 series: pinball over network, all", "44 series: wrmsse over ets, all"} <= criteria
    assert "44 series: pinball of 7-day sums over tsb, all" in criteria
    assert "44 series: share that challengers would be given on single days, demand_class smooth" in criteria
    assert found.tables["challengers_choice"].drop(columns="demand_class").sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert found.figures["challengers_by_lag"].startswith(b"\x89PNG")


@pytest.mark.deep
def test_the_second_training_tells_of_the_challengers_and_the_first_does_not(tmp_path: Path) -> None:
    home = small_home(tmp_path / "home", days=170, series=44)
    first = train_beside_challengers(home, tmp_path / "first", None)
    second = train_beside_challengers(home, tmp_path / "second", tmp_path / "first")
    assert "challengers" not in first.tables
    assert "challengers" in second.tables
    assert second.verdict["criterion"].str.endswith("wrmsse over network, all").sum() == 1
    assert second.verdict.loc[second.verdict["criterion"].str.contains("network"), "passed"].all()
