"""What a run came to, as text a planner and an engineer read at a terminal."""

import math
import textwrap
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from orchestration.home.settings import PROJECT_FOLDER, Settings
from orchestration.ingest.deliveries import questions_of_home
from orchestration.ingest.formats import load_formats
from orchestration.ingest.manifests import rejected_files
from orchestration.ingest.names import shown
from orchestration.publishing.generations import current_manifest
from orchestration.training.forecast_totals import forecast_remarks
from orchestration.training.lifecycle import failed_gates, headlines

_MOST_ALERTS, _MOST_ORDERS, _MOST_OTHERS, _MOST_CAUSES = 10, 12, 6, 8
_NAME_WIDTH, _CURE_WIDTH, _LINE_WIDTH = 34, 90, 120
_IS_KNOWN = ("fct_stock_position", "is_stock_known")

_ALERTS = f"""
    select money_per_day, replace(kind, '_', ' '), coalesce(product_name, supplier_name, supplier_id), sku, location_id,
        from_date, until_date, cure
    from reporting.stock_alerts order by alert_rank limit {_MOST_ALERTS}
"""
_ALERT_KINDS = """
    select replace(kind, '_', ' '), count(*), sum(money_per_day) from reporting.stock_alerts
    group by kind order by sum(money_per_day) desc, kind
"""
_ORDERS = f"""
    select order_value, product_name, sku, location_id, order_units, order_packs, on_hand_units, on_order_units,
        expected_arrival_date, coalesce(supplier_name, supplier_id)
    from reporting.restock_recommendations
    where order_units > 0 order by order_value desc, sku, location_id limit {_MOST_ORDERS}
"""
_TOTALS = """
    select count(*) filter (where order_units > 0), coalesce(sum(order_value), 0), count(*)
    from reporting.restock_recommendations
"""
_TRANSFERS = f"""
    select transfer_units, product_name, sku, from_location_id, to_location_id, state, order_by_date,
        expected_arrival_date
    from reporting.stock_transfers where state in ('proposed', 'approved', 'exported', 'acknowledged')
    order by state <> 'proposed', order_by_date, lost_margin_avoided desc, transfer_units desc, sku, to_location_id
    limit {_MOST_OTHERS}
"""
_LATE = f"""
    select days_late, product_name, sku, location_id, open_units, likely_arrival_date,
        coalesce(supplier_name, supplier_id), purchase_order_id
    from reporting.risk_late_purchase_orders
    order by stockout_date_50 nulls last, days_late desc, purchase_order_id, line limit {_MOST_OTHERS}
"""
_WAITING = "select count(*) from reporting.restock_recommendations where status = 'exception'"
# One row a cause: a home that was never counted has the same one for every item.
_EXCEPTIONS = """
    with ranked as (
        select exceptions.exception_cause, exceptions.remedy, alerts.money_per_day,
            concat_ws(' ', coalesce(products.product_name, exceptions.sku), '(' || exceptions.sku || ')',
                'at ' || exceptions.location_id) as item
        from reporting.restock_exceptions as exceptions
        left join marts.dim_products as products on exceptions.sku = products.sku
        left join (
            select sku, location_id, max(money_per_day) as money_per_day
            from reporting.stock_alerts
            group by sku, location_id
        ) as alerts on exceptions.sku = alerts.sku and exceptions.location_id = alerts.location_id
    )
    select exception_cause, count(*) as items, sum(money_per_day) as money_per_day,
        arg_min(item, (-coalesce(money_per_day, 0), item)) as item,
        arg_min(remedy, (-coalesce(money_per_day, 0), item)) as remedy
    from ranked
    group by exception_cause
    order by sum(money_per_day) desc nulls last, items desc, exception_cause
"""
_UNKNOWN_STOCK = """
    select count(*) filter (not is_stock_known), count(*) from marts.fct_stock_position
"""
_QUARANTINED = """
    select table_name, rule, count(*) as rows, min(reason) as example
    from marts.fct_quarantined_rows group by table_name, rule order by rows desc, table_name, rule
"""

_DOUBTFUL = """
    select doubt, count(*) as movements, min(reason) as example
    from marts.fct_doubtful_movements group by doubt order by movements desc, doubt
"""

_ENDED = """
    select replace(table_name, '_', ' '), count(*) as rows,
        array_to_string(list(row_key order by row_key)[:3], '; ') as examples
    from marts.fct_ended_rows where ended_date >= ?::date group by table_name order by rows desc, table_name
"""


@dataclass(frozen=True)
class _Published:
    """What a published generation says, ready to be shown."""

    connection: duckdb.DuckDBPyConnection

    def rows(self, query: str, *parameters: object) -> list[list[str]]:
        """Return what a query finds, as texts."""
        return [[_text(value) for value in row] for row in self.connection.execute(query, parameters).fetchall()]

    def count(self, relation: str) -> int:
        """Return the rows of a relation."""
        return int(self.connection.sql(f"select count(*) from {relation}").fetchall()[0][0])

    def has(self, table: str, column: str = "as_of_date") -> bool:
        """Return whether a table has a column; a generation of an earlier version of this software may lack both."""
        found = f"from information_schema.columns where table_name = '{table}' and column_name = '{column}'"
        return bool(self.connection.sql(found).fetchall())


def summarise(settings: Settings, published: Path | None = None) -> str:
    """Return the summary of what is published in a home: what is wrong, orders, champions, where to look further.

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
        generation = _Published(connection)
        stock = [*_wrong_now(generation), *_orders(generation), *_supply(generation)]
        orders, money, items = connection.sql(_TOTALS).fetchall()[0]
        remarks = forecast_remarks(connection)
        quarantined = generation.rows(_QUARANTINED)
        doubtful = generation.rows(_DOUBTFUL) if generation.has("fct_doubtful_movements", "doubt") else []
        ended = generation.rows(_ENDED, manifest["as_of"]) if generation.has("fct_ended_rows", "row_key") else []
    champions = headlines(settings)
    return "\n".join(
        [
            "",
            f"At the end of {manifest['as_of']}: {orders:,} orders for {money:,.2f} among {items:,} items. Money is in "
            "the currency of the costs.",
            *stock,
            *_lines("The forecast parts from last year or recent weeks:", remarks),
            "",
            "Champions:" if champions else "Champions: none",
            *_section(
                ["model", "version", "metric", "champion", "hardest competitor", "its value", "ratio", "90 % interval"],
                champions,
                right={3, 5, 6},
            ),
            *_lines("Gates not passed:", failed_gates(settings)),
            *_files(settings),
            "",
            "Quarantined rows:" if quarantined else "Quarantined rows: none",
            *_section(
                ["table", "rule", "rows", "for example"], [[*row[:3], row[3][:70]] for row in quarantined], right={2}
            ),
            *_lines(
                "Doubtful movements (marts.fct_doubtful_movements):",
                [f"{doubt}: {count}, such as: {example[:140]}" for doubt, count, example in doubtful],
            ),
            *_lines(
                f"Ended on {manifest['as_of']} (marts.fct_ended_rows):",
                [f"{rows} {table}, such as: {examples}" for table, rows, examples in ended],
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


def _wrong_now(published: _Published) -> list[str]:
    """Return what is wrong now, worst first."""
    if not published.has("stock_alerts"):
        return []
    alerts = published.rows(_ALERTS)
    if not alerts:
        unknown, items = published.rows(_UNKNOWN_STOCK)[0] if published.has(*_IS_KNOWN) else ["0", "0"]
        if unknown != "0":
            return ["", f"Of {unknown} of {items} items it is not known what is on the shelf, see exceptions."]
        return ["", "Nothing is wrong with stock now."]
    kinds = ", ".join(f"{count} {kind} ({money} a day)" for kind, count, money in published.rows(_ALERT_KINDS))
    return [
        "",
        f"Wrong now, most money a day first (reporting.stock_alerts): {kinds}.",
        *_section(
            ["money a day", "what", "product", "sku", "at", "from", "until", "what to do"],
            [[*row[:2], row[2][:_NAME_WIDTH], *row[3:7], _cut(row[7])] for row in alerts],
            right={0},
        ),
    ]


def _orders(published: _Published) -> list[str]:
    orders = [[row[0], row[1][:_NAME_WIDTH], *row[2:]] for row in published.rows(_ORDERS)]
    if not orders:
        waiting = published.rows(_WAITING)[0][0]
        if waiting:
            return ["", f"Orders: none, and {waiting} items wait: no order can be worked out for them, see exceptions."]
        return ["", "Orders: none, every item is covered until its next order can come."]
    header = ["money", "product", "sku", "at", "order", "packs", "on hand", "on order", "arrives", "supplier"]
    return ["", "Largest orders:", *_section(header, orders, right={0, 4, 5, 6, 7})]


def _supply(published: _Published) -> list[str]:
    """Return transfers and late orders, the worst of each, and exceptions by cause."""
    found: list[str] = []
    for title, relation, query, header, right, name in (
        ("Transfers", "reporting.stock_transfers", _TRANSFERS,
         ["units", "product", "sku", "from", "to", "state", "send by", "arrives"], {0}, 1),
        ("Late order lines", "reporting.risk_late_purchase_orders", _LATE,
         ["days late", "product", "sku", "at", "open", "likely", "supplier", "order"], {0, 4}, 1),
    ):  # fmt: skip
        if relation == "reporting.stock_transfers" and not published.has("stock_transfers", "state"):
            continue
        rows = published.rows(query)
        for row in rows:
            row[name], row[-1] = row[name][:_NAME_WIDTH], _cut(row[-1])
        shown = f", the first {len(rows)} of {relation}" if published.count(relation) > len(rows) else ""
        found += ["", f"{title}: {published.count(relation):,}{shown}", *_section(header, rows, right=right)]
    return found + _exceptions(published)


def _exceptions(published: _Published) -> list[str]:
    """Return each cause of an exception with what to do about the item that costs most."""
    if not published.has("stock_alerts"):
        return []
    found = ["", f"Exceptions: {published.count('reporting.restock_exceptions'):,} (reporting.restock_exceptions)"]
    causes = published.rows(_EXCEPTIONS)
    for cause, items, money, item, remedy in causes[:_MOST_CAUSES]:
        cost = "" if money == "-" else f", {money} a day"
        said = f"{items} {cause}{cost}, such as {item}: {remedy}" if item else f"{items} {cause}: {remedy}"
        found += textwrap.wrap(said, _LINE_WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    if len(causes) > _MOST_CAUSES:
        found.append(f"  and {len(causes) - _MOST_CAUSES} more causes")
    return found


def _files(settings: Settings) -> list[str]:
    rejected = rejected_files(settings.raw)
    asked = questions_of_home(settings.raw, load_formats(settings.formats_file))
    return [
        *_lines("Files rejected:", [shown(f"{table}/{file.name}: {file.reason}") for table, file in rejected]),
        *_lines("What files bring is not said yet:", [shown(question) for question in asked]),
    ]


def _text(value: object) -> str:
    """Return a value as people read it: units without idle decimals, money with two, nothing as a dash."""
    if value is None:
        return "-"
    if isinstance(value, str | date):
        return str(value)
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        return "-"
    return f"{number:,.0f}" if number == int(number) else f"{number:,.2f}"


def _cut(text: str) -> str:
    return text if len(text) <= _CURE_WIDTH else text[: _CURE_WIDTH - 1] + "…"


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
