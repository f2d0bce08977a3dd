"""Histories: which archive stands for a business day, and what goes when an archive goes."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
from support.small_marts import build_of

from orchestration.home.settings import Settings
from orchestration.planning.archive import archives_in_force
from orchestration.planning.history import write_history

TODAY = date(2024, 5, 3)


def forecasts(file: Path, as_of: date, version: str) -> None:
    """Write forecasts of one item for the next four weeks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    quantiles = ", ".join(f"{level}.0 as q{level}_units" for level in (10, 50, 90))
    duckdb.sql(
        f"""
        select 'a' as sku, 'x' as location_id, date '{as_of}' + ahead::integer as day, date '{as_of}' as as_of_date,
            ahead as periods_ahead, 1.0 as mean_units, {quantiles}, '{version}' as model_version
        from range(1, 29) aheads(ahead)
        """
    ).write_parquet(str(file))


def archive(home: Settings, as_of: date, version: str, *, made: str, data_day: date | None = None) -> Path:
    folder = home.archive / f"{as_of}_{version}"
    forecasts(folder / "demand_forecasts.parquet", as_of, version)
    build = {"ingested_until": made, "data_as_of": (data_day or as_of).isoformat()}
    (folder / "archive.json").write_text(json.dumps({"as_of": as_of.isoformat(), "build": build}))
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """A home on its third day: the first was published twice, and looked back at later."""
    made = Settings(tmp_path, tmp_path / "landing", "", "", "")
    first, second = TODAY - timedelta(days=2), TODAY - timedelta(days=1)
    archive(made, first, "early", made="2030-01-01T05:00:00+00:00")
    archive(made, first, "late", made="2030-01-01T15:00:00+00:00")
    archive(made, first, "again", made="2030-01-02T09:00:00+00:00", data_day=second)
    archive(made, second, "next", made="2030-01-02T05:00:00+00:00")
    archive(made, TODAY, "now", made="2030-01-03T05:00:00+00:00")
    forecasts(made.predictions / "demand_forecasts.parquet", TODAY, "now")
    return made


def kept(home: Settings) -> list[tuple[date, str, int]]:
    path = write_history(home, build_of(TODAY), "published_forecasts")
    query = "select as_of_date, model_version, count(*) from read_parquet(?) group by all order by 1"
    return duckdb.execute(query, [str(path)]).fetchall()


def test_the_last_publication_of_a_day_was_in_force_and_one_that_looked_back_never_was(home: Settings) -> None:
    found = archives_in_force(home, build_of(TODAY))
    assert [folder.name for folder in found.values()] == ["2024-05-01_late", "2024-05-02_next"]


def test_a_history_has_four_lags_of_each_day_and_of_this_run(home: Settings) -> None:
    expected = [(date(2024, 5, 1), "late", 4), (date(2024, 5, 2), "next", 4), (TODAY, "now", 4)]
    assert kept(home) == expected
    assert kept(home) == expected  # read from the file, not from the archive


def test_what_was_read_before_is_not_read_again(home: Settings) -> None:
    before = kept(home)
    for folder in home.archive.iterdir():
        (folder / "demand_forecasts.parquet").unlink()
    assert kept(home) == before


def test_a_history_forgets_what_the_archive_forgets(home: Settings) -> None:
    kept(home)
    shutil.rmtree(home.archive / "2024-05-01_late")
    shutil.rmtree(home.archive / "2024-05-01_early")
    assert kept(home) == [(date(2024, 5, 2), "next", 4), (TODAY, "now", 4)]
