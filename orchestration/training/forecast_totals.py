"""Where forecast totals part from last year and the recent weeks, in sentences for the check and the summary of a run.

Belongs here: which of the notes are shown. Does not: the comparison itself (reporting.forecast_totals).
"""

from pathlib import Path

import duckdb

from orchestration.warehouse.exports import read_sql

_PARTING = """
    select category, note
    from {relation}
    where is_parting
    qualify row_number() over (
        partition by category order by abs(ln((forecast_units + 1) / (usual_units + 1))) desc, week_start
    ) = 1
    order by category is not null, abs(forecast_units - usual_units) desc, category
"""
_WEEKS = """
    select count(*), count(*) filter (is_parting), strftime(max(week_start) filter (is_parting), '%-d %B %Y')
    from reporting.forecast_totals
    where category is null
"""


def parting_totals(totals: Path, most: int = 3) -> list[str]:
    """Return sentences on the total and the categories whose forecasts part: on each the week furthest apart.

    Args:
        totals: reporting.forecast_totals as Parquet.
        most: categories that are named, those with the widest gaps in units; the others are counted.
    """
    found = duckdb.execute(_PARTING.format(relation=read_sql(totals))).fetchall()
    categories = [note for category, note in found if category is not None]
    more = len(categories) - most
    return [
        *(note for category, note in found if category is None),
        *categories[:most],
        *(
            [f"And {more} more {'category' if more == 1 else 'categories'}, see reporting.forecast_totals."]
            * (more > 0)
        ),
    ]


def forecast_remarks(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return up to two remarks: one on the total and its weeks, and one on the category with the widest gap.

    Args:
        connection: a published generation; one that an earlier version of this software published has no totals.
    """
    if not connection.sql("from information_schema.tables where table_name = 'forecast_totals'").fetchall():
        return []
    (judged,) = connection.sql("select count(distinct category) from reporting.forecast_totals").fetchall()[0]
    found = connection.sql(_PARTING.format(relation="reporting.forecast_totals")).fetchall()
    remarks = [note for category, note in found if category is None]
    weeks, parting, last = connection.sql(_WEEKS).fetchall()[0]
    if parting > 1:
        remarks[0] += f" {parting} of {weeks} weeks part, the last from {last}."
    categories = [note for category, note in found if category is not None]
    if categories:
        widest = categories[0][0].lower() + categories[0][1:]
        remarks.append(
            f"Forecasts of {len(categories)} of {judged} categories part from last year; the widest gap: {widest}"
        )
    return remarks
