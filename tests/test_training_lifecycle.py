"""The life cycle of a model: trained when needed, promoted when it passes, never twice on the same."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import duckdb
import grimp
import pandas as pd
import pytest
from click.testing import CliRunner

from ml.forecast.baselines import train_recent
from ml.metrics import Criterion, verdict_frame
from ml.tracking import Tracking
from orchestration.cli.main import cli
from orchestration.home.fingerprints import code_fingerprint, code_version
from orchestration.home.provenance import LOCK
from orchestration.home.settings import Settings
from orchestration.training.challengers import DEMAND_FORECAST
from orchestration.training.lifecycle import (
    Headline,
    NoChampion,
    NothingToLearn,
    Outcome,
    Trained,
    Training,
    When,
    bring_up_to_date,
    champion_of,
    failed_gates,
    headlines,
    pinned_models,
    repair_champion,
    roll_back,
)
from orchestration.training.product_photos import PRODUCT_PHOTOS
from orchestration.training.stock_anomalies import STOCK_ANOMALIES
from serving.store import Store

MODEL = "demand_forecast"


@dataclass
class Home:
    folder: Path
    tracking: Tracking
    store: Store
    seed: int = 0
    code: str = "ml/forecast/baselines.py"
    judge: str = "ml/backtest/gate.py"
    stand_in: str = ""
    kept: list[Path | None] = dataclasses.field(default_factory=list)

    def learn_from(self, value: int, rows: int = 1) -> None:
        duckdb.sql(
            f"copy (select {value} as value from range({rows})) to '{self.folder / 'data.parquet'}' (format parquet)"
        )

    def train(self, when: When, fit: Callable[[Path, Path | None], Trained], day: str = "2024-01-30") -> Outcome:
        def noting_what_is_kept(_settings: Settings, folder: Path, champion: Path | None, kept: Path | None) -> Trained:
            self.kept.append(kept)
            return dataclasses.replace(fit(folder, champion), is_kept=kept is not None)

        training = Training(
            MODEL,
            code=[self.code],
            judge=[self.judge],
            libraries=["numpy"],
            parameters={},
            fit=noting_what_is_kept,
            stand_in=self.stand_in,
        )
        return bring_up_to_date(
            training,
            Settings(self.folder, self.folder, "", "", "", seed=self.seed),
            when=when,
            data=[self.folder / "data.parquet"],
            tracking=self.tracking,
            store=self.store,
            run_id="run",
            tags={"as_of": day},
        )


@pytest.fixture
def home(tmp_path: Path, registry_url: str, store: Store) -> Home:
    made = Home(tmp_path, Tracking(registry_url, str(tmp_path / "artifacts")), store)
    made.learn_from(1)
    return made


def criterion(value: float, *, blocks: bool = True) -> Criterion:
    return Criterion(
        "WRMSSE",
        value,
        1.0,
        "at most 1",
        blocks,
        competitor="naive",
        ours=value,
        theirs=1.0,
        low=0.9,
        high=1.1,
        name="wrmsse",
    )


def fitted(folder: Path, *, passed: bool) -> Trained:
    days = pd.date_range("2024-01-01", periods=30)
    demand = pd.DataFrame({"sku": "a", "location_id": "L", "period_start": days, "demand_units": 1.0})
    forecaster = train_recent(demand, freq="D", horizon=3)
    forecaster.save(folder)
    return Trained(
        verdict=verdict_frame([criterion(2.0 - passed)]),
        metrics={"wrmsse": 1.0},
        headline=Headline("WRMSSE", 1.0, 2.0, "naive"),
        model_card="A test.",
        input_example=demand,
        output_example=forecaster.predict(demand),
    )


def good(folder: Path, _champion: Path | None) -> Trained:
    return fitted(folder, passed=True)


def bad(folder: Path, _champion: Path | None) -> Trained:
    return fitted(folder, passed=False)


def nothing(_folder: Path, _champion: Path | None) -> Trained:
    raise NothingToLearn("2 rows are too few")


def test_a_model_without_champion_is_trained_and_promoted(home: Home) -> None:
    outcome = home.train(When.MISSING, good)
    assert outcome.champion is not None
    assert outcome.champion.version == "1"
    assert pinned_models(home.tracking)[MODEL]["version"] == "1"


def test_a_training_keeps_what_is_needed_to_make_it_again(home: Home) -> None:
    version = home.train(When.MISSING, good).trained
    assert version is not None
    run = home.tracking._client.get_run(version.run_id)
    files = home.folder / "artifacts" / MODEL / version.run_id / "artifacts"
    environment = json.loads((files / "environment.json").read_text())
    assert (files / LOCK.name).read_bytes() == LOCK.read_bytes()
    assert environment["lock_sha256"] == hashlib.sha256(LOCK.read_bytes()).hexdigest()
    assert environment["packages"]["xgboost"] == metadata.version("xgboost")
    assert run.data.params == {"seed": "0"}
    tags = run.data.tags
    assert tags["data_fingerprint"] == version.data_fingerprint
    assert tags["environment.code_version"] == code_version()
    assert (tags["as_of"], tags["dagster_run_id"]) == ("2024-01-30", "run")


def test_a_model_with_champion_is_not_trained_by_the_daily_job_whatever_the_data(home: Home) -> None:
    home.train(When.MISSING, good)
    home.learn_from(2)
    outcome = home.train(When.MISSING, good)
    assert outcome.trained is None
    assert "nothing trained" in outcome.note


def test_the_weekly_job_trains_on_changed_data_alone(home: Home) -> None:
    home.train(When.MISSING, good)
    assert home.train(When.CHANGED, good).trained is None
    home.learn_from(2)
    assert home.train(When.CHANGED, good).trained is not None
    assert home.tracking.training_runs(MODEL) == 2


def test_a_changed_package_of_the_model_trains_again(home: Home) -> None:
    home.train(When.MISSING, good)
    home.code = "ml/forecast"
    assert home.train(When.CHANGED, good).note == "version 2 is champion"
    assert home.train(When.CHANGED, good).trained is None
    assert home.kept == [None, None]


def test_a_changed_judge_alone_judges_again_and_trains_nothing(home: Home) -> None:
    home.train(When.MISSING, good)
    home.judge = "ml/backtest"
    assert home.train(When.CHANGED, good).note == "version 2, which is version 1 judged again, is champion"
    assert home.train(When.CHANGED, good).trained is None
    assert [kept and (kept / "baseline.json").is_file() for kept in home.kept] == [None, True]


def test_what_a_changed_judge_refuses_does_not_replace_the_champion(home: Home) -> None:
    home.train(When.MISSING, good)
    home.judge = "ml/backtest"
    outcome = home.train(When.CHANGED, bad)
    assert outcome.note == "version 2, which is version 1 judged again, failed its gate; champion stays 1"


def test_what_failed_its_gate_is_judged_again_by_a_changed_judge(home: Home) -> None:
    home.train(When.MISSING, bad)
    home.judge = "ml/backtest"
    assert home.train(When.MISSING, good).champion is not None
    assert home.kept[1] is not None


@pytest.mark.parametrize("training", [DEMAND_FORECAST, STOCK_ANOMALIES, PRODUCT_PHOTOS], ids=lambda one: one.model)
def test_the_fingerprints_of_a_model_cover_all_of_ml_that_its_training_imports(training: Training) -> None:
    graph = grimp.build_graph("orchestration", "ml", "serving", cache_dir=None)
    for module in {"ml.tracking", *graph.find_descendants("ml.tracking")}:
        graph.remove_module(module)
    imported = {name.replace(".", "/") for name in graph.find_upstream_modules(training.fit.__module__)}
    covered = tuple(place.removesuffix(".py") for place in (*training.code, *training.judge))
    assert {name for name in imported if name.startswith("ml/") and not name.startswith(covered)} == set()


def test_a_place_that_is_not_there_is_in_no_fingerprint() -> None:
    with pytest.raises(FileNotFoundError, match="ml/forcast belongs to a fingerprint and does not exist"):
        code_fingerprint("ml/forcast")


def test_a_failed_gate_never_replaces_the_champion(home: Home) -> None:
    home.train(When.MISSING, good)
    home.learn_from(2)
    outcome = home.train(When.CHANGED, bad)
    assert outcome.failed_criteria() == ["wrmsse"]
    champion = home.tracking.champion(MODEL)
    assert champion is not None
    assert champion.version == "1"


def test_what_failed_its_gate_is_not_trained_again_on_the_same(home: Home) -> None:
    home.train(When.MISSING, bad)
    outcome = home.train(When.MISSING, bad)
    assert outcome.trained is None
    assert "failed its gate" in outcome.note


@pytest.mark.parametrize("when", [When.MISSING, When.CHANGED])
def test_what_failed_its_gate_is_not_trained_again_on_the_data_of_the_next_days(home: Home, when: When) -> None:
    home.train(when, bad, "2024-01-30")
    home.learn_from(2)
    outcome = home.train(when, good, "2024-02-05")
    assert outcome.trained is None
    assert outcome.note == (
        "version 1 failed its gate on 2024-01-30 (wrmsse); it is tried again from 2024-02-06 on, or when code, settings"
        " or a tenth of the rows are others; nothing trained"
    )


def test_what_failed_its_gate_is_tried_again_a_week_later(home: Home) -> None:
    home.train(When.MISSING, bad, "2024-01-30")
    home.learn_from(2)
    assert home.train(When.MISSING, good, "2024-02-06").champion is not None


def test_what_failed_its_gate_is_tried_again_on_much_more_data(home: Home) -> None:
    home.train(When.MISSING, bad)
    home.learn_from(2, rows=2)
    assert home.train(When.MISSING, good).champion is not None


def test_what_failed_its_gate_is_tried_again_with_other_settings(home: Home) -> None:
    home.train(When.MISSING, bad)
    home.seed = 1
    assert home.train(When.MISSING, good).champion is not None


def test_a_failed_gate_is_told_until_a_training_passes(home: Home, url: str) -> None:
    settings = Settings(home.folder, home.folder, url, "", "")
    home.train(When.MISSING, bad)
    assert failed_gates(settings) == [
        "demand_forecast: version 1 failed its gate on 2024-01-30 (wrmsse); it is tried again from 2024-02-06 on, or"
        " when code, settings or a tenth of the rows are others"
    ]
    home.train(When.ALWAYS, good)
    assert failed_gates(settings) == []


def test_the_summary_shows_the_hardest_rival_with_ratio_and_interval(home: Home, url: str) -> None:
    def beside_two(folder: Path, _champion: Path | None) -> Trained:
        trained = fitted(folder, passed=True)
        easy = dataclasses.replace(criterion(0.5), competitor="seasonal_naive", theirs=2.0, name="easy")
        verdict = verdict_frame([easy, criterion(0.98)])
        headline = Headline.beside_hardest_competitor("WRMSSE, less is better", verdict, "WRMSSE")
        return dataclasses.replace(trained, verdict=verdict, headline=headline)

    settings = Settings(home.folder, home.folder, url, "", "")
    home.train(When.MISSING, beside_two)
    assert headlines(settings) == [
        [MODEL, "1", "WRMSSE, less is better", "0.980", "naive", "1.000", "0.980", "0.900 to 1.100"]
    ]


def test_the_summary_reads_what_an_earlier_version_kept_of_a_champion(home: Home, url: str) -> None:
    home.train(When.MISSING, good)
    kept = {"metric": "WRMSSE", "champion": 0.789, "baseline": 1.026, "baseline_name": "seasonal naive"}
    home.store.advance(f"champion/{MODEL}", home.store.claim(f"champion/{MODEL}", "run", {}), "1", kept)
    settings = Settings(home.folder, home.folder, url, "", "")
    assert headlines(settings) == [[MODEL, "1", "WRMSSE", "0.789", "seasonal naive", "1.026", "–", "–"]]


def test_a_training_names_its_data_with_rows_and_columns(home: Home) -> None:
    home.learn_from(1, rows=3)
    outcome = home.train(When.MISSING, good)
    assert outcome.record is not None
    (note,) = outcome.record.datasets
    assert (note.source, note.rows, dict(note.columns)) == ("data.parquet", 3, {"value": "INTEGER"})


@pytest.mark.parametrize(("stand_in", "told"), [("", "champion stays none"), ("recent stands", "none; recent stands")])
def test_a_failed_first_gate_says_what_stands_in_and_what_it_blocks(home: Home, stand_in: str, told: str) -> None:
    home.stand_in = stand_in
    outcome = home.train(When.MISSING, bad)
    assert outcome.note.endswith(told)
    assert outcome.record is not None
    blocks = outcome.record.verdict_table["blocks"].tolist()
    assert blocks == ["promotion" if stand_in else "promotion and publication"]


def test_a_criterion_that_does_not_block_is_told_and_promotes(home: Home) -> None:
    def unmet(folder: Path, _champion: Path | None) -> Trained:
        trained = fitted(folder, passed=True)
        return dataclasses.replace(trained, verdict=verdict_frame([criterion(2.0, blocks=False)]))

    outcome = home.train(When.MISSING, unmet)
    assert outcome.failed_criteria() == []
    assert outcome.unmet_criteria() == ["wrmsse"]
    assert outcome.champion is not None


def test_a_training_is_handed_the_folder_of_the_champion(home: Home) -> None:
    seen = []

    def looking(folder: Path, champion: Path | None) -> Trained:
        seen.append(None if champion is None else (champion / "baseline.json").is_file())
        return fitted(folder, passed=True)

    home.train(When.MISSING, looking)
    home.train(When.ALWAYS, looking)
    assert seen == [None, True]


def test_a_champion_whose_files_are_gone_is_replaced_without_comparison(home: Home) -> None:
    home.train(When.MISSING, good)
    champion = home.tracking.champion(MODEL)
    assert champion is not None
    shutil.rmtree(home.tracking.load_folder(champion).parents[1])
    seen = []

    def looking(folder: Path, former: Path | None) -> Trained:
        seen.append(former)
        return fitted(folder, passed=True)

    assert home.train(When.ALWAYS, looking).champion is not None
    assert seen == [None]


def test_too_little_to_learn_from_is_told(home: Home) -> None:
    assert home.train(When.MISSING, nothing).note == "nothing trained: 2 rows are too few"
    with pytest.raises(NoChampion, match="inventorybot train"):
        champion_of(MODEL, home.tracking, home.store)


def test_the_alias_follows_the_row_of_the_store(home: Home) -> None:
    home.train(When.MISSING, good)
    home.tracking.demote(MODEL)
    repaired = repair_champion(MODEL, home.tracking, home.store)
    assert repaired is not None
    assert repaired.version == "1"


def test_rolling_back_makes_the_champion_before_champion_again(home: Home) -> None:
    home.train(When.MISSING, good)
    home.learn_from(2)
    home.train(When.CHANGED, good)
    assert roll_back(MODEL, None, home.tracking, home.store).version == "1"
    assert champion_of(MODEL, home.tracking, home.store).version == "1"


def test_rolling_back_without_history_says_so(home: Home) -> None:
    home.train(When.MISSING, good)
    with pytest.raises(ValueError, match="no champion before the current one"):
        roll_back(MODEL, None, home.tracking, home.store)


def test_only_a_former_champion_can_be_rolled_back_to(home: Home) -> None:
    home.train(When.MISSING, bad)
    with pytest.raises(ValueError, match="was never champion"):
        roll_back(MODEL, "1", home.tracking, home.store)


def test_the_command_rolls_back_and_says_so(
    home: Home, url: str, registry_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.train(When.MISSING, good)
    home.learn_from(2)
    home.train(When.CHANGED, good)
    monkeypatch.setenv("INVENTORYBOT_HOME", str(home.folder))
    monkeypatch.setenv("INVENTORYBOT_STORE_URL", url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry_url)
    monkeypatch.setenv("INVENTORYBOT_ARTIFACTS", str(home.folder / "artifacts"))
    result = CliRunner().invoke(cli, ["rollback", MODEL])
    assert result.output == "demand_forecast: version 1 is champion; the next run predicts with it\n"
    assert champion_of(MODEL, home.tracking, home.store).version == "1"
    refused = CliRunner().invoke(cli, ["rollback", MODEL, "7"])
    assert refused.exit_code == 1
    assert "version 7 of demand_forecast was never champion" in refused.output
