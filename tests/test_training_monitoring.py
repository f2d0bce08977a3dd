"""Published forecasts against what happened, in a small home with an archive."""

import json
import re
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from dagster import AssetCheckEvaluation, ExecuteInProcessResult, materialize
from scipy.stats import poisson
from support.small_marts import AS_OF, build_of, read_mart, small_home

from ml.forecast.distribution import QUANTILE_COLUMNS, QUANTILE_LEVELS
from orchestration.defs.assets.monitoring import CHECKS, demand_forecasts
from orchestration.defs.resources import HomeResource
from orchestration.home.settings import Settings
from orchestration.training.monitoring import Monitoring, archived_forecasts, monitor_forecasts


@pytest.fixture(scope="module")
def marts(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return small_home(tmp_path_factory.mktemp("home"), days=100)


def archive(
    settings: Settings, folder: Path, origin: date, scale: float = 1.0, name: str = "a", at: str = "06"
) -> Settings:
    """Archive forecasts of the true distribution, times `scale`, for the 28 days after an origin."""
    known = read_mart(settings, "fct_daily_demand")
    ahead = (pd.to_datetime(known["day"]).dt.date - origin).map(lambda gap: gap.days)
    frame = known.loc[(ahead >= 1) & (ahead <= 28), ["sku", "location_id", "day", "expected"]]
    mean = frame.pop("expected").to_numpy() * scale
    quantiles = {
        column: poisson.ppf(level, mean) for column, level in zip(QUANTILE_COLUMNS, QUANTILE_LEVELS, strict=True)
    }
    frame = frame.assign(as_of_date=pd.Timestamp(origin), mean_units=mean, **quantiles)
    target = folder / f"{origin}_{name}"
    target.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.register("frame", frame)
        connection.execute(
            f"""
            copy (
                select * exclude (day, as_of_date), day::date as day, as_of_date::date as as_of_date,
                    date_diff('day', as_of_date::date, day::date) as periods_ahead
                from frame
            ) to '{target / "demand_forecasts.parquet"}' (format parquet)
            """
        )
    details = {"as_of": origin.isoformat(), "build": {"ingested_until": f"{origin}T{at}:00:00+00:00"}}
    (target / "archive.json").write_text(json.dumps(details))
    return settings


def with_daily_archive(settings: Settings, folder: Path, scale: float = 1.0) -> Settings:
    """Return the home with four weeks of daily archives, in a folder of its own."""
    home = Settings(folder, folder, "", "", "")
    (folder / "warehouse").mkdir()
    (folder / "warehouse" / "exports").symlink_to(settings.exports)
    for back in range(28, 0, -1):
        archive(settings, home.archive, AS_OF - timedelta(days=back), scale)
    return home


@pytest.fixture(scope="module")
def clean_home(marts: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return with_daily_archive(marts, tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def biased_home(marts: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return with_daily_archive(marts, tmp_path_factory.mktemp("biased"), 1.3)


@pytest.fixture(scope="module")
def clean(clean_home: Settings) -> Monitoring:
    found = monitor_forecasts(clean_home, build_of())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def biased(biased_home: Settings) -> Monitoring:
    found = monitor_forecasts(biased_home, build_of())
    assert found is not None
    return found


def test_a_bias_of_thirty_percent_fires_in_every_kind_of_segment(biased: Monitoring) -> None:
    assert biased.bias["alarm"].all()
    assert set(biased.bias["segment_kind"]) == {"everything", "location_id", "category"}
    everything = biased.bias.set_index("segment_kind").loc["everything"]
    assert everything["bias"] == pytest.approx(0.3, abs=0.03)
    assert everything["cumulative_error_units"] > everything["limit_units"]


def test_a_bias_shows_in_the_calibration(biased: Monitoring) -> None:
    assert biased.uncalibrated()


def test_clean_forecasts_are_quiet(clean: Monitoring) -> None:
    assert (clean.biased(), clean.uncalibrated(), clean.drifted(), clean.lags_behind_naive()) == ([], [], [], [])


def test_accuracy_is_told_lag_by_lag(clean: Monitoring) -> None:
    assert clean.accuracy["periods_ahead"].tolist() == [1, 7, 14, 28]
    assert (clean.accuracy["to_naive"] < 0.9).all()
    assert clean.origins == 28


def test_the_alarm_reads_one_forecast_of_each_day_the_freshest(clean: Monitoring) -> None:
    assert clean.bias["periods"].eq(28).all()


@pytest.fixture(scope="module")
def worse_home(marts: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with one archive, of forecasts four times too high."""
    folder = tmp_path_factory.mktemp("worse")
    home = Settings(folder, folder, "", "", "")
    (folder / "warehouse").mkdir()
    (folder / "warehouse" / "exports").symlink_to(marts.exports)
    archive(marts, home.archive, AS_OF - timedelta(days=8), 4.0)
    return home


def test_forecasts_worse_than_repeating_the_last_week_are_told(worse_home: Settings) -> None:
    found = monitor_forecasts(worse_home, build_of())
    assert found is not None
    assert found.lags_behind_naive() == [1, 7]


def test_a_run_that_is_not_daily_is_judged_on_its_latest_forecasts(marts: Settings, tmp_path: Path) -> None:
    home = Settings(tmp_path, tmp_path, "", "", "")
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "exports").symlink_to(marts.exports)
    archive(marts, home.archive, AS_OF - timedelta(days=20), 1.3)
    archive(marts, home.archive, AS_OF - timedelta(days=10))
    found = monitor_forecasts(home, build_of())
    assert found is not None
    everything = found.bias.set_index("segment_kind").loc["everything"]
    assert everything["periods"] == 20
    assert 0.05 < everything["bias"] < 0.25


def test_the_last_archive_of_a_day_counts(marts: Settings, tmp_path: Path) -> None:
    home = Settings(tmp_path, tmp_path, "", "", "")
    yesterday = AS_OF - timedelta(days=1)
    for name, at in (("b", "06"), ("a", "09"), ("c", "03")):
        archive(marts, home.archive, yesterday, name=name, at=at)
    assert [path.parent.name for path in archived_forecasts(home, build_of())] == [f"{yesterday}_a"]


def test_forecasts_of_today_wait_for_their_days(marts: Settings, tmp_path: Path) -> None:
    home = Settings(tmp_path, tmp_path, "", "", "")
    assert archived_forecasts(archive(marts, home.archive, AS_OF) and home, build_of()) == []


@pytest.fixture(scope="module")
def dearer_home(marts: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home whose prices rose four weeks ago."""
    folder = tmp_path_factory.mktemp("dearer")
    home = with_daily_archive(marts, folder)
    exports = folder / "warehouse" / "exports"
    exports.unlink()
    (exports / "marts").mkdir(parents=True)
    for path in (marts.exports / "marts").glob("*.parquet"):
        (exports / "marts" / path.name).symlink_to(path)
    dearer = read_mart(marts, "fct_daily_demand")
    late = pd.to_datetime(dearer["day"]).dt.date > AS_OF - timedelta(days=28)
    dearer["unit_price"] = np.where(late, 3.0, 2.0)
    (exports / "marts" / "fct_daily_demand.parquet").unlink()
    dearer.to_parquet(exports / "marts" / "fct_daily_demand.parquet")
    return home


def test_an_input_that_shifted_has_drifted(dearer_home: Settings) -> None:
    found = monitor_forecasts(dearer_home, build_of())
    assert found is not None
    assert [text.split()[0] for text in found.drifted()] == ["mean_price"]


def checked(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> tuple[ExecuteInProcessResult, dict[str, AssetCheckEvaluation]]:
    """Materialize the asset in a home."""
    (home.exports / "build.json").write_text(json.dumps(build_of().__dict__))
    monkeypatch.setenv("INVENTORYBOT_HOME", str(home.home))
    result = materialize([demand_forecasts], resources={"home": HomeResource()})
    return result, {found.check_name: found for found in result.get_asset_check_evaluations()}


def told(result: ExecuteInProcessResult) -> str:
    return str(result.asset_materializations_for_node("monitoring__demand_forecasts")[0].metadata["note"].value)


def test_a_home_without_earlier_forecasts_says_so_and_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, checks = checked(small_home(tmp_path, days=30, series=2), monkeypatch)
    assert told(result) == "no forecast published before 2024-05-01, nothing to compare"
    assert {name: check.passed for name, check in checks.items()} == dict.fromkeys(CHECKS, True)


def test_the_checks_warn_of_what_was_found(biased_home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    result, checks = checked(biased_home, monkeypatch)
    assert {name: checks[name].passed for name in ("bias", "calibration", "drift")} == {
        "bias": False,
        "calibration": False,
        "drift": True,
    }
    assert {check.severity.value for check in checks.values()} == {"WARN"}
    assert "everything all +3" in str(checks["bias"].metadata["failures"].value)
    assert "28 days since 2024-04-04, forecasts of 28 runs; look at" in told(result)


@pytest.mark.parametrize(
    ("home", "failing"),
    [
        ("clean_home", set()),
        ("biased_home", {"accuracy", "bias", "calibration"}),
        ("worse_home", {"accuracy", "bias", "calibration"}),
        ("dearer_home", {"drift"}),
    ],
)
def test_each_check_fails_for_its_own_reason_and_is_quiet_otherwise(
    home: str, failing: set[str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, checks = checked(request.getfixturevalue(home), monkeypatch)
    assert {name for name, check in checks.items() if not check.passed} == failing


def test_accuracy_bias_calibration_and_drift_are_tables_of_the_asset(
    biased_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = checked(biased_home, monkeypatch)
    metadata = result.asset_materializations_for_node("monitoring__demand_forecasts")[0].metadata
    first_rows = {name: str(metadata[name].value).splitlines()[0] for name in CHECKS}
    assert "periods_ahead" in first_rows["accuracy"]
    assert "cumulative_error_units" in first_rows["bias"]
    assert "level" in first_rows["calibration"]
    assert "psi" in first_rows["drift"]


@pytest.fixture(scope="module")
def new_category_home(marts: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with a category that has not sold a unit in the days judged, and is forecast all the same."""
    folder = tmp_path_factory.mktemp("category")
    home = with_daily_archive(marts, folder)
    exports = folder / "warehouse" / "exports"
    exports.unlink()
    (exports / "marts").mkdir(parents=True)
    for path in (marts.exports / "marts").glob("*.parquet"):
        (exports / "marts" / path.name).symlink_to(path)
    items, demand = read_mart(marts, "dim_item_locations"), read_mart(marts, "fct_daily_demand")
    items.loc[items["sku"] == "p00", "category"] = "toys"
    late = pd.to_datetime(demand["day"]).dt.date > AS_OF - timedelta(days=28)
    demand.loc[late & (demand["sku"] == "p00"), "demand_units"] = 0.0
    for name, frame in (("dim_item_locations", items), ("fct_daily_demand", demand)):
        (exports / "marts" / f"{name}.parquet").unlink()
        frame.to_parquet(exports / "marts" / f"{name}.parquet")
    return home


def test_a_category_that_sold_nothing_is_told_in_words_and_never_as_nan(
    new_category_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, checks = checked(new_category_home, monkeypatch)
    failures = str(checks["bias"].metadata["failures"].value)
    assert re.search(r"category toys [\d.]+ units forecast and nothing sold", failures)
    shown = result.asset_materializations_for_node("monitoring__demand_forecasts")[0].metadata
    assert [name for name, value in shown.items() if "nan" in str(value.value).lower()] == []
