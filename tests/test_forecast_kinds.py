import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.backtest import BacktestSetup, evaluate
from ml.backtest.candidates import BASELINE, candidates_beside
from ml.backtest.gate import verdict
from ml.forecast import load
from ml.forecast.base import GridForecaster, PreparedHistory
from ml.forecast.baselines import RECENT, SEASONAL_NAIVE, BaselineForecaster, train_recent
from ml.forecast.ensemble import CLASSES, CombinedForecaster
from ml.forecast.kinds import KINDS, Kind
from ml.forecast.notes import forecast_notes
from ml.panel import Frequency, build_panel


@pytest.fixture(scope="module")
def demand():
    days = pd.date_range("2024-01-01", periods=60)
    generator = np.random.default_rng(0)
    units = {sku: generator.poisson(rate, 60).astype(float) for sku, rate in (("a", 4.0), ("b", 9.0))}
    return pd.concat(
        [
            pd.DataFrame({"sku": sku, "location_id": "x", "period_start": days, "demand_units": one})
            for sku, one in units.items()
        ],
        ignore_index=True,
    )


@pytest.mark.parametrize("name", [SEASONAL_NAIVE, RECENT, "ets", "theta", "croston_sba", "tsb"])
def test_every_light_kind_is_read_as_what_was_saved(demand, tmp_path, name):
    fitted = KINDS[name].train(demand, freq="D", horizon=3)
    fitted.save(tmp_path)
    again = load(tmp_path)
    assert (type(again), again.kind) == (type(fitted), name)
    pd.testing.assert_frame_equal(again.predict(demand), fitted.predict(demand))


FREQUENCY = {
    "name": "D",
    "season": 7,
    "year": 364,
    "windows": [7, 14, 28, 56, 91, 182, 364],
    "level_window": 56,
    "lags": 2,
    "cycles": 2,
}


def write_old(folder, **document):
    folder.mkdir(parents=True)
    (folder / "baseline.json").write_text(json.dumps({"frequency": FREQUENCY, "horizon": 3, "seed": 0, **document}))


def test_a_baseline_written_before_there_were_kinds_is_read(demand, tmp_path):
    write_old(tmp_path / "old", kind="recent")
    expected = train_recent(demand, freq="D", horizon=3).predict(demand)
    pd.testing.assert_frame_equal(load(tmp_path / "old").predict(demand), expected)


def test_a_combination_written_before_there_were_kinds_is_read(demand, tmp_path):
    for kind in ("recent", "seasonal_naive"):
        write_old(tmp_path / kind, kind=kind)
    weights = {one: {"recent": 0.5, "seasonal_naive": 0.5} for one in CLASSES}
    document = {"format": 1, "members": ["recent", "seasonal_naive"], "weights": weights}
    (tmp_path / "combination.json").write_text(json.dumps(document))
    members = {kind: BaselineForecaster(kind, Frequency.of("D"), 3) for kind in document["members"]}
    expected = CombinedForecaster(members, weights).predict(demand)
    pd.testing.assert_frame_equal(load(tmp_path).predict(demand), expected)


def test_a_folder_of_an_unknown_kind_is_refused(tmp_path):
    write_old(tmp_path / "old", kind="oracle")
    with pytest.raises(ValueError, match=r"none of .* of a known kind.*the kinds are xgboost"):
        load(tmp_path / "old")


@dataclasses.dataclass(frozen=True)
class Yesterday(GridForecaster):
    """A challenger as somebody would add it: the last period for all that follow."""

    horizon: int
    kind: str = "yesterday"

    def prepare(self, history, future=None):
        return YesterdayHistory(
            build_panel(history, Frequency.of("D"), future=future, ahead=self.horizon), self.horizon
        )

    def save(self, folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "yesterday.json").write_text(json.dumps({"horizon": self.horizon}))

    @classmethod
    def load(cls, folder):
        return cls(**json.loads((folder / "yesterday.json").read_text()))


class YesterdayHistory(PreparedHistory):
    def grid(self, rows, n):
        last = np.nan_to_num(self.panel.demand[rows, -1])
        return np.broadcast_to(last[:, None, None], (len(rows), self.horizon, n)).astype(np.float32)


def train_yesterday(demand, *, freq, horizon, items=None, season_length=None, seed=0):
    return Yesterday(horizon)


@pytest.fixture
def yesterday(monkeypatch):
    monkeypatch.setitem(KINDS, "yesterday", Kind(train_yesterday, Yesterday.load, "yesterday.json"))


def test_a_challenger_that_is_champion_is_refitted_and_judged_beside_the_candidate(demand, yesterday, tmp_path):
    Yesterday(3).save(tmp_path)
    compared = candidates_beside(load(tmp_path))
    assert (compared.champion, compared.specs["yesterday"]) == ("yesterday", train_yesterday)
    specs = {name: compared.specs[name] for name in (RECENT, BASELINE, compared.champion)}
    evaluation = evaluate(specs, demand, BacktestSetup(freq="D", horizon=3, windows=2, step=3))
    judged = verdict(evaluation, RECENT, BASELINE, champion=compared.champion)
    assert judged["criterion"].str.contains("over yesterday, all").any()


def test_a_challenger_can_be_mixed_with_others_and_saved_with_them(demand, yesterday, tmp_path):
    members = {RECENT: train_recent(demand, freq="D", horizon=3), "yesterday": Yesterday(3)}
    mixed = CombinedForecaster(members, {one: {RECENT: 0.5, "yesterday": 0.5} for one in CLASSES})
    mixed.save(tmp_path)
    pd.testing.assert_frame_equal(load(tmp_path).predict(demand), mixed.predict(demand))


def test_there_is_nothing_to_say_of_a_challengers_forecasts_but_what_is_declared(demand, yesterday):
    days = pd.date_range("2024-03-01", periods=3)
    future = pd.DataFrame({"sku": "a", "location_id": "x", "period_start": days})
    assert forecast_notes(Yesterday(3), demand, future).empty
    assert Yesterday(3).season_frame().empty
