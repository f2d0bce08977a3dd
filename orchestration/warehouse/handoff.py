"""What models and the restock engine hand back to dbt's second pass: one Parquet file per table.

Belongs here: writing those files, and telling whether they have to be made again. Does not: what is in them.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.home.settings import Settings
from orchestration.home.sql_text import literal, path_literal
from orchestration.warehouse.build import Build

if TYPE_CHECKING:
    import pandas as pd


def kept_predictions(settings: Settings, table: str, made_from: str) -> Path | None:
    """Return what was handed to dbt before, where it was made from the same; None = it has to be made."""
    import duckdb

    path = settings.predictions / f"{table}.parquet"
    if not path.exists():
        return None
    recorded = duckdb.execute(
        f"select decode(value) from parquet_kv_metadata({path_literal(path)}) where decode(key) = 'made_from'"
    )
    return path if recorded.fetchall() == [(made_from,)] else None


def write_predictions(
    settings: Settings,
    table: str,
    frame: "pd.DataFrame",
    build: Build,
    version: str | None,
    made_from: str | None = None,
) -> Path:
    """Hand a frame to dbt's second pass, with its business day and the version that made it, if any; return the file.

    `period_start` becomes `day` and `periods_ahead`. `made_from` is a fingerprint of all it was made from, for
    `kept_predictions`.
    """
    import duckdb

    is_forecast = "period_start" in frame
    days = f"period_start::date as day, date_diff('day', date '{build.as_of}', period_start::date) as periods_ahead"
    version_column = "forecast_model_version" if table == "restock_lines" else "model_version"
    path = settings.predictions / f"{table}.parquet"
    beside = path.with_suffix(".tmp")
    try:
        with duckdb.connect() as connection:
            connection.register("frame", frame)
            connection.execute(
                f"""
                copy (
                    select {f"* exclude (period_start), {days}" if is_forecast else "*"},
                        date '{build.as_of}' as as_of_date{f", '{version}' as {version_column}" if version else ""}
                    from frame
                ) to {literal(beside)}
                (format parquet, compression zstd, kv_metadata {{made_from: {literal(made_from or "")}}})
                """
            )
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
