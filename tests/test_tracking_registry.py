import base64
import io
import json
import multiprocessing
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.metrics import Criterion, verdict_frame
from ml.tracking import (
    MODEL_NAMES,
    DatasetNote,
    FolderHashError,
    GateNotPassedError,
    Tracking,
    TrainingRecord,
    Version,
    folder_sha256,
    training_fingerprint,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

HISTORY = pd.DataFrame(
    {
        "sku": ["A", "A"],
        "location_id": ["north", "north"],
        "period_start": pd.to_datetime(["2011-11-01", "2011-11-02"]),
        "demand_units": [3, 0],
        "is_in_stock": [True, False],
        "unit_price": [2.5, 2.5],
    }
)
FORECAST = pd.DataFrame(
    {"sku": ["A"], "location_id": ["north"], "period_start": pd.to_datetime(["2011-11-03"]), "mean_units": [1.5]}
)
DAYS = pd.date_range("2011-09-01", periods=60)
STOCK = pd.DataFrame(
    {
        "sku": "A",
        "location_id": "north",
        "day": DAYS,
        "opening_units": np.arange(60.0, 0.0, -1.0),
        "receipt_units": 0.0,
        "sales_units": 1.0,
        "other_units": 0.0,
        "closing_units": np.arange(59.0, -1.0, -1.0),
    }
)


def judged(value: float) -> pd.DataFrame:
    rest = {"competitor": "seasonal_naive", "ours": value, "theirs": 1.0, "low": value - 0.1, "high": value + 0.1}
    return verdict_frame([Criterion("pinball loss", value, 1.0, "ratio at most 1", True, **rest)])


PASSED, FAILED = judged(0.81), judged(1.4)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def tracking(home):
    return Tracking(f"sqlite:///{home}/mlflow.db", home / "artifacts")


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "saved"
    (folder / "trees").mkdir(parents=True)
    (folder / "model.json").write_text('{"horizon": 1}')
    np.savez(folder / "trees" / "levels.npz", levels=np.array([1.0, 2.0]))
    return folder


def log(
    tracking: Tracking, saved: Path, name: str = "demand_forecast", verdict: pd.DataFrame = PASSED, **changes
) -> Version:
    arguments = {
        "saved_model_folder": saved,
        "input_example": HISTORY,
        "output_example": FORECAST,
        "verdict": verdict,
        "metrics": {"mean_pinball_units": 0.8},
        "parameters": {"seed": 0},
        "fingerprint": "f0",
        "data_fingerprint": "d0",
        "code_fingerprint": "c0",
        "model_card": "# Card",
    } | changes
    return tracking.log_training(TrainingRecord(name, **arguments))


def test_a_logged_training_is_a_version_with_its_metrics_and_gate(tracking, saved):
    version = log(tracking, saved, metrics={"wape_ratio": 0.25, "loss": [3.0, 2.0, 1.0]})
    assert (version.passed, version.metrics) == (True, {"wape_ratio": 0.25, "loss": 1.0})
    assert tracking.version("demand_forecast", version.version) == version


def test_the_run_holds_card_figures_tables_parameters_and_verdict(tracking, saved, home):
    import matplotlib.figure

    figure = matplotlib.figure.Figure()
    figure.subplots().plot([0, 1])
    version = log(
        tracking,
        saved,
        figures={"bytes": b"\x89PNG", "figure": figure},
        tables={"by_class": pd.DataFrame({"demand_class": ["lumpy"], "wape_ratio": [0.5]})},
        parameters={"seed": 0, "columns": ["price"] * 200},
    )
    files = home / "artifacts" / "demand_forecast" / version.run_id / "artifacts"
    assert sorted(path.relative_to(files).as_posix() for path in files.rglob("*.*")) == [
        "champion.png",
        "figures/bytes.png",
        "figures/figure.png",
        "model_card.md",
        "parameters.json",
        "tables/by_class.csv",
        "verdict.json",
        "verdict_table.json",
    ]
    assert json.loads((files / "parameters.json").read_text())["columns"] == ["price"] * 200


def test_the_run_holds_what_it_was_trained_with(tracking, saved, home, tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("numpy==2.4.0\n")
    environment = {
        "python": "3.11.7",
        "git_commit": "c0ffee",
        "cores": 2,
        "lock_sha256": None,
        "packages": {"numpy": "2.4.0"},
    }
    version = log(tracking, saved, environment=environment, lock=lock)
    files = home / "artifacts" / "demand_forecast" / version.run_id / "artifacts"
    assert json.loads((files / "environment.json").read_text()) == environment
    assert (files / "requirements.lock").read_text() == "numpy==2.4.0\n"
    tags = tracking._client.get_run(version.run_id).data.tags
    told = {name: value for name, value in tags.items() if name.startswith(("environment.", "mlflow.source.git"))}
    assert told == {
        "environment.python": "3.11.7",
        "environment.git_commit": "c0ffee",
        "environment.cores": "2",
        "mlflow.source.git.commit": "c0ffee",
    }


def test_models_and_experiments_say_what_they_are_and_how_they_are_judged(tracking):
    for name in MODEL_NAMES:
        registered = tracking._client.get_registered_model(name)
        assert "**Judged** on" in registered.description
        assert "marts." in registered.description
        assert registered.tags["task"]
        experiment = tracking._client.get_experiment_by_name(name)
        assert experiment.tags["mlflow.note.content"] == registered.description
        assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_home_made_before_models_had_descriptions_gets_them(tracking):
    tracking._client.update_registered_model("product_photos", "")
    again = Tracking(tracking.tracking_uri, tracking.artifact_root)
    assert "shelf photo" in again._client.get_registered_model("product_photos").description


def test_the_data_is_named_with_source_and_digest_and_no_row_of_it_is_copied(tracking, saved, home):
    note = DatasetNote("marts.fct_daily_demand", "a" * 40, "warehouse/x.parquet", {"sku": "VARCHAR"}, 7)
    version = log(tracking, saved, datasets=[note])
    inputs = tracking._client.get_run(version.run_id).inputs.dataset_inputs
    assert [(one.dataset.name, one.dataset.digest) for one in inputs] == [("marts.fct_daily_demand", "a" * 36)]
    assert json.loads(inputs[0].dataset.source) == {"uri": "warehouse/x.parquet"}
    assert json.loads(inputs[0].dataset.profile) == {"num_rows": 7, "content_hash": "a" * 40}
    assert [(tag.key, tag.value) for tag in inputs[0].tags] == [("mlflow.data.context", "training")]


def test_a_version_says_what_decided_and_which_code_and_day_it_is_of(tracking, saved):
    version = log(
        tracking,
        saved,
        environment={"code_version": "0.1.0+abc", "git_commit": "c0ffee"},
        tags={"as_of": "2024-05-01"},
        source="orchestration/training/demand_forecast.py",
    )
    registered = tracking._client.get_model_version("demand_forecast", version.version)
    assert registered.description.startswith("**What decided.** Passed its gate: 1 of 1 criteria that block are met")
    known = {name: registered.tags[name] for name in ("code_version", "git_commit", "as_of", "gate")}
    assert known == {"code_version": "0.1.0+abc", "git_commit": "c0ffee", "as_of": "2024-05-01", "gate": "passed"}
    tags = tracking._client.get_run(version.run_id).data.tags
    assert tags["mlflow.source.name"] == "orchestration/training/demand_forecast.py"
    assert tags["mlflow.note.content"] == registered.description


def test_a_long_card_is_cut_where_a_database_would_refuse_it_and_kept_whole_in_the_run(tracking, saved, home):
    version = log(tracking, saved, model_card="long " * 2000)
    registered = tracking._client.get_model_version("demand_forecast", version.version)
    assert len(registered.description) == 5000
    assert registered.description.endswith("the rest stands in model_card.md of the run.")
    files = home / "artifacts" / "demand_forecast" / version.run_id / "artifacts"
    assert "long " * 2000 in (files / "model_card.md").read_text()


def test_the_verdict_is_a_table_that_mlflow_shows(tracking, saved, home):
    version = log(tracking, saved, verdict=FAILED)
    files = home / "artifacts" / "demand_forecast" / version.run_id / "artifacts"
    shown = pd.DataFrame(**json.loads((files / "verdict_table.json").read_text()))
    assert shown[["result", "ours", "competitor", "blocks"]].to_numpy().tolist() == [
        ["FAILED", "1.400", "seasonal naive", "promotion"]
    ]
    tags = tracking._client.get_run(version.run_id).data.tags
    assert json.loads(tags["mlflow.loggedArtifacts"]) == [{"path": "verdict_table.json", "type": "table"}]


def test_the_figures_stand_on_the_model_as_well(tracking, saved):
    version = log(tracking, saved, metrics={"wrmsse": 0.8, "wape": float("nan")})
    (output,) = tracking._client.get_run(version.run_id).outputs.model_outputs
    logged = tracking._client.get_logged_model(output.model_id)
    assert {metric.key: metric.value for metric in logged.metrics} == {"wrmsse": 0.8}
    assert version.metrics == {"wrmsse": 0.8}


def test_the_verdict_names_the_folder_it_judged(tracking, saved):
    version = log(tracking, saved)
    stored = tracking.verdict(version)
    assert (stored["passed"], stored["folder_sha256"]) == (True, version.folder_sha256)
    pd.testing.assert_frame_equal(pd.DataFrame(stored["criteria"]), PASSED)


def test_the_champion_loads_from_the_folder_that_was_saved(tracking, saved):
    version = log(tracking, saved)
    folder = tracking.load_folder(tracking.promote("demand_forecast", version.version))
    assert folder_sha256(folder) == folder_sha256(saved)


def test_the_signature_declares_doubles_and_requires_only_the_raw_rows(tracking, saved):
    import mlflow

    version = log(tracking, saved)
    package = tracking.load_folder(version).parent.parent
    columns = {column.name: column for column in mlflow.models.Model.load(str(package)).signature.inputs}
    assert columns["demand_units"].type.name == "double"
    assert [name for name, column in columns.items() if column.required] == [
        "sku",
        "location_id",
        "period_start",
        "demand_units",
    ]


def test_a_failed_gate_registers_the_version_and_leaves_the_champion(tracking, saved):
    champion = tracking.promote("stock_anomalies", log_anomalies(tracking, saved).version)
    refused = log_anomalies(tracking, saved, verdict=FAILED)
    with pytest.raises(GateNotPassedError, match=f"version {refused.version} failed its gate"):
        tracking.promote("stock_anomalies", refused.version)
    assert tracking.champion("stock_anomalies") == champion


def log_anomalies(tracking, saved, **changes):
    return log(tracking, saved, "stock_anomalies", input_example=STOCK.head(3), output_example=None, **changes)


def test_a_model_without_promotion_has_no_champion(tracking):
    assert tracking.champion("product_photos") is None


def test_rollback_brings_the_champion_before_the_present_one_back(tracking, saved):
    first, second = log(tracking, saved), log(tracking, saved)
    tracking.promote("demand_forecast", first.version)
    tracking.promote("demand_forecast", second.version)
    tracking.promote("demand_forecast", second.version)
    assert tracking.rollback("demand_forecast") == first
    assert tracking.champion("demand_forecast") == first


def test_demote_leaves_no_champion(tracking, saved):
    tracking.promote("demand_forecast", log(tracking, saved).version)
    tracking.demote("demand_forecast")
    assert tracking.champion("demand_forecast") is None


@pytest.mark.parametrize("damage", ["change", "add", "rename", "code"])
def test_a_folder_that_differs_from_the_judged_one_is_refused(tracking, saved, damage):
    version = log(tracking, saved)
    folder = tracking.load_folder(version)
    if damage == "change":
        (folder / "model.json").write_text('{"horizon": 2}')
    elif damage == "add":
        (folder / "more.json").write_text("{}")
    elif damage == "rename":
        (folder / "model.json").rename(folder / "other.json")
    else:
        (folder.parent.parent / "demand_forecast.py").write_text("print('hello')")
    with pytest.raises(FolderHashError, match="restore the folder from a backup"):
        tracking.load_folder(version)
    with pytest.raises(FolderHashError):
        tracking.promote("demand_forecast", version.version)


@pytest.mark.parametrize("lost", ["model", "verdict"])
def test_a_version_whose_files_are_gone_says_where_they_belong(tracking, saved, home, lost):
    version = log(tracking, saved)
    package = tracking.load_folder(version).parent.parent
    files = home / "artifacts" / "demand_forecast" / version.run_id / "artifacts"
    (package if lost == "model" else files / "verdict.json").rename(home / version.run_id)
    with pytest.raises(FolderHashError, match="bring them back from a backup"):
        tracking.promote("demand_forecast", version.version)


def test_bytecode_beside_a_models_code_does_not_change_its_hash(saved):
    before = folder_sha256(saved)
    (saved / "__pycache__").mkdir()
    (saved / "__pycache__" / "model.pyc").write_bytes(b"0")
    assert folder_sha256(saved) == before


def test_a_version_that_mlflow_loaded_by_its_alias_is_still_the_one_that_was_judged(tracking, saved, monkeypatch):
    import mlflow.artifacts

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.tracking_uri)
    version = log(tracking, saved)
    tracking.promote("demand_forecast", version.version)
    package = tracking.load_folder(version).parents[1]
    mlflow.artifacts.download_artifacts("models:/demand_forecast@champion")
    assert (package / "registered_model_meta").is_file()
    assert tracking.promote("demand_forecast", version.version) == version


def test_a_file_called_as_mlflows_note_counts_where_the_model_reads_it(saved):
    before = folder_sha256(saved)
    (saved / "trees" / "registered_model_meta").write_text("{}")
    assert folder_sha256(saved) != before


def test_a_folder_with_a_link_has_no_hash(saved):
    (saved / "link.json").symlink_to(saved / "model.json")
    with pytest.raises(ValueError, match="symbolic link"):
        folder_sha256(saved)


@pytest.mark.parametrize("file", ["model.pkl", "model.joblib", "code.py", "model.h5"])
def test_a_format_that_can_carry_code_is_refused_before_anything_is_logged(tracking, saved, file):
    (saved / file).write_bytes(b"0")
    runs = tracking.training_runs()
    with pytest.raises(ValueError, match=file):
        log(tracking, saved)
    assert tracking.training_runs() == runs


def test_an_empty_verdict_is_refused(tracking, saved):
    with pytest.raises(ValueError, match="has 0 rows"):
        log(tracking, saved, verdict=PASSED.head(0))


def test_an_input_example_without_a_required_column_is_refused(tracking, saved):
    with pytest.raises(ValueError, match=r"lacks \['demand_units'\]"):
        log(tracking, saved, input_example=HISTORY.drop(columns="demand_units"))


def test_a_fingerprint_is_seen_only_once_it_was_trained(tracking, saved):
    fingerprint = training_fingerprint("data", "code", {"seed": 1})
    assert tracking.training_fingerprint_seen("demand_forecast", fingerprint) is None
    version = log(tracking, saved, fingerprint=fingerprint)
    assert tracking.training_fingerprint_seen("demand_forecast", fingerprint) == version
    assert tracking.training_fingerprint_seen("stock_anomalies", fingerprint) is None


def test_the_fingerprint_changes_with_data_code_and_parameters_but_not_with_their_order():
    same = training_fingerprint("d", "c", {"a": 1, "b": 2})
    assert same == training_fingerprint("d", "c", {"b": 2, "a": 1})
    others = [training_fingerprint("D", "c", {"a": 1, "b": 2}), training_fingerprint("d", "C", {"a": 1, "b": 2})]
    assert same not in [*others, training_fingerprint("d", "c", {"a": 1, "b": 3})]


def test_training_runs_are_counted_per_model_and_since_an_instant(tracking, saved):
    before, photos = tracking.training_runs("demand_forecast"), tracking.training_runs("product_photos")
    now = datetime.now(UTC)
    log(tracking, saved)
    assert tracking.training_runs("demand_forecast") == before + 1
    assert tracking.training_runs("product_photos") == photos
    assert (tracking.training_runs(since=now), tracking.training_runs(since=now + timedelta(hours=1))) == (1, 0)


def test_a_training_that_breaks_while_logging_ends_as_a_failed_run_without_version(tracking, saved):
    versions = tracking.versions("demand_forecast")
    with pytest.raises(AttributeError):
        log(tracking, saved, figures={"not a figure": object()})
    assert tracking.versions("demand_forecast") == versions


def test_an_unknown_version_names_those_there_are(tracking, saved):
    version = log(tracking, saved)
    with pytest.raises(ValueError, match=rf"no version 9999; it has \[.*{version.version}\]"):
        tracking.promote("demand_forecast", 9999)


def test_an_unknown_model_names_those_there_are(tracking):
    with pytest.raises(ValueError, match="demand_forecast, stock_anomalies, product_photos"):
        tracking.champion("weather")


def test_a_folder_as_tracking_address_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sqlite:"):
        Tracking(str(tmp_path), tmp_path)


def test_four_processes_may_open_a_fresh_registry_at_once(tmp_path, tracking):
    fork = multiprocessing.get_context("fork")
    arguments = (f"sqlite:///{tmp_path}/m/mlflow.db", tmp_path / "a")
    started = [fork.Process(target=Tracking, args=arguments) for _ in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0, 0, 0]


def test_a_registry_leaves_nothing_in_the_current_directory(tmp_path, saved, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log(Tracking(f"sqlite:///{tmp_path}/home/mlflow.db", tmp_path / "home" / "artifacts"), saved)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "saved"]


def loaded(tracking, version):
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(tracking.load_folder(version).parent.parent))


def test_the_registered_forecaster_answers_for_the_series_asked_as_it_does_in_python(tracking, tmp_path):
    from ml import forecast

    demand = pd.concat(
        pd.DataFrame(
            {
                "sku": sku,
                "location_id": "north",
                "period_start": DAYS,
                "demand_units": 2.0 + DAYS.dayofweek,
                "price": 1.0,
            }
        )
        for sku in ("A", "B")
    )
    items = pd.DataFrame({"sku": ["A", "B", "fresh"], "location_id": "north", "category": "x"})
    settings = forecast.Settings(rounds=10, spread_rounds=5)
    forecaster = forecast.train(demand, freq="D", horizon=5, items=items, settings=settings)
    forecaster.save(tmp_path / "saved")
    model = loaded(tracking, log(tracking, tmp_path / "saved", input_example=demand.head(3)))

    expected = forecaster.predict(demand)
    asked = demand[demand["sku"] == "A"].reset_index(drop=True)
    answer = model.predict(asked)
    assert len(answer) == 5
    pd.testing.assert_frame_equal(answer, expected[expected["sku"] == "A"].reset_index(drop=True))
    pd.testing.assert_frame_equal(model.predict(asked, params={"horizon": 2}), answer.head(2))
    for beyond in (6, 5000, -1):
        with pytest.raises(ValueError, match=f"horizon is {beyond} and this model forecasts 5 periods: ask for 1 to 5"):
            model.predict(asked, params={"horizon": beyond})


def test_rows_after_history_until_are_the_future(tracking, tmp_path):
    from ml import forecast

    demand = pd.DataFrame(
        {"sku": "A", "location_id": "north", "period_start": DAYS, "demand_units": 2.0, "is_promotion": 0.0}
    )
    demand.loc[5::9, ["demand_units", "is_promotion"]] = [9.0, 1.0]
    settings = forecast.Settings(rounds=10, spread_rounds=5)
    forecaster = forecast.train(demand.head(55), freq="D", horizon=5, settings=settings)
    forecaster.save(tmp_path / "saved")
    model = loaded(tracking, log(tracking, tmp_path / "saved", input_example=demand.head(3)))

    answer = model.predict(demand, params={"history_until": str(DAYS[54].date())})
    future = demand.tail(5).drop(columns="demand_units")
    pd.testing.assert_frame_equal(answer, forecaster.predict(demand.head(55), future))


def test_a_day_to_come_sent_as_not_open_as_after_the_last_day_of_sale_has_no_demand(tracking, tmp_path):
    from ml import forecast

    demand = pd.DataFrame(
        {"sku": "A", "location_id": "north", "period_start": DAYS, "demand_units": 2.0, "is_open": 1.0}
    )
    forecaster = forecast.train(demand, freq="D", horizon=5, settings=forecast.Settings(rounds=10, spread_rounds=5))
    forecaster.save(tmp_path / "saved")
    model = loaded(tracking, log(tracking, tmp_path / "saved", input_example=demand.head(3)))

    out_of_season = pd.DataFrame(
        {
            "sku": "A",
            "location_id": "north",
            "period_start": pd.date_range(DAYS[-1] + pd.Timedelta(days=3), periods=3),
            "demand_units": np.nan,
            "is_open": 0.0,
        }
    )
    asked = pd.concat([demand, out_of_season], ignore_index=True)
    answer = model.predict(asked, params={"history_until": str(DAYS[-1].date())})
    assert (answer["mean_units"] > 0).tolist() == [True, True, False, False, False]
    assert (answer["q95_units"] > 0).tolist() == [True, True, False, False, False]


def test_the_registered_detector_scores_as_it_does_in_python(tracking, tmp_path):
    from ml import anomaly

    detector = anomaly.train(STOCK)
    detector.save(tmp_path / "saved")
    model = loaded(tracking, log_anomalies(tracking, tmp_path / "saved"))
    pd.testing.assert_frame_equal(model.predict(STOCK), detector.score(STOCK))
    assert model.predict(STOCK, params={"since": "2011-10-30"})["day"].tolist() == [DAYS[-1]]


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore")
def test_the_registered_recogniser_takes_base64_and_names_a_row_that_is_none(tracking, tmp_path):
    from PIL import Image

    from ml import images

    photos = []
    for number in range(12):
        buffer = io.BytesIO()
        Image.new("RGB", (40, 40), (number % 2 * 200, 30, number)).save(buffer, "PNG")
        photos.append(buffer.getvalue())
    recogniser = images.train(photos, ["red", "dark"] * 6, image_size=32, epochs=1)
    recogniser.save(tmp_path / "saved")
    rows = pd.DataFrame({"image_base64": [base64.b64encode(photo).decode() for photo in photos]})
    version = log(tracking, tmp_path / "saved", "product_photos", input_example=rows.head(1), output_example=None)
    model = loaded(tracking, version)
    assert model.predict(rows)["label"].tolist() == recogniser.predict(photos)["label"].tolist()
    with pytest.raises(ValueError, match="row 1: image_base64 is not base64"):
        model.predict(pd.DataFrame({"image_base64": [rows["image_base64"][0], "*"]}))


def test_importing_tracking_does_not_import_mlflow():
    code = f"import sys, ml.tracking; assert 'mlflow' not in sys.modules; print({MODEL_NAMES!r})"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
