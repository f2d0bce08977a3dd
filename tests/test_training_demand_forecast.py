"""Training of the demand forecast from the marts of a small home: what is judged, served and explained."""

import dataclasses
import functools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.small_marts import small_home

from ml.backtest.candidates import candidate_members
from ml.forecast import Settings as ForecastSettings
from ml.forecast import load, train
from ml.forecast.base import GridForecaster, PreparedHistory
from ml.forecast.baselines import BaselineForecaster, train_recent
from ml.forecast.ensemble import CombinedForecaster
from ml.forecast.kinds import KINDS, Kind
from ml.panel import Frequency, Panel, build_panel
from ml.schema import Floats, Integers
from ml.tracking import Tracking
from orchestration.defs.assets.models import metadata_of
from orchestration.home.settings import Settings
from orchestration.training.data import read_training_data
from orchestration.training.demand_forecast import _kept_members, train_demand_forecast
from orchestration.training.lifecycle import Trained, Training, When, bring_up_to_date
from serving.store import Store


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return small_home(tmp_path_factory.mktemp("home"), days=56)


@pytest.fixture(scope="module")
def first(home: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    folder = tmp_path_factory.mktemp("model")
    return train_demand_forecast(home, read_training_data(home), folder, None), folder


def test_the_first_training_serves_the_mixture(first: tuple[Trained, Path]) -> None:
    trained, folder = first
    served = load(folder)
    assert trained.verdict["passed"].all()
    assert isinstance(served, CombinedForecaster)
    assert list(served.members) == list(candidate_members())


def test_every_baseline_stands_in_the_verdict_and_only_the_floor_blocks(first: tuple[Trained, Path]) -> None:
    verdict = first[0].verdict.set_index("criterion")
    assert verdict.index[verdict["blocks"]].tolist() == [
        "wrmsse over seasonal_naive, all",
        "pinball over seasonal_naive, all",
        "pinball of 7-day sums over seasonal_naive, all",
    ]
    assert {"wrmsse over recent, all", "pinball over recent, location_id north, surely"} <= set(verdict.index)
    assert "PIT distance of single days, demand_class smooth, surely" in verdict.index
    assert "PIT distance of 7-day sums, demand_class smooth, surely" in verdict.index


def test_figures_of_every_model_spec_are_kept(first: tuple[Trained, Path]) -> None:
    names = set(first[0].metrics)
    assert {"wrmsse", "pinball", "recent_pinball", "xgboost_pinball", "seasonal_naive_wrmsse"} <= names


def test_the_orders_of_the_candidate_are_replayed_and_judged(first: tuple[Trained, Path]) -> None:
    trained, _ = first
    replayed = trained.verdict[trained.verdict["criterion"].str.startswith("orders replayed: cost against recent, all")]
    assert replayed["blocks"].tolist() == [False]
    reported = trained.verdict[trained.verdict["criterion"].str.contains("orders replayed: (?:fill|cycle)")]
    assert reported["value"].between(0, 1).all()
    assert reported["threshold"].isna().all()
    assert reported[["blocks", "passed"]].to_numpy().tolist() == [[False, True]] * 2
    rules = trained.tables["rule_costs"].query("segment == 'all'").set_index("rule")
    assert set(rules.index) == {"minimum order", "packs", "service target"}
    # The home aims at the least cost: that is what holds without a service target, and with the other rules.
    as_it_is = rules.loc["packs", "cost_with_rule"]
    assert rules.loc["service target", "cost_without_rule"] == as_it_is
    assert rules.loc["service target", "cost_with_rule"] != as_it_is
    promises = trained.tables["service_calibration"].set_index("cohort").loc["all"]
    assert promises["cycles"] > 0
    assert 0 < promises["delivered_service"] <= 1
    assert "service_calibration" in trained.figures


def test_contributions_explain_the_coming_forecasts(first: tuple[Trained, Path]) -> None:
    trained, _ = first
    split = trained.tables["contributions"]
    groups = [name for name in split if name.endswith("_units") and name not in ("level_units", "mean_units")]
    assert (split["period_start"] > pd.Timestamp("2024-05-01")).all()
    assert (split["level_units"] + split[groups].sum(axis=1)).to_numpy() == pytest.approx(
        split["mean_units"].to_numpy()
    )
    assert {"contributions_typical", "contributions_worst", "importance"} <= set(trained.figures)
    assert trained.tables["importance"]["group"].iloc[0] == "season"


def test_the_card_says_what_last_year_says(first: tuple[Trained, Path]) -> None:
    card = first[0].model_card
    note = card[card.index("## Season") :].split("##")[1]
    assert "Last year has no effect on the total: the history is shorter than a year and a week." in note
    assert first[0].tables["season"].empty


PICTURES = {
    "pit",
    *("fan_charts", "calibration", "calibration_of_sums", "error_by_lag"),
    *("importance", "contributions_typical", "contributions_worst"),
}


def test_pictures_verdict_card_and_settings_are_in_mlflow_and_in_dagster(
    home: Settings, first: tuple[Trained, Path], registry_url: str, store: Store, tmp_path: Path
) -> None:
    trained, saved = first

    def fit(_settings: Settings, folder: Path, _champion: Path | None, _kept: Path | None) -> Trained:
        shutil.copytree(saved, folder, dirs_exist_ok=True)
        return trained

    outcome = bring_up_to_date(
        Training("demand_forecast", code=[], judge=[], libraries=[], parameters={}, fit=fit),
        home,
        when=When.MISSING,
        data=[],
        tracking=Tracking(registry_url, tmp_path / "artifacts"),
        store=store,
        run_id="run",
    )
    assert outcome.trained is not None
    assert outcome.record is not None
    files = tmp_path / "artifacts" / "demand_forecast" / outcome.trained.run_id / "artifacts"
    assert {path.stem for path in (files / "figures").glob("*.png")} >= PICTURES
    parameters = json.loads((files / "parameters.json").read_text())
    assert (parameters["seed"], parameters["horizon_days"], parameters["xgboost_rounds"]) == (0, 7, 200)
    assert parameters["level_share_chosen"] == load(saved).members["xgboost"].level_share
    card = (files / "model_card.md").read_text()
    assert card.index("## What decided") < card.index(trained.model_card) < card.index("## Verdict")
    table = outcome.record.verdict_table
    assert card.rstrip().endswith(table.to_markdown(index=False))
    stored = json.loads((files / "verdict_table.json").read_text())
    assert (stored["columns"], stored["data"]) == (list(table), table.to_numpy().tolist())
    assert (files / "champion.png").read_bytes() == outcome.record.reason_figure
    criteria = json.loads((files / "verdict.json").read_text())["criteria"]
    assert [row["criterion"] for row in criteria] == trained.verdict["criterion"].tolist()
    metadata = metadata_of(outcome, "http://127.0.0.1:5000")
    assert list(metadata)[:5] == ["note", "what decided", "in words", "verdict", "in MLflow"]
    drawn = ("what decided", *(name.replace("_", " ") for name in PICTURES))
    assert all(str(metadata[name].value).startswith("![plot](data:image/png") for name in drawn)
    assert metadata["verdict"].value == table.to_markdown(index=False)
    page = f"/runs/{outcome.trained.run_id}/artifacts/champion.png)"
    assert str(metadata["in MLflow"].value).startswith("[run and pictures](http://127.0.0.1:5000/")
    assert str(metadata["in MLflow"].value).endswith(page)


def test_prices_promotions_events_and_closed_days_are_learnt_from(first: tuple[Trained, Path]) -> None:
    booster = load(first[1]).members["xgboost"]
    assert booster.plan.covariates == ["is_promotion", "is_event", "unit_price"]


def test_the_model_card_tells_use_data_windows_segments_calibration_and_limits(first: tuple[Trained, Path]) -> None:
    card = first[0].model_card
    for heading in ("Use", "Data", "Model", "Evaluation", "Limits"):
        assert f"\n## {heading}\n" in card
    assert "1,344 days of 24 series of 2 locations, 2024-03-07 to 2024-05-01" in card
    assert "2 rolling windows of 7 days, from 2024-04-03 to 2024-04-24" in card
    assert "| location_id north | 24 |" in card
    assert "| demand_class smooth |" in card
    assert re.search(r"\| smooth \| single days \| \d+ \| 0\.\d{3} \| 0\.\d{3} to 0\.\d{3} \|", card)
    assert "| smooth | sums of 7 days |" in card
    assert "nan" not in card
    assert "seed 0" in card


def test_a_champion_of_another_model_spec_is_beaten_in_every_segment_or_stays(
    home: Settings, first: tuple[Trained, Path], tmp_path: Path
) -> None:
    champion, candidate = tmp_path / "champion", tmp_path / "candidate"
    load(first[1]).members["xgboost"].save(champion)
    judged = train_demand_forecast(home, read_training_data(home), candidate, champion).verdict.set_index("criterion")
    told = ("PIT distance of 7-day sums", "orders replayed: fill rate", "orders replayed: cycle service level")
    assert judged.loc[~judged["blocks"]].index.str.startswith(told).all()
    assert "pinball over xgboost, demand_class smooth, surely" in judged.index
    assert isinstance(load(candidate), CombinedForecaster)


def test_a_kept_model_is_judged_again_and_not_trained(
    home: Settings, first: tuple[Trained, Path], tmp_path: Path
) -> None:
    # Another seed would make another booster.
    other = dataclasses.replace(home, seed=1)
    trained = train_demand_forecast(other, read_training_data(other), tmp_path, None, kept=first[1])
    assert trained.is_kept
    assert trained.metrics != first[0].metrics
    boosters = [next(folder.rglob("*.ubj")).read_bytes() for folder in (first[1], tmp_path)]
    assert boosters[0] == boosters[1]


def test_a_kept_model_that_is_no_candidate_any_more_is_replaced(home: Settings, tmp_path: Path) -> None:
    baseline = tmp_path / "baseline"
    train_recent(pd.DataFrame(), freq="D", horizon=7).save(baseline)
    assert _kept_members(baseline) == {}


@dataclasses.dataclass(frozen=True)
class Clairvoyant(GridForecaster):
    """A forecaster as somebody would add it. This one knows what is sold, and of later days nothing."""

    horizon: int
    coming: dict[str, float]
    kind: str = "clairvoyant"

    def prepare(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> PreparedHistory:
        panel = build_panel(history, Frequency.of("D"), future=future, ahead=self.horizon)
        return ClairvoyantHistory(panel, self.horizon, self.coming)

    def save(self, folder: str | Path) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "clairvoyant.json").write_text(json.dumps({"horizon": self.horizon, "coming": self.coming}))

    @classmethod
    def load(cls, folder: Path) -> "Clairvoyant":
        return cls(**json.loads((folder / "clairvoyant.json").read_text()))


class ClairvoyantHistory(PreparedHistory):
    def __init__(self, panel: Panel, horizon: int, coming: dict[str, float]) -> None:
        super().__init__(panel, horizon)
        self.coming = coming

    def grid(self, rows: Integers, n: int) -> Floats:
        days = self.panel.future_periods(self.horizon)
        units = [
            [self.coming.get(f"{sku} {day:%Y-%m-%d}", 1.0) for day in days] for sku in self.panel.keys["sku"][rows]
        ]
        return np.repeat(np.array(units, dtype=np.float32)[:, :, None], n, axis=2)


def test_a_forecaster_needs_a_module_and_a_line_to_become_champion(
    registry_url: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = small_home(tmp_path / "home", days=56, series=12)
    data = read_training_data(home)
    coming = {f"{row.sku} {row.period_start:%Y-%m-%d}": row.demand_units for row in data.demand.itertuples()}

    def train_clairvoyant(_demand: pd.DataFrame, *, horizon: int, **_more: object) -> Clairvoyant:
        return Clairvoyant(horizon, coming)

    quick = functools.partial(train, settings=ForecastSettings(mean_rows=2_000, spread_rows=1_000, rounds=10))
    monkeypatch.setitem(KINDS, "xgboost", KINDS["xgboost"]._replace(train=quick))
    monkeypatch.setitem(KINDS, "clairvoyant", Kind(train_clairvoyant, Clairvoyant.load, "clairvoyant.json"))
    tracking = Tracking(registry_url, tmp_path / "artifacts")
    outcome = bring_up_to_date(
        Training(
            "demand_forecast",
            code=[],
            judge=[],
            libraries=[],
            parameters={},
            fit=lambda settings, folder, champion, kept: train_demand_forecast(settings, data, folder, champion, kept),
        ),
        home,
        when=When.CHANGED,
        data=[],
        tracking=tracking,
        store=store,
        run_id="run",
    )
    assert outcome.champion is not None
    champion = load(tracking.load_folder(outcome.champion))
    assert isinstance(champion, CombinedForecaster)
    assert {shares["clairvoyant"] for shares in champion.weights.values()} == {1.0}
    assert (champion.predict(data.demand, data.planned)["mean_units"] == 1.0).all()


def test_too_little_history_to_judge_leaves_recent_demand(tmp_path: Path) -> None:
    home = small_home(tmp_path / "home", days=20, series=3)
    trained = train_demand_forecast(home, read_training_data(home), tmp_path / "model", None)
    assert isinstance(load(tmp_path / "model"), BaselineForecaster)
    assert "20 days of history are too few" in trained.verdict["criterion"].iloc[0]


def test_a_candidate_below_the_floor_leaves_recent_demand(tmp_path: Path) -> None:
    # The last week repeats exactly: nothing can beat the seasonal naive.
    home = small_home(tmp_path / "home", days=49, series=6, repeats=True)
    trained = train_demand_forecast(home, read_training_data(home), tmp_path / "model", None)
    assert load(tmp_path / "model") == train_recent(pd.DataFrame(), freq="D", horizon=7)
    assert "wrmsse over seasonal_naive, all" in trained.verdict["criterion"].iloc[0]
    assert trained.verdict["passed"].all()
    failed = trained.verdict.set_index("criterion").loc["candidate: wrmsse over seasonal_naive, all"]
    assert (failed["met"], failed["blocks"]) == (False, True)
    assert "pit" in trained.figures
