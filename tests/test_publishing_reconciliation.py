"""A store that was lost, restored or is older than that publication: no id names two orders, nothing turns back."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from orchestration.cli.main import cli
from orchestration.home.lock import HomeError
from orchestration.home.prepare import make_store, prepare_home
from orchestration.home.settings import Settings
from orchestration.ingest.batches import ingest_table
from orchestration.ingest.online_store import claims_of, events_behind
from orchestration.planning.proposals import rejected_needs
from orchestration.publishing.generations import FinishedRun, Publication, current_manifest, publish, repair_link
from orchestration.publishing.reconciliation import reconcile
from orchestration.warehouse.build import EPOCH, Build
from orchestration.warehouse.exports import Relation
from orchestration.warehouse.handoff import write_predictions
from serving.store import Decision, Outbox, Published, Store, StoreBehind

FIRST = date(2011, 12, 1)
BUILD = Build("run", "2011-12-03", "2011-12-04T06:00:00+00:00", 1, "code")


@dataclass
class Home:
    """A home whose runs order what they are told to."""

    settings: Settings
    run: Callable[..., Result]
    day: date = FIRST
    archive: str = ""

    @property
    def file(self) -> Path:
        return self.settings.home / "online_store.sqlite"

    def store(self) -> Store:
        return Store.open(self.settings.store_url)

    def publish(self, **units: int) -> Publication:
        """Let the run of the next day order so many units of each sku, and publish."""
        self.day += timedelta(days=1)
        lines = [
            {
                "sku": sku,
                "location_id": "N",
                "supplier_id": "ACME",
                "order_units": number,
                "unit_cost": Decimal("1.25"),
                "order_by_date": self.day + timedelta(days=9),
                "expires_date": self.day + timedelta(days=9),
                "expected_date": self.day + timedelta(days=20),
            }
            for sku, number in units.items()
        ]
        with self.store() as store:
            found = store.open_orders()
            counted = [made.proposal_id for made in found.proposals]
            announced = store.announce_proposals(self.day, lines, seen_version=found.version, counted=counted)
            assert announced is not None
            ids = [announced.ids[line["sku"], "N", ""] for line in lines]
            rows = [(proposal_id, "proposed", line) for proposal_id, line in zip(ids, lines, strict=True)]
            rows += [(made.proposal_id, made.state, asdict(made)) for made in found.proposals]
            self._export(rows)
            return publish(
                FinishedRun(
                    run_id="run",
                    fence=store.claim(EPOCH, "run"),
                    as_of=self.day,
                    data_as_of=self.day,
                    ingested_until=f"{self.day}T05:00:00+00:00",
                    models={},
                    code_version="1",
                    outbox=Outbox(self.day, lines, found.version, {}, counted=counted),
                    archive=self.archive,
                ),
                exports=self.settings.exports,
                relations=[Relation("reporting.purchase_order_proposals", ("proposal_id",), False, "", {})],
                published=self.settings.published,
                store=store,
                keep=5,
            )

    def _export(self, rows: list[tuple[str, str, dict[str, Any]]]) -> None:
        values = ", ".join(
            f"('{named}', '{state}', '{row['sku']}', {row['order_units']}, {row.get('adjusted_units') or 'null'}, "
            f"nullif('{row.get('adjusted_by') or ''}', ''))"
            for named, state, row in rows
        )
        path = self.settings.exports / "reporting" / "purchase_order_proposals.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        duckdb.sql(
            f"""
            copy (
                select proposal_id, state, date '{self.day}' as as_of_date, 'ACME' as supplier_id, sku,
                    'N' as location_id, order_units::decimal(18, 3) as order_units, 1.25::decimal(18, 4) as unit_cost,
                    date '{self.day}' + 9 as order_by_date, date '{self.day}' + 20 as expected_arrival_date,
                    adjusted_units::decimal(18, 3) as adjusted_units, adjusted_by
                from (values {values or "('', '', '', 0, null, null)"})
                    as listed (proposal_id, state, sku, order_units, adjusted_units, adjusted_by)
                where proposal_id <> ''
            ) to '{path}' (format parquet)
            """
        )

    def proposals(self, **states: str) -> dict[str, str]:
        """Return sku and units of each proposal by id."""
        with self.store() as store:
            return {made.proposal_id: f"{made.sku} {made.order_units:f} {made.state}" for made in store.proposals()}

    def generation(self) -> str:
        manifest = current_manifest(self.settings.published)
        assert manifest is not None
        return str(manifest["generation"])


@pytest.fixture
def home(home_folder: Path) -> Home:
    url = f"sqlite:///{home_folder / 'online_store.sqlite'}"

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments))

    return Home(Settings(home_folder, home_folder / "landing", url, "", ""), run)


@pytest.fixture
def restored(home: Home, tmp_path: Path) -> Iterator[tuple[Home, dict[str, str], Result]]:
    """A home after the loss of its store; what the ids stood for; what the restore said.

    The backup is from the first day. After it MUG was approved and exported, CUP was proposed with other units, and
    the JUG of the last generation was approved and exported with no run after it.
    """
    home.publish(MUG=48, CUP=12)
    home.run("store", "backup", str(tmp_path / "backup.sqlite"))
    mug = next(named for named, told in home.proposals().items() if told.startswith("MUG"))
    home.run("proposals", "approve", mug)
    home.run("proposals", "export")
    home.publish(CUP=18, JUG=6)
    jug = next(named for named, told in home.proposals().items() if told.startswith("JUG"))
    home.run("proposals", "approve", jug)
    home.run("proposals", "export")
    before = home.proposals()
    home.file.unlink()
    return home, before, home.run("store", "restore", str(tmp_path / "backup.sqlite"))


def test_after_a_restore_no_id_names_another_order(restored: tuple[Home, dict[str, str], Result]) -> None:
    home, before, _ = restored
    home.publish(CUP=30, JUG=12)
    home.publish(CUP=12, JUG=6)
    after = home.proposals()
    assert {named: told.rsplit(" ", 1)[0] for named, told in after.items() if named in before} == {
        named: told.rsplit(" ", 1)[0] for named, told in before.items()
    }
    assert len(after) == len(before) + 4


def test_a_restore_puts_back_what_is_published(restored: tuple[Home, dict[str, str], Result]) -> None:
    home, before, _ = restored
    # What happened after the last publication is known to the ERP alone.
    assert home.proposals() == {
        named: "JUG 6.000 proposed" if told.startswith("JUG") else told for named, told in before.items()
    }


def test_a_restore_says_what_the_erp_may_hold(restored: tuple[Home, dict[str, str], Result]) -> None:
    _, before, result = restored
    assert result.exit_code == 0, result.output
    moved, held = result.stdout.split("the ERP may hold")
    assert "1 proposals set to the state in which they are published" in moved
    by_sku = {told.split(" ")[0]: (named, told.split(" ")[1]) for named, told in before.items() if "12.0" not in told}
    assert by_sku["MUG"][0] in moved
    assert by_sku["JUG"][0] in held and "JUG  N   6 " in held


def test_nothing_is_exported_after_a_restore_until_it_is_confirmed(
    restored: tuple[Home, dict[str, str], Result],
) -> None:
    home, before, _ = restored
    jug = next(named for named, told in before.items() if told.startswith("JUG"))
    refused = home.run("proposals", "export")
    assert (refused.exit_code, "inventorybot proposals confirm" in refused.output) == (1, True)
    assert home.run("proposals", "confirm", "--held", jug).exit_code == 0
    assert home.proposals() == before
    assert home.run("proposals", "export").stdout.count("exported") == 2


def test_an_id_that_nobody_knows_is_not_confirmed(restored: tuple[Home, dict[str, str], Result]) -> None:
    home, _, _ = restored
    refused = home.run("proposals", "confirm", "--held", "20111203-none-1-1")
    assert (refused.exit_code, "Cancel it in the ERP" in refused.output) == (1, True)
    assert home.run("proposals", "export").exit_code == 1


def test_a_need_that_the_erp_holds_is_not_ordered_again(restored: tuple[Home, dict[str, str], Result]) -> None:
    home, before, _ = restored
    jug = next(named for named, told in before.items() if told.startswith("JUG"))
    home.run("proposals", "confirm", "--held", jug)
    with home.store() as store:
        assert {made.sku for made in store.open_orders().proposals} == {"MUG", "JUG"}


def test_what_a_planner_adjusted_comes_back_from_the_published_generation(home: Home, tmp_path: Path) -> None:
    home.publish(MUG=48)
    home.run("store", "backup", str(tmp_path / "backup.sqlite"))
    (mug,) = home.proposals()
    with home.store() as store:
        store.decide([Decision(mug, "approved", "a", "ann", order_units=Decimal(36))])
    home.run("proposals", "export")
    home.publish(CUP=12)
    home.file.unlink()
    assert home.run("store", "restore", str(tmp_path / "backup.sqlite")).exit_code == 0
    with home.store() as store:
        made = store.proposal(mug)[0]
        assert (made.state, made.order_units, made.coming_units, made.adjusted_by) == ("exported", 48, 36, "ann")
        assert store.verify().is_whole


def test_an_older_store_put_in_place_by_hand_does_not_turn_readers_back(
    home: Home, tmp_path: Path, empty_registry: Path
) -> None:
    (home.settings.home / "mlflow").mkdir()
    shutil.copy(empty_registry, home.settings.home / "mlflow" / "mlflow.db")
    home.publish(MUG=48)
    shutil.copy(home.file, tmp_path / "old.sqlite")
    home.publish(MUG=60)
    shutil.copy(tmp_path / "old.sqlite", home.file)
    current = home.generation()
    with home.store() as store, pytest.raises(StoreBehind, match=f"does not know generation {current}"):
        repair_link(home.settings.published, store)
    for command in (("run",), ("proposals", "export"), ("proposals", "approve", "--all")):
        refused = home.run(*command)
        assert refused.exit_code == 1
        assert "older than that publication" in f"{refused.output}{refused.exception}"
    assert home.generation() == current


def test_an_older_store_that_is_reconciled_goes_on_from_what_is_published(home: Home, tmp_path: Path) -> None:
    home.publish(MUG=48)
    shutil.copy(home.file, tmp_path / "old.sqlite")
    home.publish(MUG=60)
    before, current = home.proposals(), home.generation()
    shutil.copy(tmp_path / "old.sqlite", home.file)
    assert "older than the published generation" in home.run("store", "reconcile").output
    assert (home.proposals(), home.generation()) == (before, current)
    assert home.publish(MUG=72).is_new


def test_a_home_with_data_and_without_a_store_is_not_given_an_empty_one(home: Home) -> None:
    home.publish(MUG=48)
    home.file.unlink()
    with pytest.raises(HomeError, match="restore its latest backup"):
        prepare_home(home.settings)
    refused = home.run("store", "migrate")
    assert refused.exit_code == 1
    assert "restore its latest backup with `inventorybot store restore FILE`" in refused.output
    assert not home.file.exists()


def test_a_store_that_starts_empty_knows_what_is_published(home: Home) -> None:
    home.publish(MUG=48)
    before = home.proposals()
    home.file.unlink()
    assert home.run("store", "migrate", "--start-empty").exit_code == 0
    assert home.proposals() == before
    home.publish(MUG=48, CUP=12)
    assert {named.split("-")[2] for named in home.proposals().keys() - before.keys()} == {"2"}


def test_a_new_home_gets_its_store(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path / "landing", f"sqlite:///{tmp_path}/store.sqlite", "", "")
    assert make_store(settings) == make_store(settings)


def test_a_committed_proposal_of_the_archive_keeps_its_id(home: Home) -> None:
    folder = home.settings.archive / "2011-12-02_abc"
    folder.mkdir(parents=True)
    duckdb.sql(
        f"""
        copy (
            select '20111201-0123456789abcdef-7-1' as proposal_id, 'MUG' as sku, 'N' as location_id,
                'ACME' as supplier_id, 'exported' as state, 48.0 as open_units, 'nan'::double as unit_cost,
                9 as periods_ahead, timestamp_s '2011-12-09' as order_by_date,
                timestamp_s '2011-12-20' as expected_date,
                timestamp_s '2011-12-01' as proposed_for_date, date '2011-12-02' as as_of_date
        ) to '{folder}/open_proposals.parquet' (format parquet)
        """
    )
    with home.store() as store:
        assert reconcile(home.settings, store)[0].epoch == 8
    assert home.proposals() == {"20111201-0123456789abcdef-7-1": "MUG 48.000 superseded"}


def test_a_transfer_that_the_archive_names_is_put_back_with_both_ends(home: Home, tmp_path: Path) -> None:
    folder = home.settings.archive / "2011-12-02_0123456789abcdef"
    folder.mkdir(parents=True)
    duckdb.sql(
        f"""
        copy (
            select '20111201-0123456789abcdef-7-1' as proposal_id, 'MUG' as sku, 'S' as location_id,
                'N' as from_location_id, 'exported' as state, 48.0 as order_units, 0.04 as unit_cost,
                timestamp_s '2011-12-09' as order_by_date, timestamp_s '2011-12-11' as expected_date,
                timestamp_s '2011-12-01' as proposed_for_date, date '2011-12-02' as as_of_date
        ) to '{folder}/open_transfers.parquet' (format parquet)
        """
    )
    with home.store() as store:
        assert reconcile(home.settings, store)[0].epoch == 8
        (made,) = store.proposals()
    assert (made.item, made.supplier_id, made.order_units) == (("MUG", "S", "N"), "", 48)


def test_a_backup_of_the_version_before_is_restored_and_stays_as_it_is(home: Home, tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{tmp_path}/backup.sqlite")
    config = Config()
    config.set_main_option("script_location", "serving.store:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    home.file.unlink()
    assert home.run("store", "restore", str(tmp_path / "backup.sqlite")).exit_code == 0
    assert home.proposals() == {}
    with create_engine(f"sqlite:///{tmp_path}/backup.sqlite").connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == "0001"


SALE = {
    "source": "till",
    "line": 1,
    "revision": 0,
    "occurred_at": "2011-12-01T10:00:00Z",
    "sku": "A",
    "location_id": "N",
    "movement_type": "sale",
    "quantity_units": -1,
}
REQUEST = {
    "event_type": "restock_request",
    "occurred_at": "2011-12-01T10:00:00Z",
    "sku": "A",
    "location_id": "N",
    "requested_units": 4,
    "author": "ann",
}


def sold(store: Store, *documents: str) -> None:
    """Append sales, each with a request beside it, so that not every sequence is a movement."""
    for document in documents:
        store.append([SALE | {"document": document}, REQUEST | {"event_id": f"request {document}"}], source="api")


def taken_in(settings: Settings, store: Store) -> tuple[int, int]:
    """Take in what the store has behind the last batch; return how many movements were accepted and known."""
    raw = settings.raw
    known = {"landing": settings.landing, "raw": raw, "settle_seconds": 0, "ingested_at": datetime.now(UTC)}
    rows = ingest_table("stock_movements", events=events_behind(store, raw), claim=claims_of(store), **known).rows
    return rows.accepted, rows.duplicate


def test_after_a_restore_every_movement_is_taken_in_once(home: Home, tmp_path: Path) -> None:
    settings = home.settings
    for table in ("products", "locations", "stock_movements"):
        (settings.landing / table).mkdir(parents=True)
    known = {"landing": settings.landing, "raw": settings.raw, "settle_seconds": 0, "ingested_at": datetime.now(UTC)}
    (settings.landing / "products" / "a.csv").write_text("sku,product_name,category,unit_cost,unit_price\nA,A,c,1,2\n")
    (settings.landing / "locations" / "a.csv").write_text(
        "location_id,location_name,location_type,country,time_zone\nN,N,store,GB,Europe/London\n"
    )
    for table in ("products", "locations"):
        ingest_table(table, **known)
    with home.store() as store:
        sold(store, "kept")
        store.backup(tmp_path / "backup.sqlite")
        sold(store, "lost 1", "lost 2")
        assert taken_in(settings, store) == (3, 0)
        noted = store.head()
    home.file.unlink()
    result = home.run("store", "restore", str(tmp_path / "backup.sqlite"))
    assert "4 events after the backup are lost, except 2 movements" in result.output
    with home.store() as store:
        sold(store, "after")
        assert taken_in(settings, store) == (1, 2)
        (item,) = store.live_stocks()
        assert item.on_hand_units == -4
        assert store.verify([noted]).is_whole


def test_a_gap_of_a_restore_cannot_hide_an_event_that_was_removed(home: Home) -> None:
    with home.store() as store:
        sold(store, "1")
        store.reconcile(Published(EPOCH, None, {}, [], 7))
        sold(store, "2")
        assert (store.head()[0], store.verify().problems) == (9, [])
        with store._database.write() as connection:
            connection.exec_driver_sql("UPDATE batches SET first_sequence = 2 WHERE batch = 2")
            connection.exec_driver_sql("UPDATE batches SET last_sequence = 1 WHERE batch = 1")
            connection.exec_driver_sql("DELETE FROM events WHERE sequence = 2")
        assert not store.verify().is_whole


def archived(home: Home, table: str, query: str) -> None:
    """Put a table into the archive of the generation to come."""
    home.archive = "2011-12-03_0123456789abcdef"
    folder = home.settings.archive / home.archive
    folder.mkdir(parents=True, exist_ok=True)
    duckdb.sql(f"copy ({query}) to '{folder}/{table}.parquet' (format parquet)")


def archive_the_rejection(home: Home, proposal_id: str) -> None:
    """Reject a proposal, and let the next generation be decided with that."""
    home.run("proposals", "reject", proposal_id, "--reason", "too dear", "--until", "2011-12-24", "--author", "ann")
    home.settings.predictions.mkdir(parents=True)
    with home.store() as store:
        write_predictions(home.settings, "rejected_needs", rejected_needs(BUILD, store), BUILD, None)
    archived(home, "rejected_needs", f"from '{home.settings.predictions}/rejected_needs.parquet'")


def test_a_rejection_that_held_at_the_last_publication_comes_back_although_nothing_was_needed(
    home: Home, tmp_path: Path
) -> None:
    home.run("store", "backup", str(tmp_path / "backup.sqlite"))
    home.publish(MUG=48)
    (mug,) = home.proposals()
    archive_the_rejection(home, mug)
    home.publish(CUP=12)
    home.file.unlink()
    result = home.run("store", "restore", str(tmp_path / "backup.sqlite"))
    assert "Rejections that the last publication knew are back" in result.stdout
    with home.store() as store:
        made = store.proposal(mug)[0]
        assert (made.state, made.rejected_until_date) == ("rejected", date(2011, 12, 24))
        assert made.rejection.endswith("rejected by ann until 2011-12-24: too dear")
        assert [rejected.proposal_id for rejected in store.rejections(home.day)] == [mug]


def test_what_was_approved_after_its_rejection_was_published_stays_approved(home: Home, tmp_path: Path) -> None:
    home.publish(MUG=48)
    (mug,) = home.proposals()
    archive_the_rejection(home, mug)
    home.publish(CUP=12)
    home.run("proposals", "approve", mug)
    home.run("store", "backup", str(tmp_path / "backup.sqlite"))
    home.file.unlink()
    home.run("store", "restore", str(tmp_path / "backup.sqlite"))
    assert home.proposals()[mug] == "MUG 48.000 approved"


def test_a_restore_names_the_overrides_that_the_published_orders_follow_and_it_has_lost(
    home: Home, tmp_path: Path
) -> None:
    home.run("policy", "set", "target_value", "0.9", "--reason", "all; of them", "--author", "bo")
    home.run("store", "backup", str(tmp_path / "backup.sqlite"))
    kept, lost = "target_value 0.9 by default (bo: all; of them)", "max_order_units 12 by item (ann: small; shelf)"
    archived(
        home,
        "restock_policies",
        f"from (values ('CUP', 'N', '{kept}'), ('JUG', 'N', null), ('MUG', 'N', '{lost}; {kept}'))"
        " as t(sku, location_id, policy_note)",
    )
    home.publish(MUG=48)
    home.file.unlink()
    told = home.run("store", "restore", str(tmp_path / "backup.sqlite")).stdout
    assert f"that are lost; set them again:\n  {lost}: MUG at N\n" in told
    assert kept not in told
    assert "rejections and approvals made after\nthe backup that no published run has seen are lost" in told
