"""Generations: the checked tables of one run, assembled aside, then made current in one step.

Belongs here: assembling, hashing, switching, keeping. Does not: deciding what is right (checks of the layers before).

A generation is `wh_<generation>.duckdb` with its manifest `wh_<generation>.json`. Small tables are stored inside;
a large one is a view over immutable Parquet files that generations share, one a month of a fact. `current.duckdb` is a
link. The row in the online store decides which generation is current; the link follows it and is repaired from it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.home.settings import Settings
from orchestration.home.sql_text import literal, path_literal
from orchestration.warehouse.build import EPOCH
from orchestration.warehouse.exports import Relation, content_hash, files_of, parquet_of, read_sql, share

if TYPE_CHECKING:
    from serving.store import Outbox, ProposeReport, Store

LARGE_TABLE_ROWS = 200_000
_LINK = "current.duckdb"
KNOWLEDGE_OF_TODAY = (
    "movements up to the end of this day, with the corrections, products, terms and models that are known today; what "
    "was decided on that day is in its archive: `inventorybot reproduce --as-of`"
)


@dataclass(frozen=True)
class PublishedTable:
    """One table of a generation: its rows, the hash of its content, the shared files of a large one."""

    relation: str
    rows: int
    hash: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Publication:
    """What publishing came to.

    Attributes:
        generation: name of the generation that is current now.
        content_hash: hash over every table but for its comparisons, the as-of day and the model versions.
        is_new: False when the content equals that of the generation that was already current.
        tables: tables of the generation.
        proposals: what became of the lines that this run proposes.
        beside: folder of a day that is looked back at; None = it is the current generation.
    """

    generation: str
    content_hash: str
    is_new: bool
    tables: list[PublishedTable]
    proposals: "ProposeReport"
    beside: Path | None = None


@dataclass(frozen=True)
class FinishedRun:
    """What a run brings to its publication.

    Attributes:
        run_id: Dagster run.
        fence: token the run claimed when it began; a later claim makes this run too old to publish.
        as_of: business day of the run.
        data_as_of: business day of the movements, whatever day was given.
        ingested_until: instant up to which arrivals count, ISO, UTC.
        models: per model the pinned version, run and folder hash.
        code_version: version of the code that made the tables.
        outbox: the lines the run proposes and the order lines it has seen.
        archive: name of the archive folder with its decisions and their inputs.
        looks_back: whether the day was given, and is not the latest one.
    """

    run_id: str
    fence: int
    as_of: date
    data_as_of: date
    ingested_until: str
    models: Mapping[str, Mapping[str, str]]
    code_version: str
    outbox: "Outbox"
    archive: str
    looks_back: bool = False


def publish(
    run: FinishedRun, *, exports: Path, relations: Sequence[Relation], published: Path, store: "Store", keep: int
) -> Publication:
    """Publish the exported relations as the current generation, unless their content is current already.

    The lines it proposes enter the outbox in the transaction that makes it current, both or neither. They do so too
    where the content is current already, and then change nothing unless the outbox has lost them.

    Args:
        run: what is published.
        exports: folder of exported relations (`orchestration.warehouse.exports`).
        relations: what to publish; their descriptions become SQL comments. Columns that compare with the generation
            before are published and are no part of the content: what changed against what was published before is no
            news of the day itself.
        published: folder that readers open.
        store: online store; its epoch row decides which generation is current.
        keep: generations left on disk, the current one included, and as many days that were looked back at.

    Returns:
        The publication; a failure before the switch leaves the previous generation current. A day that is looked back
        at, earlier than that of the current generation, is published beside it, in `as_of/<day>`, and neither moves
        the current one nor the outbox.

    Raises:
        serving.store.Fenced: a later run has begun.
        serving.store.StoreBehind: the store is older than what is published.
        OSError: the disk is full or not writable; nothing half-written stays.
    """
    published.mkdir(parents=True, exist_ok=True)
    hashed = {relation.name: content_hash(parquet_of(exports, relation.name)) for relation in relations}
    content = {
        relation.name: content_hash(parquet_of(exports, relation.name), relation.compares)
        if relation.compares
        else hashed[relation.name]
        for relation in relations
        if not relation.compares or set(relation.compares) != set(relation.columns)
    }
    total = _hash_of({"tables": content, "as_of": run.as_of.isoformat(), "models": run.models})
    current = repair_link(published, store)
    described = {relation.name: relation for relation in relations}
    if current is not None and run.looks_back and run.as_of.isoformat() < current["as_of"]:
        beside = _publish_beside(run, total, hashed, described, exports=exports, published=published, store=store)
        looks = sorted((published / "as_of").iterdir(), key=lambda folder: folder.stat().st_mtime)
        for folder in looks[:-keep]:
            shutil.rmtree(folder)
        return beside
    if current is not None and current["content_hash"] == total:
        proposals = store.publish(EPOCH, run.fence, None, {}, run.outbox)
        return Publication(current["generation"], total, False, _tables_of(current), proposals)

    generation = f"{datetime.now(UTC):%Y%m%dT%H%M%S}_{total[:8]}"
    database, manifest_file = published / f"wh_{generation}.duckdb", published / f"wh_{generation}.json"
    try:
        tables = [_share_large(exports, published, name, *known) for name, known in hashed.items()]
        _assemble(database, exports, published, tables, described)
        manifest = _manifest(run, generation, total, tables, store)
        _write_durably(manifest_file, json.dumps(manifest, indent=2).encode())
        detail = {name: manifest[name] for name in ("content_hash", "run_id", "as_of", "data_as_of", "ingested_until")}
        proposals = store.publish(EPOCH, run.fence, generation, detail, run.outbox)
    except BaseException:
        # Once the store names it, readers follow: `repair_link` finishes what was interrupted.
        if not _is_known(generation, store):
            database.unlink(missing_ok=True)
            manifest_file.unlink(missing_ok=True)
        raise
    _switch_link(published, database.name)
    _forget_old(published, keep)
    return Publication(generation, total, True, tables, proposals)


def looked_back_at(published: Path, day: date) -> Path:
    """Return the folder in which a day that is looked back at is published, as readers open `published` itself."""
    return published / "as_of" / day.isoformat()


def _publish_beside(
    run: FinishedRun,
    total: str,
    hashed: Mapping[str, tuple[int, str]],
    relations: Mapping[str, Relation],
    *,
    exports: Path,
    published: Path,
    store: "Store",
) -> Publication:
    """Publish a day that is looked back at in a folder of its own; an earlier look at it goes."""
    from serving.store import ProposeReport

    folder = looked_back_at(published, run.as_of)
    folder.mkdir(parents=True, exist_ok=True)
    before = current_manifest(folder)
    if before is not None and before["content_hash"] == total:
        return Publication(before["generation"], total, False, _tables_of(before), ProposeReport(), folder)
    generation = f"{datetime.now(UTC):%Y%m%dT%H%M%S}_{total[:8]}"
    database = folder / f"wh_{generation}.duckdb"
    tables = [_share_large(exports, folder, name, *known) for name, known in hashed.items()]
    try:
        _assemble(database, exports, folder, tables, relations)
        manifest = _manifest(run, generation, total, tables, store) | {"knowledge": KNOWLEDGE_OF_TODAY}
        _write_durably(database.with_suffix(".json"), json.dumps(manifest, indent=2).encode())
    except BaseException:
        database.unlink(missing_ok=True)
        raise
    _switch_link(folder, database.name)
    _forget_old(folder, 0)
    return Publication(generation, total, True, tables, ProposeReport(), folder)


def _manifest(
    run: FinishedRun, generation: str, total: str, tables: Sequence[PublishedTable], store: "Store"
) -> dict[str, Any]:
    sequence, head = store.head()
    return {
        "generation": generation,
        "as_of": run.as_of.isoformat(),
        "data_as_of": run.data_as_of.isoformat(),
        "run_id": run.run_id,
        "ingested_until": run.ingested_until,
        "published_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ledger": {"sequence": sequence, "hash": head},
        "models": run.models,
        "code_version": run.code_version,
        "archive": run.archive,
        "content_hash": total,
        "tables": {table.relation: {"rows": table.rows, "hash": table.hash, "files": table.files} for table in tables},
    }


def require_known(published: Path, store: "Store") -> None:
    """Refuse a store that does not know the generation that readers see: it is older than that, or another one.

    Raises:
        serving.store.StoreBehind: following such a store would turn readers back, and order what was ordered since.
    """
    from serving.store import StoreBehind

    manifest = current_manifest(published)
    if manifest is None or _is_known(manifest["generation"], store):
        return
    raise StoreBehind(
        f"the online store does not know generation {manifest['generation']} of {manifest['as_of']}, which "
        f"{published / _LINK} names: it is older than that publication, or another store. Put the right store in its "
        "place, or move this one away and run `inventorybot store restore` with the latest backup. If no backup is "
        "newer than this store, run `inventorybot store reconcile`: it recovers what is published and lists what "
        "the ERP may hold"
    )


def _is_known(generation: str, store: "Store") -> bool:
    return any(epoch.value == generation for epoch in store.epochs(EPOCH))


def repair_link(published: Path, store: "Store") -> dict[str, Any] | None:
    """Make the link agree with the epoch row and return the current manifest; None when nothing was ever published.

    Raises:
        serving.store.StoreBehind: the store is older than what is published; the link stays.
    """
    require_known(published, store)
    epoch = store.epoch(EPOCH)
    if epoch is None:
        return None
    database = published / f"wh_{epoch.value}.duckdb"
    if not database.exists():
        return None
    link = published / _LINK
    if not link.is_symlink() or link.readlink() != Path(database.name):
        _switch_link(published, database.name)
    manifest: dict[str, Any] = json.loads((published / f"wh_{epoch.value}.json").read_text())
    return manifest


def current_manifest(published: Path) -> dict[str, Any] | None:
    """Return the manifest of the generation the link names; None when nothing is published."""
    link = published / _LINK
    if not link.exists():
        return None
    manifest: dict[str, Any] = json.loads(link.resolve().with_suffix(".json").read_text())
    return manifest


def published_archive(settings: Settings) -> str | None:
    """Return the name of the archive of the current generation; None = nothing is published, or it is not kept.

    One without the steps of its orders, which an earlier version of this software made, is none to compare with.
    """
    manifest = current_manifest(settings.published)
    name = manifest.get("archive") if manifest else None
    return name if name and (settings.archive / name / "restock_terms.parquet").is_file() else None


def anchors(published: Path) -> list[tuple[int, str]]:
    """Return sequence and chain hash of the ledger as each kept generation noted them: a cut-off tail shows there."""
    ledgers = [json.loads(path.read_text())["ledger"] for path in sorted(published.glob("wh_*.json"))]
    return [(ledger["sequence"], ledger["hash"]) for ledger in ledgers]


def _share_large(exports: Path, published: Path, relation: str, rows: int, digest: str) -> PublishedTable:
    if rows < LARGE_TABLE_ROWS:
        return PublishedTable(relation, rows, digest, ())
    (published / "facts").mkdir(exist_ok=True)
    files = []
    for path in files_of(parquet_of(exports, relation)):
        # The name of a month holds the hash of its content already.
        name = f"{digest}.parquet" if path.stem == relation.split(".")[1] else path.name
        shared = published / "facts" / f"{relation}_{name}"
        files.append(f"facts/{shared.name}")
        if shared.exists():
            continue
        beside = shared.with_suffix(f".{os.getpid()}.tmp")
        try:
            share(path, beside)
            _sync(beside)
            beside.replace(shared)
        finally:
            beside.unlink(missing_ok=True)
    return PublishedTable(relation, rows, digest, tuple(files))


def _assemble(
    database: Path,
    exports: Path,
    published: Path,
    tables: list[PublishedTable],
    relations: Mapping[str, Relation],
) -> None:
    beside = database.with_suffix(".tmp")
    beside.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(beside)) as connection:
            for schema in sorted({table.relation.split(".")[0] for table in tables}):
                connection.execute(f"create schema {schema}")
            for table in tables:
                kind = "view" if table.files else "table"
                shared = ", ".join(path_literal(published / file) for file in table.files)
                source = f"read_parquet([{shared}])" if shared else read_sql(parquet_of(exports, table.relation))
                connection.execute(f"create {kind} {table.relation} as select * from {source}")
                relation = relations[table.relation]
                connection.execute(f"comment on {kind} {table.relation} is {literal(relation.description)}")
                for column, text in relation.columns.items():
                    connection.execute(f'comment on column {table.relation}."{column}" is {literal(text)}')
            connection.execute("checkpoint")
        _sync(beside)
        beside.chmod(0o444)
        beside.replace(database)
        _sync(database.parent)
    finally:
        beside.unlink(missing_ok=True)
        Path(f"{beside}.wal").unlink(missing_ok=True)


def _switch_link(published: Path, name: str) -> None:
    beside = published / f".{_LINK}.{os.getpid()}"
    beside.unlink(missing_ok=True)
    beside.symlink_to(name)
    beside.replace(published / _LINK)
    _sync(published)


def _forget_old(published: Path, keep: int) -> None:
    current = (published / _LINK).resolve()
    databases = sorted(published.glob("wh_*.duckdb"), reverse=True)
    kept = {current, *databases[:keep]}
    for database in databases:
        if database not in kept:
            database.unlink()
            database.with_suffix(".json").unlink(missing_ok=True)
    used = {
        file
        for manifest in published.glob("wh_*.json")
        for table in json.loads(manifest.read_text())["tables"].values()
        for file in _files_of(table)
    }
    for fact in (published / "facts").glob("*.parquet"):
        if f"facts/{fact.name}" not in used:
            fact.unlink()


def _tables_of(manifest: Mapping[str, Any]) -> list[PublishedTable]:
    return [
        PublishedTable(relation, table["rows"], table["hash"], _files_of(table))
        for relation, table in manifest["tables"].items()
    ]


def _files_of(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the shared files of a table in a manifest; one from before facts came in months names one file or none."""
    return tuple(table["files"]) if "files" in table else tuple(filter(None, [table["file"]]))


def _hash_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _write_durably(path: Path, content: bytes) -> None:
    beside = path.with_suffix(path.suffix + ".tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
