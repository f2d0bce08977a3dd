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
    movements, position = tmp_path / "movements.parquet", tmp_path / "position.parquet"
    at = f"select 'L1' as location_id, date '2011-12-01' + unnest([{days}])::integer as day"
    duckdb.sql(at).write_parquet(str(movements))
    duckdb.sql("select date '2011-12-10' as as_of_date").write_parquet(str(position))
    assert silent_locations(movements, position) == silent
