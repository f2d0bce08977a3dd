"""The main job, as a person runs it, on a small home: order of events, second runs, accidents."""

import hashlib
import json
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from support.commands import COMMAND, Command, environment, inventorybot
from support.small_landing import DAYS, MOVEMENT_COLUMNS, SKUS, add_file, movements, write_landing

from ml.tracking import Tracking
from orchestration.cli.summary import summarise
from orchestration.home.environment import read_settings
from orchestration.ingest.batches import ingest_table
from orchestration.ingest.formats import Format, save_format
from serving.store import Proposal, Store

SALE_OF_THE_RUNNING_DAY = {
    "source": "till",
    "document": "T1",
    "line": 1,
    "occurred_at": "2024-05-03T15:00:00Z",
    "sku": "apple",
    "location_id": "L1",
    "movement_type": "sale",
    "quantity_units": -2,
}


def read(home: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str((home / "published" / "current.duckdb").resolve()), read_only=True) as connection:
        return connection.sql(query).fetchall()


def generation(home: Path) -> Path:
    return (home / "published" / "current.duckdb").readlink()


def landing_hash(home: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((home / "landing").rglob("*")):
        digest.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()


@pytest.fixture(scope="module")
def home(trained_home: Path) -> Path:
    return trained_home


def test_every_item_gets_a_recommendation(home: Path) -> None:
    assert read(home, "select count(*) from reporting.restock_recommendations") == [(7,)]


def test_the_business_day_is_the_last_one_with_a_later_movement(home: Path) -> None:
    assert read(home, "select distinct as_of_date::varchar from reporting.restock_recommendations") == [("2024-05-01",)]


def test_stock_is_the_count_and_what_came_and_went_after_it_up_to_now(home: Path) -> None:
    kept = [row for row in movements(0, DAYS) if row[4] == "apple"]
    expected = sum(int(row[7]) for row in kept)
    assert read(home, "select on_hand_units from marts.fct_stock_position where sku = 'apple'") == [(expected,)]


def test_the_terms_of_a_recommendation_add_up(home: Path) -> None:
    wrong = """
        select * from reporting.restock_recommendations
        where order_units <> shortfall_units + moq_added_units + multiple_added_units - reduced_units
            or safety_stock_units <> order_up_to_units - expected_demand_units
    """
    assert read(home, wrong) == []


def test_an_order_says_that_the_effect_of_a_planned_promotion_is_not_known(home: Path) -> None:
    note = (
        "A promotion from 2024-05-06 to 2024-05-08 is planned and its effect is not known: declare expected_uplift in "
        "prices, or order for it by hand"
    )
    [(told, reason)] = read(
        home, "select forecast_basis, reason from reporting.restock_recommendations where sku = 'bread'"
    )
    assert told == note
    assert str(reason).endswith(f" {note}.")


def test_a_declared_uplift_comes_through_to_the_forecast_and_the_reason(home: Path) -> None:
    days = "day between date '2024-05-06' and date '2024-05-08'"
    [(promoted, usual)] = read(
        home,
        f"""
        select sum(mean_units) filter (where {days}), sum(mean_units) filter (where day between date '2024-05-09'
            and date '2024-05-11') from reporting.fct_demand_forecasts where sku = 'cocoa'
        """,
    )
    assert float(str(promoted)) > 2.0 * float(str(usual))
    [(reason,)] = read(home, "select reason from reporting.restock_recommendations where sku = 'cocoa'")
    assert "is planned at 3 times usual demand, as declared." in str(reason)


def test_a_product_that_has_never_sold_is_said_to_be_new(home: Path) -> None:
    [(note, days)] = read(
        home,
        """
        select forecast_basis, first_order_days from reporting.restock_recommendations
        inner join reporting.restock_policies using (sku, location_id) where sku = 'ginger'
        """,
    )
    assert str(note).startswith("New: ")
    assert days == 14


def test_after_the_last_day_of_sale_nothing_is_expected_and_what_is_left_is_named(home: Path) -> None:
    expected = """
        select day > date '2024-05-05', sum(mean_units) > 0, sum(q95_units) > 0 from reporting.fct_demand_forecasts
        where sku = 'flour' group by 1 order by 1
    """
    assert read(home, expected) == [(False, True, True), (True, False, False)]
    ordered = """
        select order_units, last_sale_date::varchar, reason from reporting.restock_recommendations where sku = 'flour'
    """
    units, last_sale_date, reason = read(home, ordered)[0]
    assert (units, last_sale_date) == (0, "2024-05-05")
    assert str(reason).endswith(" units of stock and orders may be left when the season ends on 5 May 2024.")


def test_the_forecast_of_every_whole_week_stands_beside_the_recent_ones(home: Path) -> None:
    weeks = "select count(*) > 0, min(recent_units) > 0, max(last_year_units) from reporting.forecast_totals"
    assert read(home, weeks) == [(True, True, None)]


def test_the_summary_names_orders_champions_and_where_to_look(
    first_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, result = first_run
    for text in (
        "At the end of 2024-05-01: ",
        "Largest orders:",
        "reporting.stock_alerts",
        "demand_forecast",
        "content hash",
        "make ui",
    ):
        assert text in result.stdout


def test_the_summary_tells_of_doubtful_movements_and_of_what_ended(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = shutil.copytree(home / "published", tmp_path / "published", symlinks=True)
    database = (published / "current.duckdb").resolve()
    database.chmod(0o644)
    with duckdb.connect(str(database)) as connection:
        connection.execute("""
            insert into marts.fct_doubtful_movements by name
                select 'receives_no_order' as doubt, 'PO-BR is no order line' as reason;
            insert into marts.fct_ended_rows by name
                select 'supplier_terms' as table_name, 'apple, L1, S1' as row_key, date '2024-05-01' as ended_date
        """)
    monkeypatch.setenv("INVENTORYBOT_HOME", str(home))
    told = summarise(read_settings(), published)
    assert "\n  receives_no_order: 1, such as: PO-BR is no order line\n" in told
    assert "\nEnded on 2024-05-01 (marts.fct_ended_rows):\n  1 supplier terms, such as: apple, L1, S1\n" in told


def test_the_summary_asks_what_files_bring_until_it_is_said(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVENTORYBOT_HOME", str(tmp_path))
    shutil.copy(home / "online_store.sqlite", tmp_path)
    terms = tmp_path / "landing" / "supplier_terms"
    terms.mkdir(parents=True)
    for number, skus in enumerate(("abcdefghijkl", "abcdefghijk")):
        rows = "".join(f"{sku},L1,S1,5,1.5\n" for sku in skus)
        (terms / f"{number}.csv").write_text(f"sku,location_id,supplier_id,lead_time_days,unit_cost\n{rows}")
    at = datetime(2024, 5, 3, tzinfo=UTC)
    ingest_table("supplier_terms", landing=terms.parent, raw=tmp_path / "raw", ingested_at=at, settle_seconds=0)
    asked = (
        "\nWhat files bring is not said yet:\n  supplier_terms: 1.csv lacks 1 of 12 rows (l, L1, S1), which still count"
    )
    assert asked in summarise(read_settings(), home / "published")
    save_format(tmp_path / "formats.yml", Format("supplier_terms", "1.csv", delivery="changes"))
    assert "What files bring" not in summarise(read_settings(), home / "published")


def test_progress_is_told_step_by_step(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, result = first_run
    assert "raw/stock_movements  " in result.stderr
    assert "publish/generation" in result.stderr


@pytest.mark.parametrize("dbt_pass", ["marts", "reporting"])
def test_dbt_builds_on_the_project_as_it_was_parsed(home: Path, dbt_pass: str) -> None:
    told = (home / "warehouse/dbt" / dbt_pass / "dbt.log").read_text()
    assert "Finished running" in told
    assert "parsing" not in told


@pytest.fixture(scope="module")
def second_run(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A copy of the home after a second run on unchanged input; landing hash before it; what the run said."""
    copy = copied(home, tmp_path_factory)
    before = landing_hash(copy)
    result = inventorybot(copy, "run")
    assert result.returncode == 0, result.stderr
    return copy, before, result.stderr


def copied(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy a home; links of the copy stay inside it."""
    copy = tmp_path_factory.mktemp("copy") / "home"
    shutil.copytree(home, copy, symlinks=True)
    return copy


def test_landing_is_never_touched(second_run: tuple[Path, str, str]) -> None:
    copy, before, _ = second_run
    assert landing_hash(copy) == before


def test_a_second_run_trains_nothing(second_run: tuple[Path, str, str]) -> None:
    assert second_run[2].count("nothing trained") == 3


def test_a_second_run_forecasts_and_decides_nothing_again(second_run: tuple[Path, str, str]) -> None:
    kept = {line.split()[2] for line in second_run[2].splitlines() if "made from the same, kept" in line}
    assert kept >= {"predictions/demand_forecasts", "predictions/restock_lines"}


def test_a_second_run_builds_no_mart_again(second_run: tuple[Path, str, str]) -> None:
    kept = {line.split()[2] for line in second_run[2].splitlines() if "made from the same, kept" in line}
    assert kept >= {f"marts/{path.stem}" for path in (second_run[0] / "warehouse/exports/marts").iterdir()}


def test_a_third_run_builds_no_report_again_either(second_run: tuple[Path, str, str]) -> None:
    result = inventorybot(second_run[0], "run")
    assert result.returncode == 0, result.stderr
    kept = {line.split()[2] for line in result.stderr.splitlines() if "made from the same, kept" in line}
    assert {"reporting/restock_recommendations", "reporting/fct_generations", "marts/fct_daily_stock"} <= kept


def test_a_second_run_publishes_nothing(home: Path, second_run: tuple[Path, str, str]) -> None:
    copy, _, told = second_run
    assert "unchanged, nothing published" in told
    assert generation(copy) == generation(home)


@pytest.fixture(scope="module")
def second_generation(second_run: tuple[Path, str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home after sales of the business day came late: another generation of the same day."""
    copy = copied(second_run[0], tmp_path_factory)
    late = [
        ["pos", "late", str(line), "2024-05-01T15:00:00Z", sku, "L1", "sale", "-30", "2.75"]
        for line, sku in enumerate(SKUS)
    ]
    add_file(copy / "landing/stock_movements/late.csv", MOVEMENT_COLUMNS, late)
    result = inventorybot(copy, "refresh")
    assert result.returncode == 0, result.stderr
    return copy


_ORDERS = "select sku, order_units from reporting.restock_recommendations order by sku"


def test_changes_are_told_against_what_was_published_last_also_on_the_same_day(
    home: Path, second_generation: Path
) -> None:
    assert generation(second_generation) != generation(home)
    then = _ORDERS.replace("order_units", "previous_order_units")
    assert read(second_generation, then) == read(home, _ORDERS)
    days = "select distinct previous_decided_date::varchar from reporting.restock_recommendations"
    assert read(second_generation, days) == [("2024-05-01",)]


def test_a_changed_order_names_its_cause_with_its_sign(second_generation: Path) -> None:
    reasons = read(
        second_generation, "select change_reason from reporting.restock_recommendations where change_units > 0"
    )
    assert reasons
    assert all("stock on hand 30 fewer (+30 to the order)" in str(reason) for (reason,) in reasons)


def proposals_of(home: Path) -> list[Proposal]:
    with Store.open(f"sqlite:///{home / 'online_store.sqlite'}") as store:
        return store.proposals()


def test_every_order_is_proposed_once_and_a_second_run_proposes_nothing(
    home: Path, second_run: tuple[Path, str, str]
) -> None:
    ordered = read(home, "select sku from reporting.restock_recommendations where status = 'order' order by sku")
    assert sorted((made.sku,) for made in proposals_of(home)) == ordered
    assert proposals_of(second_run[0]) == proposals_of(home)


def test_a_training_names_the_day_and_the_arrivals_of_its_data(home: Path) -> None:
    tracking = Tracking(f"sqlite:///{home}/mlflow/mlflow.db", home / "mlflow" / "artifacts")
    for model in ("demand_forecast", "stock_anomalies"):
        tags = tracking._client.get_run(tracking.versions(model)[0].run_id).data.tags
        build = json.loads((home / "warehouse" / "exports" / "build.json").read_text())
        assert (tags["as_of"], tags["ingested_until"]) == (build["as_of"], build["ingested_until"])


def test_the_published_decision_is_made_again_without_a_difference(home: Path) -> None:
    result = inventorybot(home, "reproduce")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith("\n0 differences\n")


@dataclass(frozen=True)
class NextDay:
    """What one more day came to: the home, what the run, the refused one and the status said, what readers saw."""

    home: Path
    told: str
    refused: str
    after_kill: str
    seen: set[tuple[object, ...]]
    months_before: dict[str, int]


@pytest.fixture(scope="module")
def next_day(home: Path, tmp_path_factory: pytest.TempPathFactory) -> NextDay:
    """One more day arrives; its run is killed in the marts, a sale comes, and the fast path goes beside readers."""
    copy = copied(home, tmp_path_factory)
    months_before = months_of(copy)
    add_file(copy / "landing/stock_movements/next.csv", MOVEMENT_COLUMNS, movements(DAYS, DAYS + 1))
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen([COMMAND, "run"], env=environment(copy), text=True, **pipes) as killed:
        assert any("marts ..." in line for line in killed.stderr or ())
        killed.send_signal(signal.SIGKILL)
    assert generation(copy) == generation(home)
    after_kill = inventorybot(copy, "status").stdout
    with Store.open(f"sqlite:///{copy / 'online_store.sqlite'}") as store:
        store.append([SALE_OF_THE_RUNNING_DAY], source="api")
    seen, fast = set(), Command(copy, "refresh")
    fast.wait_until(" s  ")
    refused = inventorybot(copy, "run")
    while fast.is_running:
        seen.add(read(copy, _SEEN)[0])
        time.sleep(0.2)
    told = fast.wait()
    assert told.returncode == 0, told.stderr
    assert f"(process {fast.pid})" in refused.stderr
    return NextDay(copy, told.stderr, refused.stderr, after_kill, seen | {read(copy, _SEEN)[0]}, months_before)


_SEEN = "select count(*), max(as_of_date)::varchar from reporting.restock_recommendations"


def months_of(home: Path) -> dict[str, int]:
    """Return the files that facts are exported in and where they lie on the disk."""
    return {
        f"{path.parent.name}/{path.name}": path.stat().st_ino
        for path in (home / "warehouse/exports/marts").glob("fct_*/*.parquet")
    }


def test_every_published_forecast_is_archived(home: Path, next_day: NextDay) -> None:
    for made in (home, next_day.home):
        published = read(
            made,
            """
            select as_of_date::varchar, count(*), round(sum(mean_units)::double, 2) from reporting.fct_demand_forecasts
            group by all
            """,
        )
        kept = duckdb.sql(
            f"""
            select as_of_date::varchar, count(*), round(sum(mean_units)::double, 2)
            from read_parquet('{made}/archive/{published[0][0]}_*/demand_forecasts.parquet') group by all
            """
        ).fetchall()
        assert kept == published


def test_the_status_tells_of_a_killed_run_and_what_to_do(next_day: NextDay) -> None:
    assert next_day.after_kill.startswith("Last run: daily_restock began at ")
    assert "was KILLED" in next_day.after_kill
    assert "Run `inventorybot run` again." in next_day.after_kill


def test_a_run_after_a_killed_one_loses_and_doubles_nothing(next_day: NextDay) -> None:
    expected = len(movements(0, DAYS + 1)) + len([SALE_OF_THE_RUNNING_DAY])
    assert read(next_day.home, "select count(*) from marts.fct_stock_movements") == [(expected,)]


def test_the_fast_path_trains_and_evaluates_nothing(next_day: NextDay) -> None:
    assert "publish/generation" in next_day.told
    assert "models/" not in next_day.told and "monitoring/" not in next_day.told


def test_the_fast_path_counts_what_the_running_day_has_sold(next_day: NextDay) -> None:
    sold = -sum(int(row[7]) for row in movements(DAYS, DAYS + 1) if row[4] == "apple" and row[6] == "sale") + 2
    query = "select sold_since_units, as_of_date::varchar from marts.fct_stock_position where sku = 'apple'"
    assert read(next_day.home, query) == [(sold, "2024-05-02")]


def test_of_the_facts_only_the_months_that_changed_are_written(next_day: NextDay) -> None:
    after = months_of(next_day.home)
    kept = {name for name, place in after.items() if next_day.months_before.get(name) == place}
    changed = {name.split("/")[1][:7] for name in after.keys() - kept}
    assert changed == {"2024-05"}
    assert {name.split("/")[1][:7] for name in kept} >= {"2024-03", "2024-04"}


def test_the_fast_path_leaves_the_test_of_every_key_to_the_daily_job(home: Path, next_day: NextDay) -> None:
    told = "warehouse/dbt/marts/dbt.log"
    tested = (home / told).read_text().count('"unique_key_fct_stock_movements_')
    built = '"fct_stock_movements"'
    assert tested > 0
    assert (next_day.home / told).read_text().count('"unique_key_fct_stock_movements_') == tested
    assert (next_day.home / told).read_text().count(built) > (home / told).read_text().count(built)


def test_two_runs_at_once_are_refused_by_name(next_day: NextDay) -> None:
    assert f"another run is working on {next_day.home}" in next_day.refused


def test_readers_are_never_blocked_nor_torn_while_a_run_works(next_day: NextDay) -> None:
    assert next_day.seen == {(7, "2024-05-01"), (7, "2024-05-02")}


@dataclass(frozen=True)
class Corrected:
    """Two homes in which somebody approved an order: one had a sale of a wrong day until it was corrected."""

    wrong_day: list[tuple[object, ...]]
    states_on_the_wrong_day: set[str]
    corrected: Path
    never_wrong: Path
    approved: str


@pytest.fixture(scope="module")
def corrected(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Corrected:
    """A sale of 2 May is first written down as one of 8 May, which orders made by 7 May do not survive."""
    wrong, never = copied(home, tmp_path_factory), copied(home, tmp_path_factory)
    approved = proposals_of(home)[0].proposal_id
    sale = ["pos", "T9", "1", "2024-05-08T10:00:00+00:00", "bread", "L1", "sale", "-1", "2.75"]
    columns = [*MOVEMENT_COLUMNS, "revision"]
    for each in (wrong, never):
        with Store.open(f"sqlite:///{each / 'online_store.sqlite'}") as store:
            store.decide_proposal(approved, "approved", event_id="a", author="ann")
    add_file(wrong / "landing/stock_movements/sale.csv", columns, [[*sale, "0"]])
    assert inventorybot(wrong, "refresh").returncode == 0
    wrong_day = read(wrong, "select distinct as_of_date::varchar from reporting.restock_recommendations")
    states = {made.state for made in proposals_of(wrong) if made.proposal_id == approved}
    for each in (wrong, never):
        right = [*sale[:3], "2024-05-02T10:00:00+00:00", *sale[4:], "1"]
        add_file(each / "landing/stock_movements/corrected.csv", columns, [right])
        result = inventorybot(each, "refresh")
        assert result.returncode == 0, result.stderr
    return Corrected(wrong_day, states, wrong, never, approved)


@pytest.mark.deep
def test_a_wrong_date_moves_the_business_day_until_it_is_corrected(corrected: Corrected) -> None:
    days = "select distinct as_of_date::varchar from reporting.restock_recommendations"
    assert (corrected.wrong_day, read(corrected.corrected, days)) == ([("2024-05-07",)], [("2024-05-01",)])


@pytest.mark.deep
def test_an_approval_that_ended_for_a_wrong_date_alone_stands_again(corrected: Corrected) -> None:
    states = {made.proposal_id: made.state for made in proposals_of(corrected.corrected)}
    assert (corrected.states_on_the_wrong_day, states[corrected.approved]) == ({"expired"}, "approved")


@pytest.mark.deep
@pytest.mark.parametrize(
    "asked",
    [
        "select sku, status, order_units, on_order_units, on_hand_units from reporting.restock_recommendations",
        "select sku, state, order_units, as_of_date, order_by_date from reporting.purchase_order_proposals",
        "select sku, day, demand_units, is_in_stock from marts.fct_daily_demand",
        "select sku, day, closing_units from marts.fct_daily_stock",
    ],
)
def test_after_a_correction_everything_is_as_if_the_date_had_never_been_wrong(corrected: Corrected, asked: str) -> None:
    as_corrected = read(corrected.corrected, f"{asked} order by all")
    assert as_corrected == read(corrected.never_wrong, f"{asked} order by all") != []


@pytest.mark.deep
def test_after_a_correction_the_orders_are_proposed_as_if_the_date_had_never_been_wrong(corrected: Corrected) -> None:
    def standing(home: Path) -> list[tuple[object, ...]]:
        return sorted(
            (made.sku, made.state, made.order_units, made.as_of_date)
            for made in proposals_of(home)
            if made.state in ("proposed", "approved")
        )

    assert standing(corrected.corrected) == standing(corrected.never_wrong) != []


def test_a_missing_column_names_itself_and_stops_publication(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = copied(home, tmp_path_factory)
    (copy / "landing/products/products.csv").write_text("sku,product_name\napple,Apple\n")
    result = inventorybot(copy, "refresh")
    assert "products.csv" in result.stderr
    assert "unit_cost" in result.stderr
    assert generation(copy) == generation(home)


def test_a_home_without_a_required_table_says_which_and_publishes_nothing(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    shutil.rmtree(tmp_path / "landing" / "suppliers")
    result = inventorybot(tmp_path, "run")
    assert result.returncode == 1
    assert "suppliers" in result.stderr
    assert "nothing is published yet" in result.stderr
    assert not list((tmp_path / "published").iterdir())
