"""Asset checks on the marts."""

from pathlib import Path

import duckdb
import pytest

from orchestration.defs.checks import silent_locations


@pytest.mark.parametrize(
    ("days", "silent"),
    [
        ("0, 1, 2, 9, 10", []),
        ("0, 1, 2, 3, 8", []),
        (
            "0, 1, 2, 3",
            ["L1 has had no movement since 2011-12-04: 6 days, 1 at most before; is its feed still coming?"],
        ),
        ("0, 7", []),
        ("0, 3, 4", ["L1 has had no movement since 2011-12-05: 5 days, 3 at most before; is its feed still coming?"]),
    ],
    ids=["on the day", "two days", "longer than ever", "no longer than before", "just longer"],
)
def test_a_location_is_silent_when_it_pauses_longer_than_ever(tmp_path: Path, days: str, silent: list[str]) -> None:
    assert silent_locations(*written(tmp_path, days)) == silent


def test_a_location_that_has_ended_or_is_closed_is_not_silent(tmp_path: Path) -> None:
    assert silent_locations(*written(tmp_path, "0, 1, 2, 3", ended="date '2011-12-05'")) == []
    assert silent_locations(*written(tmp_path, "0, 1, 2, 3", is_open="false")) == []


def written(folder: Path, days: str, *, ended: str = "null::date", is_open: str = "true") -> list[Path]:
    """Write what the check reads of one location that moved on some days of December."""
    queries = (
        f"select 'L1' as location_id, date '2011-12-01' + unnest([{days}])::integer as day",
        "select date '2011-12-10' as as_of_date",
        f"select 'L1' as location_id, {ended} as ended_date",
        f"select 'L1' as location_id, date '2011-12-10' as day, {is_open} as is_open",
    )
    paths = [folder / f"{number}.parquet" for number in range(len(queries))]
    for query, path in zip(queries, paths, strict=True):
        duckdb.sql(query).write_parquet(str(path))
    return paths
