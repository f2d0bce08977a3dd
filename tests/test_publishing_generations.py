"""Publication: one step from one generation to the next, or nothing."""

import json
import os
from datetime import date
from pathlib import Path

import duckdb
import pytest

from orchestration.publishing import generations as publication
from orchestration.publishing.generations import FinishedRun, Publication, current_manifest, publish, repair_link
from orchestration.warehouse.build import EPOCH
from orchestration.warehouse.exports import Relation, content_hash
from serving.store import Fenced, Outbox, Store, StoreError


def export(folder: Path, relation: str, query: str) -> None:
    path = folder / f"{relation.replace('.', '/')}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.sql(f"copy ({query}) to '{path}' (format parquet)")


def publish_one(
    tmp_path: Path,
    store: Store,
    query: str,
    *,
    fence: int | None = None,
    keep: int = 5,
    lines: list[dict[str, object]] | None = None,
    seen: int | None = None,
    compares: tuple[str, ...] = (),
    day: date = date(2011, 12, 8),
    looks_back: bool = False,
) -> Publication:
    export(tmp_path / "exports", "marts.dim_products", query)
    return publish(
        FinishedRun(
            run_id="run",
            fence=store.claim(EPOCH, "run", {}) if fence is None else fence,
            as_of=day,
            data_as_of=date(2011, 12, 9),
            ingested_until="2011-12-09T05:00:00+00:00",
            models={},
            code_version="1",
            outbox=Outbox(day, lines or [], store.open_orders().version if seen is None else seen, {}),
            archive="2011-12-08_0",
            looks_back=looks_back,
        ),
        exports=tmp_path / "exports",
        relations=[
            Relation(
                "marts.dim_products",
                grain=("sku",),
                in_months=None,
                description="What is sold. One row per sku.",
                columns={"sku": "Stock keeping unit"},
                compares=compares,
            )
        ],
        published=tmp_path / "published",
        store=store,
        keep=keep,
    )


def read(tmp_path: Path, query: str) -> list[tuple[object, ...]]:
    database = (tmp_path / "published" / "current.duckdb").resolve()
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.sql(query).fetchall()


def test_readers_see_what_was_published(tmp_path: Path, store: Store) -> None:
    publish_one(tmp_path, store, "select 'a' as sku")
    assert read(tmp_path, "select sku from marts.dim_products") == [("a",)]


BEFORE = date(2011, 11, 30)


def test_a_day_that_is_looked_back_at_is_published_beside_the_current_generation(tmp_path: Path, store: Store) -> None:
    current = publish_one(tmp_path, store, "select 'a' as sku")
    past = publish_one(tmp_path, store, "select 'b' as sku", day=BEFORE, looks_back=True, lines=[ORDER])
    assert past.beside == tmp_path / "published" / "as_of" / "2011-11-30"
    assert read(tmp_path, "select sku from marts.dim_products") == [("a",)]
    with duckdb.connect(str((past.beside / "current.duckdb").resolve()), read_only=True) as connection:
        assert connection.sql("select sku from marts.dim_products").fetchall() == [("b",)]
    manifest = current_manifest(past.beside)
    assert manifest is not None
    assert "known today" in manifest["knowledge"]
    assert [epoch.value for epoch in store.epochs(EPOCH)] == [current.generation]
    assert store.proposals() == []
    # Looked back at once more: the same content is not published again, other content takes its place.
    assert not publish_one(tmp_path, store, "select 'b' as sku", day=BEFORE, looks_back=True).is_new
    assert publish_one(tmp_path, store, "select 'c' as sku", day=BEFORE, looks_back=True).is_new
    assert len(list(past.beside.glob("wh_*.duckdb"))) == 1
    # As many looks back are kept as generations are.
    publish_one(tmp_path, store, "select 'b' as sku", day=date(2011, 11, 29), looks_back=True, keep=1)
    assert [folder.name for folder in (tmp_path / "published" / "as_of").iterdir()] == ["2011-11-29"]


def test_an_earlier_day_that_nobody_gave_is_the_current_one(tmp_path: Path, store: Store) -> None:
    publish_one(tmp_path, store, "select 'a' as sku")
    corrected = publish_one(tmp_path, store, "select 'b' as sku", day=BEFORE)
    assert corrected.beside is None
    assert read(tmp_path, "select sku from marts.dim_products") == [("b",)]


def test_unchanged_content_is_not_published_again(tmp_path: Path, store: Store) -> None:
    first = publish_one(tmp_path, store, "select 'a' as sku union all select 'b'")
    second = publish_one(tmp_path, store, "select 'b' as sku union all select 'a'")
    assert (second.is_new, second.generation) == (False, first.generation)
    assert len(list((tmp_path / "published").glob("wh_*.duckdb"))) == 1


def test_what_compares_with_the_generation_before_is_published_and_no_reason_to_publish(
    tmp_path: Path, store: Store
) -> None:
    comparing = ("change",)
    publish_one(tmp_path, store, "select 'a' as sku, 'none' as change", compares=comparing)
    assert not publish_one(tmp_path, store, "select 'a' as sku, '+3' as change", compares=comparing).is_new
    assert publish_one(tmp_path, store, "select 'b' as sku, '+3' as change", compares=comparing).is_new
    assert read(tmp_path, "select change from marts.dim_products") == [("+3",)]


def test_a_relation_that_only_compares_is_no_reason_to_publish(tmp_path: Path, store: Store) -> None:
    comparing = ("sku",)
    publish_one(tmp_path, store, "select 'a' as sku", compares=comparing)
    assert not publish_one(tmp_path, store, "select 'b' as sku", compares=comparing).is_new


def test_changed_content_becomes_the_current_generation(tmp_path: Path, store: Store) -> None:
    publish_one(tmp_path, store, "select 'a' as sku")
    publish_one(tmp_path, store, "select 'c' as sku")
    assert read(tmp_path, "select sku from marts.dim_products") == [("c",)]


def test_a_run_that_a_later_one_fenced_cannot_publish(tmp_path: Path, store: Store) -> None:
    publish_one(tmp_path, store, "select 'a' as sku")
    old = store.claim(EPOCH, "old", {})
    store.claim(EPOCH, "later", {})
    with pytest.raises(Fenced):
        publish_one(tmp_path, store, "select 'b' as sku", fence=old)
    assert read(tmp_path, "select sku from marts.dim_products") == [("a",)]
    assert len(list((tmp_path / "published").glob("wh_*"))) == 2


def test_a_full_disk_leaves_the_previous_generation_and_nothing_half_written(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_one(tmp_path, store, "select 'a' as sku")
    before = sorted(path.name for path in (tmp_path / "published").rglob("*"))

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        publish_one(tmp_path, store, "select 'b' as sku")
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "published").rglob("*")) == before
    assert read(tmp_path, "select sku from marts.dim_products") == [("a",)]


def test_an_interruption_after_the_switch_keeps_the_files_of_the_current_generation(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_one(tmp_path, store, "select 'a' as sku")
    finish = store.publish

    def interrupted(*given: object) -> None:
        finish(*given)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "publish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish_one(tmp_path, store, "select 'b' as sku")
    monkeypatch.undo()
    assert repair_link(tmp_path / "published", store) is not None
    assert read(tmp_path, "select sku from marts.dim_products") == [("b",)]


def test_the_link_is_repaired_from_the_store(tmp_path: Path, store: Store) -> None:
    first = publish_one(tmp_path, store, "select 'a' as sku")
    publish_one(tmp_path, store, "select 'b' as sku")
    publication._switch_link(tmp_path / "published", f"wh_{first.generation}.duckdb")
    repair_link(tmp_path / "published", store)
    assert read(tmp_path, "select sku from marts.dim_products") == [("b",)]


def test_only_the_last_generations_stay(tmp_path: Path, store: Store) -> None:
    for letter in "abcd":
        publish_one(tmp_path, store, f"select '{letter}' as sku", keep=2)
    assert len(list((tmp_path / "published").glob("wh_*.duckdb"))) == 2
    assert len(list((tmp_path / "published").glob("wh_*.json"))) == 2


def test_large_tables_are_files_that_generations_share(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "LARGE_TABLE_ROWS", 2)
    publish_one(tmp_path, store, "select range::varchar as sku from range(3)")
    assert len(list((tmp_path / "published" / "facts").glob("*.parquet"))) == 1
    assert read(tmp_path, "select count(*) from marts.dim_products") == [(3,)]


def test_a_generation_from_before_facts_came_in_months_is_followed_and_keeps_its_file(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "LARGE_TABLE_ROWS", 1)
    publish_one(tmp_path, store, "select 'a' as sku")
    (manifest,) = (tmp_path / "published").glob("wh_*.json")
    told = json.loads(manifest.read_text())
    table = told["tables"]["marts.dim_products"]
    (table["file"],) = table.pop("files")
    manifest.write_text(json.dumps(told))
    assert publish_one(tmp_path, store, "select 'b' as sku").is_new
    assert (tmp_path / "published" / table["file"]).exists()


def test_descriptions_become_comments(tmp_path: Path, store: Store) -> None:
    publish_one(tmp_path, store, "select 'a' as sku")
    assert read(tmp_path, "select comment from duckdb_tables()") == [("What is sold. One row per sku.",)]
    assert read(
        tmp_path, "select comment from duckdb_columns() where column_name = 'sku' and schema_name = 'marts'"
    ) == [("Stock keeping unit",)]


def test_a_day_that_was_given_is_told_beside_the_day_that_the_movements_tell(tmp_path: Path, store: Store) -> None:
    publish_one(tmp_path, store, "select 'a' as sku")
    epoch, manifest = store.epoch(EPOCH), publication.current_manifest(tmp_path / "published")
    assert epoch is not None and manifest is not None
    for told in (epoch.detail, manifest):
        assert (told["as_of"], told["data_as_of"]) == ("2011-12-08", "2011-12-09")


def test_the_manifest_pins_counts_and_hashes(tmp_path: Path, store: Store) -> None:
    publish_one(tmp_path, store, "select 'a' as sku")
    manifest = current_manifest(tmp_path / "published")
    assert manifest is not None
    assert manifest["tables"]["marts.dim_products"]["rows"] == 1
    assert json.loads(json.dumps(manifest)) == manifest


def test_the_content_hash_sees_one_changed_value(tmp_path: Path) -> None:
    export(tmp_path, "marts.a", "select range as n from range(1000)")
    export(tmp_path, "marts.b", "select case when range = 500 then 501 else range end as n from range(1000)")
    assert content_hash(tmp_path / "marts/a.parquet") != content_hash(tmp_path / "marts/b.parquet")


def test_the_content_hash_ignores_the_order_of_rows(tmp_path: Path) -> None:
    export(tmp_path, "marts.a", "select range as n from range(1000)")
    export(tmp_path, "marts.b", "select range as n from range(1000) order by n desc")
    assert content_hash(tmp_path / "marts/a.parquet") == content_hash(tmp_path / "marts/b.parquet")


ORDER: dict[str, object] = {"sku": "a", "location_id": "L", "supplier_id": "S", "order_units": 12}


def test_a_generation_brings_its_proposals_into_the_outbox(tmp_path: Path, store: Store) -> None:
    published = publish_one(tmp_path, store, "select 'a' as sku", lines=[ORDER])
    assert [made.proposal_id for made in store.proposals(state="proposed")] == published.proposals.proposed


def test_the_same_run_again_proposes_nothing_new(tmp_path: Path, store: Store) -> None:
    first = publish_one(tmp_path, store, "select 'a' as sku", lines=[ORDER])
    version = store.open_orders().version
    again = publish_one(tmp_path, store, "select 'a' as sku", lines=[ORDER])
    assert (again.is_new, again.proposals.proposed, again.proposals.unchanged) == (False, [], first.proposals.proposed)
    assert store.open_orders().version == version


def test_of_two_runs_at_once_only_the_later_one_proposes(tmp_path: Path, store: Store) -> None:
    early, late = (store.claim(EPOCH, name, {}) for name in ("early", "late"))
    seen = store.open_orders().version
    publish_one(tmp_path, store, "select 'b' as sku", fence=late, lines=[ORDER], seen=seen)
    with pytest.raises(Fenced):
        publish_one(tmp_path, store, "select 'a' as sku", fence=early, lines=[ORDER | {"order_units": 24}], seen=seen)
    assert [made.order_units for made in store.proposals()] == [12]


def test_a_line_that_cannot_be_proposed_stops_publication(tmp_path: Path, store: Store) -> None:
    publish_one(tmp_path, store, "select 'a' as sku", lines=[ORDER])
    with pytest.raises(StoreError, match="more than zero"):
        publish_one(tmp_path, store, "select 'b' as sku", lines=[ORDER | {"order_units": 0}])
    assert read(tmp_path, "select sku from marts.dim_products") == [("a",)]
    assert len(store.proposals(state="proposed")) == 1
