"""What a run came to, as text a planner and an engineer read at a terminal."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import duckdb

from orchestration.home.settings import PROJECT_FOLDER, Settings
from orchestration.publishing.generations import current_manifest
from orchestration.training.forecast_totals import forecast_remarks
from orchestration.training.lifecycle import failed_gates, headlines

_TOP = """
    select
        product_name, sku, location_id, order_units, order_packs, supplier_id, order_by_date,
        stockout_date_50, order_value
    from reporting.restock_recommendations
    where order_units > 0
    order by stockout_date_50 nulls last, order_value desc
    limit 12
"""
_TOTALS = """
    select count(*) filter (where order_units > 0), coalesce(sum(order_value), 0), count(*),
        count(*) filter (where status = 'exception')
    from reporting.restock_recommendations
"""
_QUARANTINED = """
    select table_name, rule, count(*) as rows, min(reason) as example
    from marts.fct_quarantined_rows group by table_name, rule order by rows desc, table_name, rule
"""


def summarise(settings: Settings, published: Path | None = None) -> str:
    """Return the summary of what is published in a home: orders, champions, quarantine, where to look further.

    Args:
        settings: of the home.
        published: folder of a day that is looked back at; None = the current generation.
    """
    published = published or settings.published
    manifest = current_manifest(published)
    if manifest is None:
        return (
            f"Nothing is published in {settings.home} yet: put files in {settings.landing} and run `inventorybot run`."
        )
    database = (published / "current.duckdb").resolve()
    with duckdb.connect(str(database), read_only=True) as connection:
        orders, money, items, exceptions = connection.sql(_TOTALS).fetchall()[0]
        top = connection.sql(_TOP).fetchall()
        quarantined = connection.sql(_QUARANTINED).fetchall()
        remarks = forecast_remarks(connection)
    champions = headlines(settings)
    return "\n".join(
        [
            "",
            f"Restock recommendations at the end of {manifest['as_of']}: {orders:,} orders for {money:,.2f} "
            f"among {items:,} items, {exceptions:,} exceptions."
            + (" The most urgent:" if top else " Every item is covered until the next order can arrive."),
            *_section(
                ["product", "sku", "at", "order", "packs", "supplier", "order by", "stock-out likely", "money"],
                [
                    [
                        row[0][:34],
                        *row[1:3],
                        f"{row[3]:,.0f}",
                        f"{row[4]:,.0f}",
                        row[5],
                        row[6],
                        row[7] or "-",
                        f"{row[8]:,.2f}",
                    ]
                    for row in top
                ],
                right={3, 4, 8},
            ),
            *(["", *remarks] if remarks else []),
            "",
            "Champions:" if champions else "Champions: none",
            *_section(
                ["model", "version", "metric", "champion", "baseline", "baseline model"], champions, right={3, 4}
            ),
            *_lines("Gates not passed:", failed_gates(settings)),
            "",
            "Quarantined rows:" if quarantined else "Quarantined rows: none",
            *_section(
                ["table", "rule", "rows", "for example"],
                [[*row[:2], f"{row[2]:,}", row[3][:70]] for row in quarantined],
                right={2},
            ),
            "",
            f"Generation {manifest['generation']}, content hash {manifest['content_hash']}",
            *_beside(manifest),
            "",
            "Look further:",
            "  make ui       Dagster: assets, checks, runs",
            "  make mlflow   MLflow: experiments, registered models, gate verdicts",
            "  make serve    HTTP: stock, forecasts, recommendations, models",
            f"  SQL           any DuckDB client, read-only, on {_short(published / 'current.duckdb')}",
            "  commands      .venv/bin/inventorybot --help",
        ]
    )


def _beside(manifest: Mapping[str, Any]) -> list[str]:
    """Return that a day was looked back at, and with what knowledge; nothing for the current generation."""
    if "knowledge" not in manifest:
        return []
    return [f"Published beside the current generation, which stays: {manifest['knowledge']}."]


def _lines(title: str, lines: Sequence[str]) -> list[str]:
    """Return lines below a title, none for no lines."""
    return ["", title, *(f"  {line}" for line in lines)] if lines else []


def _section(header: Sequence[str], rows: Sequence[Sequence[object]], *, right: Set[int] = frozenset()) -> list[str]:
    """Return a table as lines, none for no rows."""
    if not rows:
        return []
    texts = [list(header), *([str(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    head, *body = [
        "  "
        + "  ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in texts
    ]
    return [head, "  " + "  ".join("-" * width for width in widths), *body]


def _short(path: Path) -> str:
    return str(path.relative_to(PROJECT_FOLDER)) if path.is_relative_to(PROJECT_FOLDER) else str(path)
