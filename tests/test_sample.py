"""What the shipped sample promises, read from the shipped files; and its simulator on small invented series."""

import hashlib
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "data" / "sample"
SOURCES = Path(os.environ.get("BENCH_DATA", ROOT.parent / "shared" / "data"))
CONTRACT = {
    table["name"]: {column["name"]: column for column in table["columns"]}
    for table in yaml.safe_load((ROOT / "dbt_project/models/staging/__raw.yml").read_text())["sources"][0]["tables"]
}
SHIPPED = sorted(table for table in CONTRACT if (SAMPLE / table).is_dir())


def shipped_file(table: str) -> Path:
    """Return the file of a raw table in the sample."""
    return next(path for path in (SAMPLE / table).iterdir() if path.suffix in (".csv", ".parquet"))


def shipped_columns(table: str) -> list[str]:
    """Return the columns of a raw table in the sample."""
    file = shipped_file(table)
    return list(pd.read_csv(file, nrows=0).columns) if file.suffix == ".csv" else list(pq.read_schema(file).names)


@pytest.fixture(scope="module")
def sample() -> duckdb.DuckDBPyConnection:
    """The shipped tables in the contract's types, the truth, `movements` (highest revisions) and their fold."""
    connection = duckdb.connect()
    connection.execute("set threads = 2; set timezone = 'UTC'")
    for name in SHIPPED:
        file = shipped_file(name)
        types = ", ".join(
            f"cast({one} as {CONTRACT[name][one]['data_type']}) as {one}" for one in shipped_columns(name)
        )
        relation = f"read_csv('{file}', all_varchar = true)" if file.suffix == ".csv" else f"'{file}'"
        connection.execute(f"create table {name} as select {types} from {relation}")
    for name in ("orders", "daily_stock"):
        connection.execute(f"create table {name} as select * from '{SAMPLE}/truth/{name}.parquet'")
    connection.execute(f"""
        create table plantings as
        select * from read_csv('{SAMPLE}/truth/plantings.csv', types = {{'sku': 'varchar', 'document': 'varchar'}})
    """)
    connection.execute("""
        create table movements as
        select * from stock_movements
        qualify revision = max(revision) over (partition by source, document, line)
    """)
    connection.execute("""
        create table folded as
        with ranked as (
            select *, (movement_type = 'count')::integer as type_rank,
                row_number() over (
                    partition by sku, location_id
                    order by occurred_at, (movement_type = 'count')::integer, source, document, line
                ) as place
            from movements
        ),
        spans as (
            select *, count(*) filter (movement_type = 'count') over (
                partition by sku, location_id order by place
            ) as span
            from ranked
        )
        select sku, location_id, occurred_at, place,
            sum(quantity_units) over (partition by sku, location_id, span order by place) as recorded_units
        from spans
    """)
    return connection


def value(connection: duckdb.DuckDBPyConnection, sql: str) -> float:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    """The modules of the generator, imported without leaving compiled files in the sample."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SAMPLE))
        patch.setattr(sys, "dont_write_bytecode", True)
        return {name: importlib.import_module(name) for name in ("simulator", "company", "make_sample")}


# What is shipped


@pytest.mark.parametrize("table", SHIPPED)
def test_a_raw_table_has_columns_of_the_contract_in_its_order_and_all_that_are_required(table):
    shipped = shipped_columns(table)
    assert shipped == [name for name in CONTRACT[table] if name in shipped]
    assert set(shipped) >= {
        name for name, column in CONTRACT[table].items() if column["config"]["meta"].get("required")
    }


def test_movements_carry_the_types_of_the_contract():
    described = duckdb.sql(f"describe select * from '{SAMPLE}/stock_movements/stock_movements.parquet'").fetchall()
    types = {name: column["data_type"] for name, column in CONTRACT["stock_movements"].items()}
    assert {name: kind.lower() for name, kind, *_ in described} == types


def test_the_sample_is_at_most_twelve_megabytes():
    files = [path for path in SAMPLE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 12_000_000


def test_prices_are_written_with_four_digits():
    prices = pd.read_csv(SAMPLE / "products" / "products.csv", dtype=str)[["unit_cost", "unit_price"]]
    assert prices.stack().str.fullmatch(r"\d+\.\d{4}").all()


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("stock_movements", "source, document, line, revision"),
        ("purchase_order_lines", "purchase_order_id, line"),
        ("supplier_terms", "sku, location_id, supplier_id"),
        ("products", "sku"),
        ("prices", "sku, location_id, from_date"),
        ("calendar_events", "date, country, event_name"),
        ("reservations", "sku, location_id, document"),
        ("product_photos", "photo_path"),
    ],
)
def test_no_identity_occurs_twice(sample, table, key):
    assert value(sample, f"select count(*) - count(distinct ({key})) from {table}") == 0


def test_every_location_supplier_and_sku_of_the_terms_is_known(sample):
    assert value(sample, "select count(*) from supplier_terms anti join products using (sku)") == 0
    assert value(sample, "select count(*) from supplier_terms anti join locations using (location_id)") == 0
    assert value(sample, "select count(*) from supplier_terms anti join suppliers using (supplier_id)") == 0


def test_the_dirt_to_be_held_back_is_what_the_readme_says(sample):
    readme = (SAMPLE / "README.md").read_text()
    refused = value(sample, "select count(*) from stock_movements where unit_price < 0")
    unknown = "from stock_movements anti join products using (sku) where coalesce(unit_price, 0) >= 0"
    held, codes = value(sample, f"select count(*) {unknown}"), value(sample, f"select count(distinct sku) {unknown}")
    assert refused == 2
    assert f"{held:,} movements of {codes} codes" in readme


# Orders and sales


def test_every_order_of_the_source_is_in_the_truth(sample):
    assert sample.execute("select count(*), sum(ordered_units) from orders").fetchone() == (531_285, 5_660_981)


def test_between_four_and_eight_percent_of_the_units_are_unserved(sample):
    share = value(
        sample,
        """
        select sum(ordered_units - cancelled_units - (ordered_units - unserved_units - cancelled_served_units))
            / sum(ordered_units - cancelled_units)
        from orders semi join products using (sku)
        """,
    )
    assert 0.04 <= share <= 0.08


def test_no_more_is_served_or_taken_back_than_was_ordered_and_served(sample):
    wrong = """
        select count(*) from orders
        where not unserved_units between 0 and ordered_units or cancelled_units > ordered_units
            or cancelled_served_units > least(cancelled_units, ordered_units - unserved_units)
    """
    assert value(sample, wrong) == 0


def test_a_sale_without_a_planted_error_is_exactly_what_was_served(sample):
    wrong = """
        with sales as (
            select document, line, sku, location_id, -sum(quantity_units) as units
            from movements where movement_type = 'sale' group by all
        ),
        served as (
            select document, line, sku, location_id, ordered_units - unserved_units as units
            from orders where unserved_units < ordered_units
        ),
        differing as ((from sales except from served) union all (from served except from sales))
        select count(*) from differing anti join plantings using (document, line)
    """
    assert value(sample, wrong) == 0


def test_no_sale_falls_on_a_closed_day(sample):
    wrong = """
        with sale_days as (
            select distinct country, (occurred_at at time zone time_zone)::date as date
            from stock_movements inner join locations using (location_id) where movement_type = 'sale'
        )
        select count(*) from sale_days inner join calendar_events using (country, date) where event_type = 'closed'
    """
    assert value(sample, wrong) == 0


def test_saturdays_are_closed_days_of_both_countries(sample):
    saturdays = "from calendar_events where event_type = 'closed' and isodow(date) = 6"
    assert value(sample, f"select count(distinct date) {saturdays}") == 83
    assert value(sample, f"select count(*) {saturdays}") == 2 * 83


def test_cancellations_never_exceed_the_sale_they_name(sample):
    wrong = """
        with cancelled as (
            select reference, sku, location_id, sum(quantity_units) as units, min(occurred_at) as first_at
            from movements where movement_type = 'cancellation' group by all
        )
        select count(*) from cancelled
        left join movements as sale
            on cancelled.reference = sale.source || ':' || sale.document || ':' || sale.line
            and sale.movement_type = 'sale' and sale.sku = cancelled.sku and sale.location_id = cancelled.location_id
            and sale.occurred_at <= cancelled.first_at
        where sale.sku is null or cancelled.units > -sale.quantity_units
    """
    assert value(sample, wrong) == 0


def test_corrections_carry_the_note_of_the_source_as_reason(sample):
    damaged = "select movement_type from movements where reason = 'Unsaleable, destroyed.' group by 1"
    assert sample.execute(damaged).fetchall() == [("write_off",)]


# Stock


def test_every_series_opens_with_a_count_or_with_its_first_lot(sample):
    openings = """
        select distinct movement_type, document like 'OPEN-%' from movements
        inner join folded using (sku, location_id, occurred_at) semi join products using (sku)
        where place = 1
    """
    assert sorted(sample.execute(openings).fetchall()) == [("count", True), ("receipt", False)]


def test_physical_stock_is_never_below_zero(sample):
    assert value(sample, "select min(physical_units) from daily_stock") == 0


def test_the_fold_of_the_movements_ends_at_the_recorded_stock_of_the_truth(sample):
    wrong = """
        with truth as (
            select sku, location_id, arg_max(physical_units + record_error_units, day) as units
            from daily_stock group by all
        ),
        folds as (select sku, location_id, arg_max(recorded_units, place) as units from folded group by all)
        select count(*) from truth left join folds using (sku, location_id)
        where folds.units is distinct from truth.units
    """
    assert value(sample, wrong) == 0


def test_records_are_right_where_nothing_was_planted_or_written_down_late(sample):
    wrong = """
        with late as (
            select sku, location_id from stock_movements where revision > 0 or recorded_at::date > occurred_at::date
        )
        select count(*) from daily_stock
        anti join plantings using (sku, location_id) anti join late using (sku, location_id)
        where record_error_units <> 0
    """
    assert value(sample, wrong) == 0


def test_received_units_are_the_receipts_that_name_the_line(sample):
    wrong = """
        with received as (
            select reference, sum(quantity_units) as units from movements where movement_type = 'receipt' group by all
        )
        select count(*) from purchase_order_lines as line
        full join received on received.reference = line.purchase_order_id || ':' || line.line
        where coalesce(received.units, 0) is distinct from line.received_units
    """
    assert value(sample, wrong) == 0


def test_some_purchase_lines_come_in_two_receipts(sample):
    parts = """
        select count(*) from (
            select reference from movements where movement_type = 'receipt' group by all
            having count(distinct occurred_at) = 2
        )
    """
    assert 0.03 < value(sample, parts) / value(sample, "select count(*) from purchase_order_lines") < 0.1


def test_purchases_are_whole_packs(sample):
    wrong = """
        select count(*) from purchase_order_lines
        inner join supplier_terms using (sku, location_id, supplier_id) where ordered_units % order_multiple_units <> 0
    """
    assert value(sample, wrong) == 0


def test_some_orders_are_open_and_some_of_them_late(sample):
    owed = "from purchase_order_lines where status in ('open', 'partly_received')"
    assert value(sample, f"select count(*) {owed}") > 500
    assert value(sample, f"select count(*) {owed} and expected_date < date '2011-12-09'") > 50


# Record errors


def test_between_600_and_1500_errors_are_planted(sample):
    planted = "select count(distinct planting_id) from plantings where kind <> 'excess_correction'"
    assert 600 <= value(sample, planted) <= 1500


def test_every_kind_of_error_is_planted_in_every_size(sample):
    seen = sample.execute("select distinct kind, size from plantings where kind <> 'excess_correction'").fetchall()
    kinds = ("lost", "double_posted", "mis_keyed", "swapped_code")
    assert set(seen) == {(kind, size) for kind in kinds for size in ("small", "medium", "large")}


def test_a_lost_movement_is_not_among_the_movements(sample):
    lost = """
        select count(*) from movements
        semi join (from plantings where kind = 'lost') as lost using (source, document, line)
    """
    assert value(sample, lost) == 0


def test_a_doubled_movement_occurs_again_under_another_document(sample):
    twins = """
        select count(distinct planting_id) from plantings
        inner join movements as copy using (source, document, line)
        inner join movements as original
            on original.sku = copy.sku and original.location_id = copy.location_id
            and original.movement_type = copy.movement_type and original.occurred_at = copy.occurred_at
            and original.quantity_units = copy.quantity_units and original.document <> copy.document
        where kind = 'double_posted'
    """
    assert value(sample, twins) == value(sample, "select count(*) from plantings where kind = 'double_posted'")


def test_a_swapped_code_makes_two_records_wrong_by_the_same_units(sample):
    sums = """
        select count(*) from (
            select planting_id from plantings where kind = 'swapped_code' group by all
            having count(*) <> 2 or sum(error_units) <> 0 or count(distinct sku) <> 2
        )
    """
    assert value(sample, sums) == 0


def test_an_error_is_corrected_by_a_count_of_that_sku(sample):
    wrong = """
        select count(*) from plantings
        anti join movements on movements.sku = plantings.sku and movements.location_id = plantings.location_id
            and movements.movement_type = 'count' and movements.occurred_at = plantings.corrected_at
        where corrected_at is not null
    """
    assert value(sample, wrong) == 0


# Photos


def test_at_least_twenty_classes_have_photos_and_each_has_some_held_out(sample):
    classes = "select count(distinct label) from product_photos where photo_path like '%/photos/{}/%'"
    assert value(sample, classes.format("train")) >= 20
    assert value(sample, classes.format("val")) == value(sample, classes.format("train"))


def test_the_table_of_photos_lists_every_file_with_its_hash(sample):
    listed = dict(sample.execute("select photo_path, sha256 from product_photos").fetchall())
    files = (SAMPLE / "product_photos" / "photos").rglob("*.jpg")
    on_disk = {str(path.relative_to(SAMPLE)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert listed == on_disk


def test_a_photo_is_a_small_jpeg(sample):
    path = SAMPLE / value(sample, "select min(photo_path) from product_photos")
    with Image.open(path) as image:
        assert image.format == "JPEG"
        assert max(image.size) <= 96


def test_the_notice_of_the_photos_is_kept():
    assert "Permission is hereby granted" in (SAMPLE / "product_photos" / "LICENSE.txt").read_text()


# How the source is read


@pytest.fixture
def invoices(tmp_path, modules) -> pd.DataFrame:
    rows = [
        ("536365", "85123A", "HEART", 6, "2010-12-01 08:26", 2.55, 17850, "United Kingdom"),
        ("536365", "85123A", "HEART", 4, "2010-12-01 08:26", 2.55, 17850, "United Kingdom"),
        ("536366", "85123A", "HEART", 9, "2010-12-02 09:00", 2.55, 17850, "United Kingdom"),
        ("C536367", "85123A", "HEART", -5, "2010-12-03 09:00", 2.55, 17850, "United Kingdom"),
        ("C536368", "85123A", "HEART", -5, "2010-12-04 09:00", 2.55, 17850, "United Kingdom"),
        ("C536369", "85123A", "HEART", -5, "2010-12-05 09:00", 2.55, 17850, "United Kingdom"),
        ("C536370", "85123A", "HEART", -1, "2010-12-06 09:00", 2.55, None, "United Kingdom"),
        ("536371", "85123A", "damages", -3, "2011-07-01 12:00", 0.0, None, "France"),
    ]
    columns = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["InvoiceDate"] = pd.to_datetime(frame["InvoiceDate"])
    frame["CustomerID"] = frame["CustomerID"].astype("Int64")
    frame.to_parquet(tmp_path / "lines.parquet")
    return modules["make_sample"].read_orders(tmp_path / "lines.parquet")


def test_a_line_is_known_by_its_position_within_the_invoice(invoices):
    assert invoices["line"].tolist() == [1, 2, 1, 1, 1, 1, 1, 1]


def test_a_credit_cancels_the_latest_earlier_line_with_enough_left(invoices):
    assert invoices["target"].tolist() == [-1, -1, -1, 2, 0, -1, -1, -1]


def test_a_credit_without_such_a_line_or_customer_is_a_return(invoices, modules):
    assert invoices["kind"].tolist()[5:7] == [modules["simulator"].RETURN] * 2


def test_a_negative_line_without_c_is_a_correction(invoices, modules):
    assert invoices["kind"].iat[7] == modules["simulator"].CORRECTION


def test_british_summer_time_becomes_utc(invoices):
    assert pd.Timestamp(invoices["second"].iat[7], unit="s") == pd.Timestamp("2011-07-01 11:00")


def test_lines_from_abroad_go_to_the_depot_on_the_continent(invoices):
    assert invoices["location_id"].iat[7] == "EUR"
    assert invoices["location_id"].iloc[:6].nunique() == 1


@pytest.mark.parametrize(
    ("name", "group"),
    [("RED RETROSPOT CHARLOTTE BAG", "bags"), ("WHITE HANGING HEART T-LIGHT HOLDER", "candles")],
)
def test_the_last_telling_word_names_the_category(modules, name, group):
    assert modules["company"].category(name) == group


# The simulator


def small_series(modules, events, **given_values):
    simulator = modules["simulator"]
    values = {
        "sku": "A",
        "location_id": "UKN",
        "supplier": simulator.Supplier("S01", 7, 7, frozenset({0}), 12, 6),
        "opening_second": 1_291_161_600,
        "list_day": 0,
        "plan_rate": 2.0,
        "opening_units": 40,
        "mean_daily_units": 2.0,
        "count_every_days": 30,
        "events": events,
    }
    return simulator.Series(**(values | given_values))


def small_world(modules, days=100):
    simulator = modules["simulator"]
    clock = simulator.Clock()
    return simulator.World(clock, [0.5, 1.0, 1.5, 3.0], clock.at(days, 720))


def sales(modules, quantities):
    clock = modules["simulator"].Clock()
    return [(clock.at(1 + row, 600), 0, row, units, -1) for row, units in enumerate(quantities)]


def test_a_customer_gets_what_is_left_and_the_next_one_nothing(modules):
    series = small_series(modules, sales(modules, [30, 30, 30]), opening_units=40)
    assert modules["simulator"].Simulation(series, small_world(modules, days=4)).run().served == {0: 30, 1: 10}


def test_a_cancellation_takes_back_at_most_what_was_served(modules):
    simulator = modules["simulator"]
    events = [*sales(modules, [30]), (simulator.Clock().at(2, 600), simulator.CANCELLATION, 1, 30, 0)]
    outcome = simulator.Simulation(small_series(modules, events, opening_units=10), small_world(modules, days=3)).run()
    assert outcome.cancelled[1] == 10
    assert outcome.physical_units == 10


def test_a_lost_sale_leaves_the_record_too_high_until_the_next_count(modules):
    simulator = modules["simulator"]
    lost = simulator.Planting("lost", "sale", "small", 0)
    series = small_series(modules, sales(modules, [5] * 60), planned=[lost], opening_units=400)
    outcome = simulator.Simulation(series, small_world(modules)).run()
    assert outcome.unrecorded == {0}
    assert {recorded - physical for day, physical, recorded in outcome.days if day == 1} == {5}
    assert outcome.plantings[0].corrected_second == outcome.counts[1][0]


def test_the_rule_orders_whole_packs_and_at_least_the_minimum(modules):
    series = small_series(modules, sales(modules, [3] * 90))
    purchases = modules["simulator"].Simulation(series, small_world(modules)).run().purchases
    assert purchases
    assert all(line.ordered_units % 6 == 0 and line.ordered_units >= 12 for line in purchases)


def test_the_same_series_is_simulated_the_same_way_twice(modules):
    runs = [
        modules["simulator"].Simulation(small_series(modules, sales(modules, [4] * 90)), small_world(modules)).run()
        for _ in range(2)
    ]
    assert runs[0].days == runs[1].days
    assert runs[0].receipts == runs[1].receipts
    assert runs[0].counts == runs[1].counts


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60)), min_size=1, max_size=60),
    opening=st.integers(0, 80),
)
def test_physical_stock_is_what_came_less_what_went(modules, steps, opening):
    simulator = modules["simulator"]
    clock = simulator.Clock()
    kinds = (simulator.SALE, simulator.RETURN, simulator.CORRECTION)
    events = [(clock.at(1 + row, 600), kinds[kind], row, units, -1) for row, (kind, units) in enumerate(steps)]
    series = small_series(
        modules, events, opening_units=opening, planned=[simulator.Planting("lost", "sale", "large", 0)]
    )
    outcome = simulator.Simulation(series, small_world(modules)).run()
    excess = {planting.row: planting for planting in outcome.plantings if planting.kind == "excess_correction"}
    received = {(receipt.key, receipt.second): receipt.units for receipt in outcome.receipts}
    gone = sum(outcome.served.values())
    returned = 0
    for row, (kind, units) in enumerate(steps):
        returned += units if kind == 1 else 0
        if kind == 2:
            gone += -excess[row].true_units if row in excess else units
    assert all(physical >= 0 for _, physical, _ in outcome.days)
    assert outcome.physical_units == opening + sum(received.values()) + returned - gone


@pytest.mark.deep
def test_the_same_sources_give_the_same_bytes(tmp_path):
    if not (SOURCES / "online_retail").is_dir():
        pytest.skip(
            f"NOT PROVEN: that data/sample comes from its sources, because {SOURCES / 'online_retail'} is absent; set "
            "BENCH_DATA to the folder that holds online_retail"
        )
    command = [sys.executable, str(SAMPLE / "make_sample.py"), "--output", str(tmp_path)]
    environment = {**os.environ, "BENCH_DATA": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {path: (SAMPLE / path).read_bytes() for path in made}
    assert len(made) > 1000
