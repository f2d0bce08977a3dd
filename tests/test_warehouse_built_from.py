"""What the warehouse was built from: what has to be built again, and what stands."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from orchestration.home.settings import PROJECT_FOLDER, Settings
from orchestration.warehouse.build import Build
from orchestration.warehouse.built_from import (
    BuiltFrom,
    contents_of,
    forget_built_from,
    inputs_of_marts,
    read_built_from,
    write_built_from,
)

BUILD = Build("run", "2026-03-02", "2026-03-03T08:00:00+00:00", 1, "code", running_day=True, data_as_of="2026-03-02")
LATER = replace(BUILD, ingested_until="2026-03-04T08:00:00+00:00")
FIRST, SECOND = "20260303T070000.000000Z", "20260304T070000.000000Z"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path, tmp_path / "landing", "", "", "")
    for folder in (settings.raw / "prices" / FIRST, settings.predictions, settings.warehouse_file.parent):
        folder.mkdir(parents=True, exist_ok=True)
    (settings.raw / "prices" / FIRST / "manifest.json").write_text("{}")
    settings.warehouse_file.write_bytes(b"tables")
    return settings


def arrive(settings: Settings, batch: str) -> None:
    """Add a batch to the raw tables."""
    (settings.raw / "prices" / batch).mkdir()
    (settings.raw / "prices" / batch / "manifest.json").write_text("{}")


def publish(settings: Settings, *days: tuple[datetime, str]) -> None:
    """Write generations: until when arrivals count, and the business day."""
    rows = ", ".join(
        f"({number}, timestamptz '{until.isoformat()}', date '{day}', cast(null as date))"
        for number, (until, day) in enumerate(days, start=1)
    )
    duckdb.execute(
        f"copy (from (values {rows}) as g(number, ingested_until, business_date, data_until_date))"
        f" to '{settings.predictions}/generations.parquet' (format parquet)"
    )


def test_a_publication_alone_builds_no_mart_again(settings: Settings) -> None:
    before = inputs_of_marts(settings, BUILD)
    publish(settings, (datetime(2026, 3, 3, 8, tzinfo=UTC), "2026-03-02"))
    assert inputs_of_marts(settings, BUILD) == before
    arrive(settings, SECOND)
    waiting = inputs_of_marts(settings, LATER)
    assert waiting != before
    first, same_day, next_day = (
        (datetime(2026, 3, 3, 8, tzinfo=UTC), "2026-03-02"),
        (datetime(2026, 3, 4, 8, tzinfo=UTC), "2026-03-02"),
        (datetime(2026, 3, 4, 8, tzinfo=UTC), "2026-03-03"),
    )
    publish(settings, first, same_day)
    assert inputs_of_marts(settings, LATER) == waiting
    publish(settings, first, next_day)
    assert inputs_of_marts(settings, LATER) != waiting


@pytest.mark.parametrize(
    "other",
    [
        {"as_of": "2026-03-03"},
        {"code": "other"},
        {"running_day": False},
        {"counts_until": "2026-04-01T00:00:00+00:00"},
        {"plan_other_consumption": True},
        {"data_as_of": "2026-03-09", "running_day": False},
    ],
)
def test_another_day_code_or_option_builds_the_marts_again(settings: Settings, other: dict[str, object]) -> None:
    assert inputs_of_marts(settings, replace(BUILD, **other)) != inputs_of_marts(settings, BUILD)  # type: ignore[arg-type]


def test_the_run_and_its_instant_build_nothing_again(settings: Settings) -> None:
    later = replace(BUILD, run_id="other", ingested_until="2026-03-03T09:00:00+00:00", fence=7)
    assert inputs_of_marts(settings, later) == inputs_of_marts(settings, BUILD)


def test_a_file_of_raw_that_changes_builds_the_marts_again(settings: Settings) -> None:
    before = inputs_of_marts(settings, BUILD)
    (settings.raw / "mapped_codes.json").write_text('{"sku": {}}')
    mapped = inputs_of_marts(settings, BUILD)
    assert mapped != before
    (settings.raw / "prices" / FIRST / "manifest.json").write_text('{"withdrawn": 1}')
    assert inputs_of_marts(settings, BUILD) != mapped


def test_a_batch_counts_from_the_build_on_that_reads_it(settings: Settings) -> None:
    before = inputs_of_marts(settings, BUILD)
    arrive(settings, SECOND)
    assert inputs_of_marts(settings, BUILD) == before
    assert inputs_of_marts(settings, LATER) != before


def test_what_another_hand_changed_is_built_again(settings: Settings) -> None:
    write_built_from(settings, BuiltFrom("marts", True, {"prices": 2}, {"restock_lines": "3 abc"}, {"marts": []}))
    assert read_built_from(settings).marts == "marts"
    with settings.warehouse_file.open("ab") as warehouse:
        warehouse.write(b"more")
    assert read_built_from(settings) == BuiltFrom()


def test_a_build_that_was_killed_leaves_nothing_to_keep(settings: Settings) -> None:
    write_built_from(settings, BuiltFrom("marts", True))
    forget_built_from(settings)
    assert read_built_from(settings) == BuiltFrom()


def test_what_reporting_reads_is_told_apart_by_its_content(settings: Settings) -> None:
    path = settings.predictions / "restock_lines.parquet"
    duckdb.execute(f"copy (from range(3)) to '{path}' (format parquet)")
    before = contents_of(settings, ["restock_lines", "restock_terms"])
    duckdb.execute(f"copy (from range(3) order by range desc) to '{path}' (format parquet)")
    assert contents_of(settings, ["restock_lines", "restock_terms"]) == before
    assert set(before) == {"restock_lines"}
    duckdb.execute(f"copy (from range(4)) to '{path}' (format parquet)")
    assert contents_of(settings, ["restock_lines"]) != before


def test_what_python_hands_to_the_marts_builds_them_again_when_it_changes(settings: Settings) -> None:
    path = settings.predictions / "planned_use.parquet"
    duckdb.execute(f"copy (from range(3)) to '{path}' (format parquet)")
    before = inputs_of_marts(settings, BUILD, ["planned_use"])
    duckdb.execute(f"copy (from range(4)) to '{path}' (format parquet)")
    assert inputs_of_marts(settings, BUILD, ["planned_use"]) != before


def test_before_reporting_generations_are_read_for_the_days_of_batches_alone() -> None:
    project = PROJECT_FOLDER / "dbt_project"
    sources = [*(project / "macros").glob("*.sql"), *(project / "models").glob("**/*.sql")]
    reads = {path.name for path in sources if "'generations'" in path.read_text()}
    assert reads == {"fct_generations.sql", "int_batch_days.sql", "latest_version.sql"}
