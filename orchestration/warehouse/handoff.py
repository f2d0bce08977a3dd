"""What models and the restock engine hand back to dbt's second pass: one Parquet file per table.

Belongs here: writing those files, and telling whether they have to be made again. Does not: what is in them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.home.fingerprints import code_version, text_fingerprint
from orchestration.home.settings import Settings
from orchestration.home.sql_text import literal, path_literal
from orchestration.warehouse.build import Build
from orchestration.warehouse.exports import content_hash, export_path

if TYPE_CHECKING:
    import pandas as pd

    from ml.tracking import Version


def made_from(
    settings: Settings, build: Build, champion: "Version", inputs: Iterable[str], choices: Iterable[str] = ()
) -> str:
    """Return a fingerprint of all that predictions rest on: day, model, code, the content of inputs, and settings.

    Args:
        settings: of the home.
        build: the build of the warehouse.
        champion: the model they come from.
        inputs: exported relations, such as marts.fct_daily_demand, and other predictions, such as open_proposals.
        choices: names of the settings that matter.
    """
    paths = [export_path(settings, name) if "." in name else _path(settings, name) for name in inputs]
    chosen, contents = [getattr(settings, name) for name in choices], [content_hash(path) for path in paths]
    return text_fingerprint(build.as_of, champion.version, champion.folder_sha256, code_version(), *chosen, *contents)


def kept_predictions(settings: Settings, table: str, made_from: str) -> Path | None:
    """Return what was handed to dbt before, where it was made from the same; None = it has to be made."""
    import duckdb

    path = _path(settings, table)
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
    path = _path(settings, table)
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


def _path(settings: Settings, table: str) -> Path:
    return settings.predictions / f"{table}.parquet"


def write_planned_use(settings: Settings, planned: "pd.DataFrame") -> Path:
    """Hand dbt's first pass what policies say of use without a sale: sku, location_id, is_planned; return the file."""
    path = _path(settings, "planned_use")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    planned.to_parquet(beside, index=False)
    return beside.replace(path)
