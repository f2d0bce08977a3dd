"""How well record errors of the sample are found, by kind and size, beside a robust z; how fast and in how much memory.

    python tests/benchmarks/bench_anomaly.py        kept in tests/benchmarks/results/anomaly.txt

The truth of the sample (data/sample/truth) is read here alone: the detector learns on errors it plants itself. Times
are processor seconds of this process, which a busy machine changes little.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np
import pandas as pd

from ml import anomaly

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
RESULTS = Path(__file__).parent / "results" / "anomaly.txt"
KEYS = ["sku", "location_id", "day"]
MOVEMENT_FACTS = [
    "counted_change_units",
    "max_line_units",
    "repeated_line_units",
    "repeated_gap_minutes",
    "expected_receipt_units",
    "sale_unit_price",
]
Answer = TypeVar("Answer")

# Movements in the order in which they count, each with the stock it leaves: a count sets it.
FOLD = """
create table known as
select movements.*, (occurred_at at time zone locations.time_zone)::date as day
from read_parquet('{sample}/stock_movements/*.parquet') as movements
inner join read_csv('{sample}/locations/*.csv') as locations using (location_id)
inner join read_csv('{sample}/products/*.csv', types = {{'sku': 'varchar'}}) as products using (sku)
qualify row_number() over (partition by source, document, line order by revision desc) = 1;

create table folded as
with grouped as (
    select *, (movement_type = 'count')::int as is_count, count(*) filter (movement_type = 'count') over item as counts
    from known
    window item as (
        partition by sku, location_id
        order by occurred_at, (movement_type = 'count')::int, source, document, line
    )
),
stocked as (
    select *, sum(quantity_units) over (
        partition by sku, location_id, counts order by occurred_at, is_count, source, document, line
    ) as on_hand_after_units
    from grouped
)
select *, on_hand_after_units - coalesce(lag(on_hand_after_units) over (
    partition by sku, location_id order by occurred_at, is_count, source, document, line
), 0) as change_units
from stocked;
"""

DAILY = """
with moved as (
    select sku, location_id, day,
        sum(change_units) filter (movement_type = 'receipt') as receipt_units,
        -sum(change_units) filter (movement_type in ('sale', 'cancellation')) as sales_units,
        sum(change_units) filter (movement_type not in ('sale', 'cancellation', 'receipt')) as other_units,
        sum(change_units) as change_units,
        -sum(quantity_units) filter (movement_type = 'sale') as sold_units,
        min(on_hand_after_units) as least_units
    from folded group by all
),
cancelled as (
    select sales.sku, sales.location_id, sales.day, sum(cancellations.quantity_units) as units
    from known as cancellations
    inner join known as sales on cancellations.movement_type = 'cancellation'
        and cancellations.reference = sales.source || ':' || sales.document || ':' || sales.line
    group by all
),
days as (
    select sku, location_id,
        unnest(generate_series(min(day), (select max(day) from folded), interval 1 day))::date as day
    from folded group by sku, location_id
),
open_days as (select distinct location_id, day, true as is_open from folded where movement_type = 'sale'),
closed as (
    select days.sku, days.location_id, days.day, coalesce(is_open, false) as is_open,
        coalesce(receipt_units, 0) as receipt_units, coalesce(sales_units, 0) as sales_units,
        coalesce(other_units, 0) as other_units, coalesce(change_units, 0) as change_units,
        greatest(coalesce(sold_units, 0) - coalesce(cancelled.units, 0), 0) as demand_units,
        coalesce(least_units, 1) as least_units,
        sum(coalesce(change_units, 0)) over (
            partition by days.sku, days.location_id order by days.day
        ) as closing_units
    from days
    left join moved using (sku, location_id, day)
    left join cancelled using (sku, location_id, day)
    left join open_days using (location_id, day)
)
select sku, location_id, day::timestamp as day, (closing_units - change_units)::double as opening_units,
    receipt_units::double as receipt_units, sales_units::double as sales_units, other_units::double as other_units,
    closing_units::double as closing_units, demand_units::double as demand_units,
    closing_units > 0 and least_units > 0 as is_in_stock, is_open, unit_price::double as unit_price
from closed
inner join read_csv('{sample}/products/*.csv', types = {{'sku': 'varchar'}}) as products using (sku)
order by sku, location_id, day
"""

# What movements and purchase orders say about a day beyond its sums.
FACTS = """
with ordinary as (select * from folded where movement_type <> 'count'),
neighbours as (
    select *, lag(document) over alike as document_before, lag(occurred_at) over alike as occurred_before
    from ordinary
    window alike as (
        partition by sku, location_id, day, movement_type, quantity_units, unit_price order by occurred_at, document
    )
),
repeats as (
    select sku, location_id, day, max(abs(quantity_units)) as repeated_line_units,
        arg_max(epoch(occurred_at - occurred_before) / 60, abs(quantity_units)) as repeated_gap_minutes
    from neighbours
    where document <> document_before and occurred_at - occurred_before <= interval 1 hour
    group by all
),
receipts as (
    select sku, location_id, day, reference, sum(quantity_units) as units
    from folded where movement_type = 'receipt' group by all
),
order_lines as (
    select purchase_order_id || ':' || line as reference, sku, location_id, ordered_units
    from read_parquet('{sample}/purchase_order_lines/*.parquet')
),
open_lines as (
    select receipts.sku, receipts.location_id, receipts.day,
        case when order_lines.sku = receipts.sku and order_lines.location_id = receipts.location_id
            then greatest(ordered_units - coalesce(sum(units) over (
                partition by receipts.reference order by receipts.day
                range between unbounded preceding and interval 1 day preceding
            ), 0), 0)
            else 0 end as open_units
    from receipts left join order_lines using (reference)
),
expected as (
    select sku, location_id, day, sum(open_units) as expected_receipt_units from open_lines group by all
),
counted as (
    select sku, location_id, day,
        sum(change_units) filter (movement_type = 'count') as counted_change_units,
        coalesce(max(abs(quantity_units)) filter (movement_type <> 'count'), 0) as max_line_units,
        sum(-quantity_units * unit_price) filter (movement_type = 'sale' and unit_price > 0)
            / sum(-quantity_units) filter (movement_type = 'sale' and unit_price > 0) as sale_unit_price
    from folded group by all
)
select sku, location_id, day::timestamp as day, counted_change_units::double as counted_change_units,
    max_line_units::double as max_line_units, coalesce(repeated_line_units, 0)::double as repeated_line_units,
    repeated_gap_minutes::double as repeated_gap_minutes,
    expected_receipt_units::double as expected_receipt_units, sale_unit_price::double as sale_unit_price
from counted
left join repeats using (sku, location_id, day)
left join expected using (sku, location_id, day)
"""


def sample_series() -> pd.DataFrame:
    """Return the daily series of the sample with everything that its movements say."""
    connection = duckdb.connect()
    connection.execute("set threads = 2")
    connection.execute(FOLD.format(sample=SAMPLE))
    daily = connection.sql(DAILY.format(sample=SAMPLE)).df()
    facts = connection.sql(FACTS.format(sample=SAMPLE)).df()
    series = daily.merge(facts, on=KEYS, how="left")
    for name in ("max_line_units", "repeated_line_units"):
        series[name] = series[name].fillna(0.0)
    return series


def sample_labels() -> pd.DataFrame:
    """Return the planted errors and the corrections larger than the shelf, days as the location's calendar has them."""
    zones = pd.read_csv(next((SAMPLE / "locations").glob("*.csv"))).set_index("location_id")["time_zone"]
    truth = pd.read_csv(SAMPLE / "truth" / "plantings.csv", dtype={"sku": str}, parse_dates=["day"])
    instants = pd.to_datetime(truth["corrected_at"], utc=True)
    truth["corrected_day"] = [
        instant.tz_convert(zones[place]).tz_localize(None).normalize() if pd.notna(instant) else pd.NaT
        for instant, place in zip(instants, truth["location_id"], strict=True)
    ]
    truth["kind"] = truth["kind"] + " " + truth["movement_type"]
    return truth[[*KEYS, "kind", "size", "corrected_day"]]


def many_series(items: int, days: int) -> pd.DataFrame:
    """Return made-up series, a third of the days with a sale, a receipt every 20 days, a count every 50."""
    rng = np.random.default_rng(0)
    day, item = (grid.ravel() for grid in np.meshgrid(np.arange(days), np.arange(items)))
    sales = np.where(rng.random(len(day)) < 0.33, np.ceil(rng.lognormal(1.0, 1.0, len(day))), 0.0)
    receipt = np.where((day + item) % 20 == 0, 40.0, 0.0)
    closing = 500.0 + (receipt - sales).reshape(items, days).cumsum(axis=1).ravel()
    return pd.DataFrame(
        {
            "sku": np.char.add("S", (item // 4).astype(str)),
            "location_id": np.char.add("L", (item % 4).astype(str)),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(day, "D"),
            "opening_units": closing - receipt + sales,
            "receipt_units": receipt,
            "sales_units": sales,
            "other_units": 0.0,
            "closing_units": closing,
            "counted_change_units": np.where((day + item) % 50 == 0, 0.0, np.nan),
        }
    )


def timed(step: Callable[[], Answer]) -> tuple[Answer, float]:
    """Return what a step returns and its processor seconds."""
    start = time.process_time()
    answer = step()
    return answer, time.process_time() - start


def peak_gb() -> float:
    """Return the most memory this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def speed() -> list[str]:
    """Return lines on time and memory for 2.5 million rows."""
    series = many_series(10_000, 250)
    before = peak_gb()
    detector, training = timed(lambda: anomaly.train(series, seed=0))
    _, scoring = timed(lambda: detector.score(series))
    _, recent = timed(lambda: detector.score(series, since=series["day"].max() - pd.Timedelta(days=90)))
    return [
        f"speed: {len(series):,} rows (10,000 series of 250 days), processor seconds",
        f"  train {training:.1f}   score all {scoring:.1f}   score the last 90 days {recent:.1f}",
        f"  peak memory {peak_gb():.2f} GB, of which {before:.2f} GB the process with the series before training",
    ]


def accuracy() -> list[str]:
    """Return lines on the errors found in the sample."""
    if not (SAMPLE / "truth" / "plantings.csv").is_file():
        return ["accuracy: not measured, data/sample/truth is absent; data/sample/make_sample.py makes it"]
    series, labels = sample_series(), sample_labels()
    detector, training = timed(lambda: anomaly.train(series, seed=0))
    scored, scoring = timed(lambda: detector.score(series))
    daily = series.drop(columns=MOVEMENT_FACTS)
    scores = {
        "detector": scored,
        "daily sums": anomaly.train(daily, seed=0).score(daily),
        "robust z": anomaly.robust_z_baseline(series),
    }
    measured = anomaly.evaluate(scores, labels)
    lines = [
        f"accuracy on the truth of the sample: {len(series):,} rows, {len(labels):,} errors, as many rows reported",
        f"  train {training:.1f} s, score {scoring:.1f} s; days from an error to its count stand aside",
        "  detector: daily sums, movements and orders; daily sums: fct_daily_stock and fct_daily_demand alone",
    ]
    columns = ["positives", "precision", "recall", "f1", "auc_roc", "auc_pr", "found_by_count"]
    for kind, table in measured.groupby("kind", sort=False):
        lines += ["", f"{kind:<30}{'size':<8}" + "".join(f"{name:>15}" for name in columns)]
        for row in table.to_dict("records"):
            figures = [f"{row[name]:d}" if name == "positives" else f"{row[name]:.3f}" for name in columns]
            lines.append(f"  {row['detector']:<28}{row['size']:<8}" + "".join(f"{figure:>15}" for figure in figures))
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in scored["kind"].value_counts().items())
    return [
        *lines,
        "",
        f"rows by kind: {kinds}",
        "",
        "A lost sale, and the side of a swap that misses one, leave nothing on their day: only a count, or stock below",
        "zero, shows them. found_by_count says how many errors had a report before or at the count that mended them.",
        "excess_correction is not planted: a real correction larger than the simulated shelf.",
    ]


def main() -> None:
    """Measure, print and keep."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("xgboost", "numpy", "pandas"))
    lines = [f"python {platform.python_version()}, {packages}, {platform.machine()}, {os.cpu_count()} cores", ""]
    for part in (speed, accuracy):
        lines += [*part(), ""]
    print("\n".join(lines))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
