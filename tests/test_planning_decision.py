"""Decisions made again and decisions under other conditions, on a small home with a registered model."""

import json
import shutil
from collections import Counter
from dataclasses import asdict, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from support.reads import Listening
from support.small_marts import AS_OF, build_of, small_home
from test_training_lifecycle import fitted

from ml.forecast.base import PreparedHistory
from ml.forecast.baselines import train_recent
from ml.restock.scenarios import Scenario, longer_paths
from ml.tracking import Tracking
from orchestration.home.settings import Settings
from orchestration.planning.archive import (
    ARCHIVED_INPUTS,
    DECISION_PREDICTIONS,
    archive_decisions,
    archive_of_day,
)
from orchestration.planning.decision import compare_scenarios, decide, reproduce
from orchestration.planning.policies import effective_policies, standard_policy
from orchestration.planning.proposals import open_proposals
from orchestration.training.data import read_training_data
from orchestration.training.lifecycle import Training, When, bring_up_to_date, pinned_models
from orchestration.training.policy_backtest import score_overrides
from orchestration.warehouse.build import Build
from orchestration.warehouse.demand_frames import demand_history, planned_days
from orchestration.warehouse.handoff import write_predictions
from orchestration.warehouse.restock_frames import published_levels, supplier_terms
from serving.store import Decision, PolicyOverride, Store

MODEL = "demand_forecast"
KEYS = "select sku, location_id from read_parquet('{marts}/dim_item_locations.parquet')"
MARTS = {
    "fct_replenishment_terms": """
        select keys.*, 'S' as supplier_id, 3 as lead_time_days, 3.5 as lead_time_days_mean, 1.0 as lead_time_days_sd,
            4 as review_period_days, 0 as next_order_in_days, 6 as moq_units, 3 as order_multiple_units,
            null::integer as shelf_life_days, 1.0::decimal(18, 4) as unit_cost, 2.5::decimal(18, 4) as unit_price,
            0::decimal(18, 4) as minimum_order_value, 0::decimal(18, 4) as fixed_order_cost,
            null::integer as first_sale_in_days,
            null::integer as last_sale_in_days
        from keys
    """,
    "fct_stock_position": """
        select keys.*, 20 as on_hand_units, 0 as sold_since_units, 1 as reserved_units, 0 as backordered_units from keys
    """,
    "fct_reservations": """
        select keys.*, 'SO' as document, 6 as days_until_due, 1 as reserved_units, 0 as backordered_units
        from keys limit 2
    """,
    "fct_stock_lots": """
        select keys.*, 'L' as lot_id, 5 as left_units, date '2011-12-10' as expires_date, 2 as days_to_expiry
        from keys limit 2
    """,
    "dim_transfer_lanes": """
        select '' as from_location_id, '' as to_location_id, 1 as lead_time_days, 0.0 as unit_cost where false
    """,
    "dim_product_seasons": "select '' as sku, current_date as from_date, current_date as to_date where false",
    "fct_predecessor_stock": """
        select '' as sku, '' as location_id, '' as predecessor_sku, 1 as days_until_takeover,
            0.0 as left_units, true as is_still_sold
        where false
    """,
    "fct_open_orders": """
        select keys.*, 2 as periods_ahead, 6 as open_units, 'P' as purchase_order_id, 1 as line, false as is_late,
            0 as days_late, false as is_doubtful
        from keys limit 3
    """,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Tracking, str]:
    """A home with a champion, a decision and its archive."""
    folder = tmp_path_factory.mktemp("home")
    settings = replace(small_home(folder, series=6), path_count=50)
    marts = settings.exports / "marts"
    with duckdb.connect() as connection:
        connection.execute(f"create table keys as {KEYS.format(marts=marts)}")
        for table, query in MARTS.items():
            connection.execute(f"copy ({query}) to '{marts / table}.parquet' (format parquet)")
        settings.predictions.mkdir(parents=True)
        nothing = (
            "select '' as sku, '' as location_id, 1 as periods_ahead, 0 as open_units, '' as proposal_id,"
            " current_date as expected_date, current_date as as_of_date where false"
        )
        connection.execute(f"copy ({nothing}) to '{settings.predictions}/open_proposals.parquet' (format parquet)")
    standard = standard_policy(settings, supplier_terms(settings))
    policies = effective_policies(standard, standard, [])[0].assign(hold_level_within=0.3)
    write_predictions(settings, "restock_policies", policies, build_of(), None)
    expected = train_recent(demand_history(settings), freq="D", horizon=14)
    forecast = expected.predict(demand_history(settings), planned_days(settings, 14))
    write_predictions(settings, "demand_forecasts", forecast, build_of(), "1")
    url = f"sqlite:///{folder / 'store.sqlite'}"
    Store.migrate(url)
    tracking = Tracking(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"))

    def fit(_settings: Settings, target: Path, _champion: object, _kept: object) -> object:
        trained = fitted(target, passed=True)
        train_recent(demand_history(settings), freq="D", horizon=14).save(target)
        return trained

    outcome = bring_up_to_date(
        Training(MODEL, code=["ml/forecast"], judge=["ml/backtest"], libraries=["numpy"], parameters={}, fit=fit),
        settings,
        when=When.MISSING,
        data=[marts / "fct_daily_demand.parquet"],
        tracking=tracking,
        store=Store.open(url),
        run_id="run",
    )
    write_predictions(settings, "restock_lines", decide(settings, forecaster(settings)).lines, build_of(), "1")
    assert outcome.champion is not None
    return settings, tracking, archive_decisions(settings, build_of(), pinned_models(tracking))


def forecaster(settings: Settings):
    return train_recent(demand_history(settings), freq="D", horizon=14)


def copied(home: tuple[Settings, Tracking, str], folder: Path) -> Settings:
    settings, _, _ = home
    shutil.copytree(settings.archive, folder / "archive")
    return replace(settings, home=folder)


@pytest.mark.parametrize("target_type", ["cost", "cycle_service_level"])
def test_the_home_aims_at_what_it_says_and_without_a_margin_at_its_service_level(tmp_path: Path, target_type: str):
    settings = replace(small_home(tmp_path, days=3, series=3), target_type=target_type, cycle_service_level=0.9)
    terms = settings.exports / "marts" / "fct_replenishment_terms.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"create table terms as select * from '{terms}'")
        connection.execute("update terms set unit_price = 1.0 where sku = 'p01'")
        connection.execute(f"copy terms to '{terms}' (format parquet)")
    standard = standard_policy(settings, supplier_terms(settings))
    policies, exceptions = effective_policies(standard, standard, [])
    assert exceptions.empty
    assert policies["target_type"].tolist() == [target_type, "cycle_service_level", target_type]
    level = None if target_type == "cost" else 0.9
    assert policies["target_value"].replace(np.nan, None).tolist() == [level, 0.9, level]


def test_an_archived_decision_under_a_budget_is_made_again_with_it(home, tmp_path: Path):
    settings, tracking, _ = home
    shutil.copytree(settings.home, tmp_path / "home")
    rich = replace(settings, home=tmp_path / "home")
    poor = replace(rich, order_budget=40.0)
    lines = decide(poor, forecaster(poor)).lines
    assert 0 < lines["order_units"].sum() < decide(rich, forecaster(rich)).lines["order_units"].sum()
    write_predictions(poor, "restock_lines", lines, build_of(), "1")
    archive = archive_decisions(poor, build_of(), pinned_models(tracking))
    assert reproduce(rich, archive, tracking).is_equal


def test_an_archived_decision_is_made_again_with_the_rejections_it_knew(home, tmp_path: Path):
    settings, tracking, _ = home
    shutil.copytree(settings.home, tmp_path / "home")
    then = replace(settings, home=tmp_path / "home")
    needs = decide(then, forecaster(then)).lines
    rejected = needs[needs["order_units"] > 0][["sku", "location_id"]].iloc[:2].reset_index(drop=True)
    write_predictions(then, "rejected_needs", rejected.assign(rejected_until_units=[np.nan, 0.5]), build_of(), None)
    lines = decide(then, forecaster(then)).lines
    ordered = lines.set_index("sku")["order_units"] - needs.set_index("sku")["order_units"]
    assert ordered[ordered < 0].index.tolist() == rejected["sku"].tolist()[:1]
    write_predictions(then, "restock_lines", lines, build_of(), "1")
    archive = archive_decisions(then, build_of(), pinned_models(tracking))
    (then.predictions / "rejected_needs.parquet").unlink()
    assert reproduce(then, archive, tracking).is_equal


def test_an_archived_decision_is_made_again_with_the_orders_that_planners_adjusted(home, tmp_path: Path, store: Store):
    settings, tracking, _ = home
    shutil.copytree(settings.home, tmp_path / "home")
    then = replace(settings, home=tmp_path / "home")
    before = decide(then, forecaster(then)).lines
    item = before.loc[before["order_units"].idxmax()]
    line = {"sku": item["sku"], "location_id": item["location_id"], "supplier_id": "S", "order_units": 48}
    (made,) = store.propose(build_of().as_of_date, [line], seen_version=0, author="run").proposed
    store.decide([Decision(made, "approved", "a", "ann", order_units=Decimal(3))])
    lines_of_orders = then.exports / "marts" / "fct_purchase_order_lines.parquet"
    moves = then.exports / "marts" / "fct_transfer_movements.parquet"
    item_columns = ("sku", "location_id", "line")
    for path, columns in (
        (
            lines_of_orders,
            ("progress", "proposal_id", "supplier_id", "purchase_order_id", "ordered_units", "ordered_date"),
        ),
        (moves, ("source", "document", "reference", "movement_type", "units", "day")),
    ):
        nothing = ", ".join(f"null::varchar as {name}" for name in (*item_columns, *columns))
        duckdb.sql(f"copy (select {nothing} where false) to '{path}' (format parquet)")
    write_predictions(then, "open_proposals", open_proposals(then, build_of(), store), build_of(), None)
    lines = decide(then, forecaster(then)).lines
    assert (lines["on_order_units"] - before["on_order_units"]).sum() == 3
    write_predictions(then, "restock_lines", lines, build_of(), "1")
    archive = archive_decisions(then, build_of(), pinned_models(tracking))
    (then.predictions / "open_proposals.parquet").unlink()
    assert reproduce(then, archive, tracking).is_equal


def held(settings: Settings, archive: str) -> pd.DataFrame:
    """Let a decision of the home keep to the levels of an archive, and return them."""
    found = published_levels(settings, archive)
    write_predictions(settings, "held_levels", found, build_of(), None)
    return found


def test_the_next_decision_keeps_to_the_levels_published_last(home, tmp_path: Path):
    settings, tracking, published = home
    shutil.copytree(settings.home, tmp_path / "home")
    then = replace(settings, home=tmp_path / "home")
    found = held(then, published)
    other = replace(then, seed=5)
    before, afresh, kept = (decide(now, forecaster(now)).lines for now in (settings, replace(settings, seed=5), other))
    assert found["held_order_up_to_units"].tolist() == before["order_up_to_units"].tolist()
    nearer, further = ((lines["order_up_to_units"] - before["order_up_to_units"]).abs() for lines in (kept, afresh))
    assert (nearer <= further).all()
    assert nearer.sum() < 0.8 * further.sum()
    write_predictions(then, "restock_lines", kept, build_of(), "1")
    archive = archive_decisions(other, build_of(), pinned_models(tracking))
    (then.predictions / "held_levels.parquet").unlink()
    assert reproduce(then, archive, tracking).is_equal


def test_a_level_whose_terms_or_policy_changed_is_not_held(home, tmp_path: Path):
    settings, _, published = home
    shutil.copytree(settings.home, tmp_path / "home")
    then = replace(settings, home=tmp_path / "home")
    terms = supplier_terms(then)
    slower, dearer = terms["sku"].iloc[0], terms["sku"].iloc[1]
    with duckdb.connect() as connection:
        for path, change in (
            (then.exports / "marts" / "fct_replenishment_terms.parquet", f"lead_time_days = 9 where sku = '{slower}'"),
            (then.predictions / "restock_policies.parquet", f"shortage_cost = 7 where sku = '{dearer}'"),
        ):
            connection.execute(f"create or replace table changed as select * from read_parquet('{path}')")
            connection.execute(f"update changed set {change}")
            connection.execute(f"copy changed to '{path}' (format parquet)")
    assert set(terms["sku"]) - set(held(then, published)["sku"]) == {slower, dearer}


def test_a_policy_setting_that_an_earlier_version_did_not_know_counts_as_unset(home, tmp_path: Path):
    settings, _, published = home
    shutil.copytree(settings.home, tmp_path / "home")
    then = replace(settings, home=tmp_path / "home")
    path = then.archive / published / "restock_policies.parquet"
    columns = pd.read_parquet(path).columns
    with duckdb.connect() as connection:
        connection.execute(f"create table old as select * exclude (line_cost) from read_parquet('{path}')")
        connection.execute(f"copy old to '{path}' (format parquet)")
    assert "line_cost" in columns
    assert len(held(then, published)) == len(supplier_terms(then))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts of the files that are read from here on."""
    counts: Counter[str] = Counter()
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *place: Listening(connect(*place), counts))
    return counts


def test_a_decision_reads_every_file_of_the_home_once(home, read: Counter[str]):
    settings, _, _ = home
    champion = forecaster(settings)
    read.clear()
    decide(settings, champion)
    assert set(read) >= {"fct_daily_demand", "fct_replenishment_terms", "restock_policies", "demand_forecasts"}
    assert set(read.values()) == {1}
    # What is read and not among these could change, and the decision of before would be kept.
    assert set(read) <= {name.removeprefix("marts.") for name in (*ARCHIVED_INPUTS, *DECISION_PREDICTIONS)}


def test_a_decision_lays_its_history_out_once_though_it_decides_some_lines_again(home, monkeypatch):
    settings = replace(home[0], order_budget=40.0)
    champion, laid_out, asked = forecaster(settings), [], []
    prepare, draw = type(champion).prepare, PreparedHistory.sample_paths

    def prepared(*frames: object) -> PreparedHistory:
        laid_out.append(prepare(*frames))
        return laid_out[-1]

    def drawn(*chosen: object):
        asked.append(chosen)
        return draw(*chosen)

    monkeypatch.setattr(type(champion), "prepare", prepared)
    monkeypatch.setattr(PreparedHistory, "sample_paths", drawn)
    decide(settings, champion)
    assert (len(laid_out), len(asked) > 1) == (1, True)


def test_a_training_reads_every_mart_once(home, read: Counter[str]):
    read_training_data(home[0])
    assert read == {
        "fct_daily_demand": 1,
        "fct_planned_days": 1,
        "fct_replenishment_terms": 1,
        "fct_supplier_lead_times": 1,
        "dim_item_locations": 1,
        "dim_product_links": 1,
    }


def test_an_item_listed_since_the_training_is_decided_upon(home, tmp_path):
    settings = replace(home[0], home=tmp_path)
    shutil.copytree(home[0].home / "warehouse", tmp_path / "warehouse")
    marts = tmp_path / "warehouse" / "exports" / "marts"
    sold = pd.read_parquet(marts / "fct_daily_demand.parquet")
    sold[sold["sku"] != "p00"].to_parquet(marts / "fct_daily_demand.parquet")
    lines = decide(settings, forecaster(settings)).lines.set_index("sku")
    assert len(lines) == 6
    assert lines.loc["p00", "expected_demand_units"] == 0
    assert lines.loc["p01", "expected_demand_units"] > 0


@pytest.fixture
def after_season(home, tmp_path) -> Settings:
    """The home on a day from which on p00 is on sale for three more days."""
    settings = replace(home[0], home=tmp_path)
    shutil.copytree(home[0].home / "warehouse", tmp_path / "warehouse")
    planned = settings.exports / "marts" / "fct_planned_days.parquet"
    terms = planned.with_name("fct_replenishment_terms.parquet")
    with duckdb.connect() as connection:
        connection.execute(f"create table terms as select * from '{terms}'")
        connection.execute("update terms set last_sale_in_days = 3 where sku = 'p00'")
        connection.execute(f"copy terms to '{terms}' (format parquet)")
        connection.execute(f"create table planned as select * from '{planned}'")
        connection.execute("update planned set is_on_sale = false where sku = 'p00' and days_ahead > 3")
        connection.execute(f"copy planned to '{planned}' (format parquet)")
    return settings


def test_outside_its_season_an_item_has_no_demand_in_mean_quantiles_and_paths(after_season):
    made, future = forecaster(after_season), planned_days(after_season, 14)
    history = demand_history(after_season)
    forecast = made.predict(history, future).set_index("sku").drop(columns=["location_id", "period_start"])
    (_, paths), *_ = made.sample_paths(history, 50, future, keys=pd.DataFrame([{"sku": "p00", "location_id": "north"}]))
    assert (forecast.loc["p00"].to_numpy()[:3] > 0).any() and not forecast.loc["p00"].to_numpy()[3:].any()
    assert paths[0, :, :3].any() and not paths[0, :, 3:].any()
    assert forecast.loc["p01"].to_numpy()[3:].any()


def test_a_decision_orders_nothing_that_arrives_after_the_last_day_of_sale_and_says_what_is_left(after_season):
    # Lead time 3: what is ordered now can be sold from the fourth day on.
    lines = decide(after_season, forecaster(after_season)).lines.set_index("sku")
    assert (lines.loc["p00", "order_units"], lines.loc["p01", "order_units"] > 0) == (0, True)
    assert lines.loc["p00", "remainder_units"] > 0 and np.isnan(lines.loc["p01", "remainder_units"])


def test_a_decision_at_the_end_of_a_season_is_made_again_without_a_difference(home, after_season):
    lines = decide(after_season, forecaster(after_season)).lines
    write_predictions(after_season, "restock_lines", lines, build_of(), "1")
    archive = archive_decisions(after_season, build_of(), pinned_models(home[1]))
    assert reproduce(after_season, archive, home[1]).is_equal


def test_the_past_outside_a_season_is_no_closed_day(after_season):
    assert (demand_history(after_season)["is_open"] == 1).all()


def test_a_decision_and_a_what_if_expect_nothing_after_the_season(after_season):
    lines = decide(after_season, forecaster(after_season)).lines.set_index("sku")
    _, paths = next(iter(forecaster(after_season).sample_paths(demand_history(after_season), 50, None)))
    assert lines.loc["p00", "expected_demand_units"] == pytest.approx(paths[0, :, :3].sum(axis=1).mean(), abs=0.01)
    more = compare_scenarios(after_season, forecaster(after_season), [Scenario("more", demand_factor=1.5)])
    assert more["order_units"].iloc[1] > more["order_units"].iloc[0]


def test_an_archived_decision_is_made_again_without_a_difference(home):
    settings, tracking, archive = home
    found = reproduce(settings, archive, tracking)
    assert (found.is_equal, found.lines, found.differences) == (True, 6, {})
    assert {"order_units", "policy_source"} & set(found.columns) == {"order_units"}
    assert found.code_then == found.code_now


def test_it_is_made_again_also_when_the_home_has_moved_on(home, tmp_path):
    settings = copied(home, tmp_path)
    assert not settings.exports.exists()
    assert reproduce(settings, home[2], home[1]).is_equal


@pytest.mark.parametrize(
    ("file", "change", "column"),
    [
        ("restock_lines", "order_units = order_units + 1", "order_units"),
        ("fct_stock_position", "on_hand_units = on_hand_units + 1", "on_hand_units"),
        ("fct_daily_demand", "demand_units = demand_units * 2", "expected_demand_units"),
    ],
)
def test_a_changed_archive_differs_in_the_column_it_touches(home, tmp_path, file, change, column):
    settings = copied(home, tmp_path)
    path = settings.archive / home[2] / f"{file}.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"create table changed as select * from read_parquet('{path}')")
        connection.execute(f"update changed set {change}")
        connection.execute(f"copy changed to '{path}' (format parquet)")
    found = reproduce(settings, home[2], home[1])
    assert found.differences[column] == 6


def test_a_line_that_is_not_made_again_is_counted(home, tmp_path):
    settings = copied(home, tmp_path)
    path = settings.archive / home[2] / "restock_lines.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"create table fewer as select * from read_parquet('{path}') where sku <> 'p00'")
        connection.execute(f"copy fewer to '{path}' (format parquet)")
    found = reproduce(settings, home[2], home[1])
    assert (found.is_equal, found.only_archived, found.only_made_again) == (False, 0, 1)


def test_an_archive_without_its_history_is_told(home, tmp_path):
    settings = copied(home, tmp_path)
    (settings.archive / home[2] / "fct_daily_demand.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="lacks fct_daily_demand"):
        reproduce(settings, home[2], home[1])


def test_other_code_is_named(home, tmp_path):
    settings = copied(home, tmp_path)
    path = settings.archive / home[2] / "archive.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"code_version": "0.0.1"}))
    found = reproduce(settings, home[2], home[1])
    assert (found.code_then, found.is_equal) == ("0.0.1", True)


def test_the_archive_of_a_day_is_found_and_a_missing_day_lists_those_there_are(home):
    settings, _, archive = home
    assert archive_of_day(settings, AS_OF.isoformat()) == archive
    with pytest.raises(FileNotFoundError, match=r"nothing of 2024-04-01; its latest days are: 2024-05-01"):
        archive_of_day(settings, "2024-04-01")


def test_the_first_row_of_a_comparison_is_the_decision_as_it_is(home):
    settings, _, _ = home
    lines = decide(settings, forecaster(settings)).lines
    table = compare_scenarios(settings, forecaster(settings), [Scenario("more", demand_factor=1.5)])
    assert table["scenario"].tolist() == ["as it is", "more"]
    assert table["order_units"].iloc[0] == lines["order_units"].sum()
    assert table["order_units"].iloc[1] > table["order_units"].iloc[0]


def test_a_longer_lead_time_makes_no_item_an_exception_and_orders_more(home):
    settings, _, _ = home
    table = compare_scenarios(settings, forecaster(settings), [Scenario("longer", extra_lead_periods=12)])
    assert table["exception_lines"].tolist() == [0, 0]
    assert table["order_units"].iloc[1] > table["order_units"].iloc[0]


def test_longer_paths_keep_what_was_drawn_and_the_mean_of_the_last_season():
    paths = np.random.default_rng(1).poisson(3.0, (2, 40, 9)).astype(np.float32)
    longer = longer_paths(paths, 10)
    assert longer.shape == (2, 40, 19)
    assert (longer[:, :, :9] == paths).all()
    assert np.allclose(longer[:, :, 9:16].mean(axis=1), paths[:, :, 2:].mean(axis=1))


def test_a_comparison_leaves_production_untouched(home):
    settings, _, _ = home
    files = {path: path.stat().st_mtime_ns for path in settings.home.rglob("*.parquet")}
    compare_scenarios(settings, forecaster(settings), [Scenario("longer", extra_lead_periods=2)])
    assert {path: path.stat().st_mtime_ns for path in settings.home.rglob("*.parquet")} == files


def test_an_override_is_worth_what_its_orders_save(home):
    settings, _, _ = home
    waits = PolicyOverride(
        1, "default", None, None, None, "target_type", "do_not_stock", date(2024, 1, 1), None, "a test", "ann"
    )
    nobody = replace(waits, scope="item", sku="nobody", location_id="knows")
    scores = score_overrides(settings, forecaster(settings), [waits, nobody])
    assert scores["items"].tolist() == [6, 0]
    assert scores["value_added"].iloc[0] == pytest.approx(scores["cost_without"].iloc[0] - scores["cost_with"].iloc[0])
    assert scores["fill_rate_with"].iloc[0] < scores["fill_rate_without"].iloc[0]
    assert scores["value_added"].iloc[0] < 0


def test_a_look_back_does_not_stand_for_the_decision_of_its_day(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path / "landing", "", "", "")
    lived = Build("run", "2011-12-08", "2011-12-09T06:00:00", 1, "code", running_day=True, data_as_of="2011-12-08")
    looked = replace(lived, ingested_until="2011-12-20T06:00:00", running_day=False, data_as_of="2011-12-19")
    for name, build in (("2011-12-08_a", lived), ("2011-12-08_b", looked)):
        (settings.archive / name).mkdir(parents=True)
        (settings.archive / name / "archive.json").write_text(json.dumps({"build": asdict(build)}))
    assert archive_of_day(settings, "2011-12-08") == "2011-12-08_a"
    (settings.archive / "2011-12-08_a" / "archive.json").unlink()
    assert archive_of_day(settings, "2011-12-08") == "2011-12-08_b"
