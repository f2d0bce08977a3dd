"""Deliveries of versioned tables: which files are new, which is a full list, and which rows end as a list lacks them.

Belongs here: what files, SQL sources and people say of deliveries, and comparing a full list with what its source held
before. Does not: what sources hold (holdings), duplicates and conflicts (identity), committing (batches), what an ended
row still means (the warehouse).

A row ends when no source delivers it any more. A list that lacks much of what it had is more likely a broken export
than an end of it all: it is held until somebody says that these very rows have ended.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from glob import escape
from pathlib import Path
from typing import Literal

import duckdb

from orchestration.home.sql_text import literal, quoted
from orchestration.ingest.contract import LINEAGE_COLUMNS, Table, load_contract
from orchestration.ingest.files import LandingFile
from orchestration.ingest.formats import Format, delivery_of
from orchestration.ingest.holdings import Holdings, sources_relation
from orchestration.ingest.identity import joined_on_key
from orchestration.ingest.manifests import Counts, FileOutcome, Manifest, read_manifests
from orchestration.ingest.names import natural_order, shown

_MOST_SHOWN = 3
_FEWEST_UNDECLARED = 10
_MOST_DAYS_BEHIND = 7
_BY_FILES = "earlier.source_file not like 'sql:%'"


@dataclass(frozen=True)
class Delivery:
    """What a file or a pull is compared with.

    Attributes:
        name: name of the file, or the channel of a SQL source.
        kind: declared = a full list, as somebody said or as a SQL source without a cursor is; again = a file that comes
            again under its name, which is taken for a full list where it lacks few rows; unknown = nobody said what
            it is.
        sources: per source that was read before and may hold rows: whether this delivery replaces it, whether it was
            declared, whether it is still seen, and the batch of its last reading.
        is_first: whether nothing is known that it may replace: it is compared with the rows of all files, to ask.
        accepts: codes of the rows whose end a person has confirmed. A row that comes again comes by another batch
            and has another code, so that a code serves once.
        files: pattern of the files that it is declared with; empty = it is not.
        is_one_of_several: whether files of other names are known of the table.
    """

    name: str
    kind: Literal["declared", "again", "unknown"]
    sources: Mapping[str, tuple[bool, bool, bool, str]]
    accepts: tuple[str, ...] = ()
    files: str = ""
    is_first: bool = False
    is_one_of_several: bool = False


@dataclass(frozen=True)
class Missing:
    """What a delivery lacks.

    Attributes:
        ended: rows that end by it.
        notice: what an operator should know; empty = nothing.
        held: why it may not be committed; None = it may.
        is_end: whether what it lacks ends.
        asks: whether the notice is a question that stands until somebody says what the file brings.
        is_more: whether it has rows that its source did not hold before.
    """

    ended: int = 0
    notice: str = ""
    held: str | None = None
    is_end: bool = False
    asks: bool = False
    is_more: bool = False


def delivery_of_file(
    table: Table, formats: Sequence[Format], name: str, known: Sequence[FileOutcome], holdings: Holdings
) -> Delivery | None:
    """Return what a file of the landing folder is compared with; None where nothing ends by it.

    Args:
        table: table of the contract.
        formats: what people said of files.
        name: name of the file.
        known: files of earlier batches.
        holdings: what sources hold.
    """
    said = delivery_of(formats, table.name, name)
    if table.ends is None or said.delivery == "changes":
        return None
    own = _group(table, formats, name, holdings)
    comes_again = any(_group(table, formats, one, holdings) == own for one in holdings.readings)
    kind: Literal["declared", "again", "unknown"] = "unknown"
    if said.delivery == "full":
        kind = "declared"
    elif comes_again and table.ends == "file":
        kind = "again"
    is_first = kind == "unknown" and not comes_again
    return Delivery(
        name,
        kind,
        {} if is_first else _sources(table, formats, name, holdings),
        said.accepted,
        said.files if kind == "declared" else "",
        is_first,
        any(file.name != name and file.outcome != "rejected" and not file.name.startswith("sql:") for file in known),
    )


def delivery_of_source(table: Table, formats: Sequence[Format], channel: str, holdings: Holdings) -> Delivery | None:
    """Return what a full read of a SQL source is compared with."""
    sources = _sources(table, formats, channel, holdings)
    return Delivery(channel, "declared", sources, delivery_of(formats, table.name, channel).accepted)


def _sources(
    table: Table, formats: Sequence[Format], name: str, holdings: Holdings
) -> dict[str, tuple[bool, bool, bool, str]]:
    """Return the sources whose last reading still says what is delivered, each as `Delivery.sources` has it.

    Files of one declaration are one source, of which the newest full list counts; so is a file under all its names.
    What files of changes brought, they do not hold: a list does. A SQL source that is declared no more holds nothing.
    """
    own = _group(table, formats, name, holdings)
    groups = {one: _group(table, formats, one, holdings) for one in holdings.readings}
    newest: dict[str, str] = {}
    for one, reading in holdings.readings.items():
        if not _is_declared(groups[one]) or f"files:{reading.list_of}" == groups[one]:
            newest[groups[one]] = max(newest.get(groups[one], ""), reading.batch_id)
    living = {_group(table, formats, one, holdings) for one in holdings.lying | holdings.channels}
    return {
        one: (groups[one] == own, _is_declared(groups[one]), groups[one] in living, reading.batch_id)
        for one, reading in holdings.readings.items()
        if groups[one] and reading.batch_id >= newest.get(groups[one], "")
        if not one.startswith("sql:") or one in holdings.channels
    }


def _group(table: Table, formats: Sequence[Format], name: str, holdings: Holdings) -> str:
    """Return what files are one source by: the pattern of a declaration, else the first name; empty = of changes."""
    if name not in holdings.groups:
        said = delivery_of(formats, table.name, name)
        group = holdings.first_names.get(name, name)
        if not name.startswith("sql:") and said.delivery is not None:
            group = f"files:{said.files}" if said.delivery == "full" else ""
        holdings.groups[name] = group
    return holdings.groups[name]


def _is_declared(group: str) -> bool:
    return group.startswith(("files:", "sql:"))


def fresh_files(
    table: Table,
    formats: Sequence[Format],
    present: Sequence[LandingFile],
    hashes: Mapping[LandingFile, str],
    known: Sequence[FileOutcome],
) -> Iterator[LandingFile]:
    """Yield the files of a versioned table that are a delivery: a list that returns to what it once was is one too.

    Of the full lists that one declaration speaks of, the last by name is the newest and the only one. A list that is
    older than the one that was read last is none, and a file that was renamed neither.
    """
    by_name = {file.name: file.sha256 for file in known}
    kept = {(file.sha256, _without_name_time(file.mark)) for file in known if file.mark}
    # Of two files with the same content both deliver it.
    lying = {file.name for file in present}
    latest = known[-1].sha256 if known and not (table.ends and known[-1].name in lying) else ""
    newest = _newest_lists(table, formats, present, known)
    for file in present:
        digest = hashes[file]
        said = delivery_of(formats, table.name, file.name)
        if said.delivery == "full":
            lists = _lists(table, formats, file, known)
            if newest.get(said.files) == file and _is_new_list(file, digest, lists, said.files):
                yield file
            continue
        is_renamed = (digest, _without_name_time(file.mark)) in kept
        is_old = table.ends == "file" and said.delivery is None and _last_read(file, known, {file.name}) is not None
        if digest not in (by_name.get(file.name), latest) and not is_renamed and not is_old:
            latest = "" if table.ends else digest
            yield file


def renamed_files(hashes: Mapping[LandingFile, str], known: Sequence[FileOutcome]) -> list[FileOutcome]:
    """Return the files that are others under new names, each with the old name: they hold what those held.

    Args:
        hashes: hash of each file that lies there.
        known: files of earlier batches.
    """
    lying = {file.name for file in hashes}
    last = {file.name: file for file in known if file.outcome != "rejected" and not file.name.startswith("sql:")}
    gone = {file.sha256: name for name, file in last.items() if name not in lying}
    return [
        FileOutcome(*(file.name, digest, file.size, file.mark, "processed", None, Counts()), renamed_from=gone[digest])
        for file, digest in hashes.items()
        if file.name not in last and digest in gone
    ]


def _newest_lists(
    table: Table, formats: Sequence[Format], present: Sequence[LandingFile], known: Sequence[FileOutcome]
) -> dict[str, LandingFile]:
    """Return, per pattern of full lists, the newest that lies there: the last by name of those that are not old."""
    newest = {}
    for file in present:
        said = delivery_of(formats, table.name, file.name)
        if said.delivery == "full" and _later_list(table, formats, file, known) is None:
            newest[said.files] = file
    return newest


def _later_list(
    table: Table, formats: Sequence[Format], file: LandingFile, known: Sequence[FileOutcome]
) -> FileOutcome | None:
    """Return the full list that was read before a file of the same declaration and is later than it."""
    lists = _lists(table, formats, file, known)
    return _last_read(file, lists, {one.name for one in lists})


def _lists(
    table: Table, formats: Sequence[Format], file: LandingFile, known: Sequence[FileOutcome]
) -> list[FileOutcome]:
    """Return the full lists that were read of the declaration that speaks of a file."""
    files = delivery_of(formats, table.name, file.name).files
    return [one for one in known if one.is_full_list and delivery_of(formats, table.name, one.name).files == files]


def _last_read(file: LandingFile, known: Sequence[FileOutcome], names: set[str]) -> FileOutcome | None:
    """Return the last of some files that was read, where it is later than one that lies there.

    Names that differ in their numbers alone tell which is later; of others, and of one name, the times of writing do.
    """
    read = [one for one in known if one.name in names and one.mark and one.outcome != "rejected"]
    if not read:
        return None
    last = read[-1]
    if last.name != file.name and _series(last.name) == _series(file.name):
        return last if natural_order(file.name) < natural_order(last.name) else None
    return last if file.mark and file.mark[1] < last.mark[1] else None


def _series(name: str) -> str:
    return re.sub(r"\d+", "0", name.casefold())


def unread_lists(
    table: Table,
    formats: Sequence[Format],
    present: Sequence[LandingFile],
    hashes: Mapping[LandingFile, str],
    known: Sequence[FileOutcome],
) -> list[str]:
    """Return a notice for each full list that is never read: one of a later name lies beside it, or was read before."""
    read = {file.sha256 for file in known}
    marks = {_without_name_time(file.mark) for file in known if file.mark}
    newest = _newest_lists(table, formats, present, known)
    notices = []
    for file in present:
        said = delivery_of(formats, table.name, file.name)
        if said.delivery == "full":
            later = _later_list(table, formats, file, known)
        elif said.delivery is None and table.ends == "file":
            later = _last_read(file, known, {file.name})
        else:
            continue
        if later is not None:
            if _without_name_time(file.mark) not in marks and hashes[file] not in read:
                by = (
                    "by its name"
                    if later.name != file.name and _series(later.name) == _series(file.name)
                    else ("by the time it was written")
                )
                notices.append(
                    f"{file.place} was not read, and changes nothing: {shown(later.name)}, which was read before, is "
                    f"the newer full list, {by}; if this one is to count, save it again under a later name"
                )
        elif said.delivery == "full" and newest[said.files] != file and hashes[file] not in read:
            notices.append(
                f"{file.place} was not read: {shown(newest[said.files].name)} is the newer full list, by its name; if "
                f"it is a list of its own, say so: `inventorybot sources format {table.name}"
                f"{_files_option(file.name)} --delivery full`"
            )
    return notices


def open_questions(table: Table, formats: Sequence[Format], manifests: Sequence[Manifest]) -> list[str]:
    """Return the question what the files of a table bring that nobody has answered, as its latest file asks it."""
    known = [file for manifest in manifests if not manifest.settled for file in manifest.files]
    last = {file.name: file for file in known if file.outcome != "rejected" and file.renamed_from is None}
    asked = [
        last[name].notices[-1]
        for name in dict.fromkeys(file.name for file in reversed(known))
        if name in last and last[name].asks and delivery_of(formats, table.name, name).delivery is None
    ]
    others = f" ({len(asked) - 1:,} more files ask the same)" if len(asked) > 1 else ""
    return [asked[0] + others] if asked else []


def questions_of_home(raw: Path, formats: Sequence[Format]) -> list[str]:
    """Return the open question of each table, in the order of the contract."""
    return [
        question
        for table in load_contract()
        if table.ends
        for question in open_questions(table, formats, read_manifests(raw / table.name))
    ]


def _is_new_list(file: LandingFile, digest: str, lists: Sequence[FileOutcome], files: str) -> bool:
    """Tell whether a full list was not read yet: one that lay there before a later one was read is no news."""
    read = [outcome for outcome in lists if outcome.mark and outcome.list_of in ("", files)]
    if (digest, _without_name_time(file.mark)) in {(one.sha256, _without_name_time(one.mark)) for one in read}:
        return False
    return not read or read[-1].sha256 != digest


def _without_name_time(mark: tuple[int, ...]) -> tuple[int, ...]:
    """Return a mark without the time that renaming changes."""
    size, modified, _, inode = mark
    return size, modified, inode


def find_missing(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    holdings: Holdings,
    delivery: Delivery,
    arrived: date,
    today: Callable[[], date],
) -> Missing:
    """Compare a delivery with the rows before; fill `ended` with those that end by it, `answered` with those that stay.

    A row that another source holds has not ended, but is dropped: it ends as soon as no other one does. What was over
    before the list begins, and when it arrives, may be missing: it counts for nothing, and ends unasked once the
    business day has passed it too. A row of the list that is refused is not missing from it. Where a refused row tells
    no known key, nobody knows which row it is, and nothing ends.

    Args:
        connection: one that holds the table `staged`, and `broken` with lines that cannot be read, and sees `known`.
        table: table of the contract.
        holdings: what sources held before.
        delivery: what is compared.
        arrived: day of the arrival, UTC.
        today: returns the day that is under way for the business.
    """
    if delivery.is_first and _lacks_most(connection, table):
        return Missing()
    _fill_ended(connection, table, holdings, delivery)
    connection.execute(f"""
        update ended set is_there = true
        from staged where {joined_on_key(table, "staged", "ended")}
    """)
    connection.execute("create table dropped as from ended where not is_there and is_elsewhere")
    connection.execute("delete from ended where not is_there and is_elsewhere")
    _mark_over(connection, table, arrived, today)
    (at_stake,) = connection.sql("select count(*) from ended where not is_over and not is_before").fetchall()[0]
    connection.execute("delete from ended where is_there")
    key = ", ".join(f"missing.{quoted(name)}" for name in table.key)
    (ending,) = connection.sql("select count(*) from ended where not is_before").fetchall()[0]
    (strangers,) = connection.sql(f"""
        select (select count(*) from broken) + (
            select count(*) from staged where "·failed" is not null
                and not exists (
                    select 1 from known.current as earlier where {joined_on_key(table, "staged", "earlier")}
                )
        )
    """).fetchall()[0]
    count, code = connection.sql(f"""
        select count(*),
            left(sha256(coalesce(string_agg(concat_ws('|', {key}, batch_id), chr(10) order by {key}), '')), 8)
        from ended as missing where not is_over and not is_before
    """).fetchall()[0]
    examples = connection.sql(
        f"select {key} from ended as missing where not is_over and not is_before order by all limit {_MOST_SHOWN}"
    ).fetchall()
    named = "; ".join(", ".join("" if value is None else str(value) for value in example) for example in examples)
    found = _judged(table, delivery, count, at_stake, strangers, code, shown(named))
    ends = "not is_before" if found.is_end else "false"
    if not delivery.is_first:
        connection.execute(f"""
            create table answered as
            select {holdings.key}, false as is_dropped from ended where not ({ends})
            union all select {holdings.key}, {not strangers} from dropped
        """)
    connection.execute(f"delete from ended where not ({ends})")
    held = f"(select * from known.held where source_file = {literal(delivery.name)} and not is_dropped) as held"
    (more,) = connection.sql(f"""
        select (
            select count(*) from staged
            where {holdings.is_known}
                and not exists (select 1 from {held} where {joined_on_key(table, "staged", "held")})
        ) + (select count(*) from dropped inner join {held} on {joined_on_key(table, "dropped", "held")})
    """).fetchall()[0]
    notice = "; ".join(filter(None, [_kept_by_absent(connection, table, delivery), found.notice]))
    return replace(found, notice=notice, ended=ending if found.is_end else 0, is_more=bool(more))


def _kept_by_absent(connection: duckdb.DuckDBPyConnection, table: Table, delivery: Delivery) -> str:
    """Return a notice of the rows that a full list drops and that only files hold which lie there no more.

    Such a file may have been archived and still counts; or nobody sends it any more, and its rows stay for ever.
    """
    if delivery.kind == "unknown":
        return ""
    count, key = "count(*)", ", ".join(quoted(name) for name in table.key)
    ((rows, source),) = connection.sql(f"select {count}, min(absent) from dropped where absent is not null").fetchall()
    if not rows:
        return ""
    example = connection.sql(f"select {key} from dropped where absent is not null order by all limit 1").fetchall()[0]
    named = shown(", ".join("" if value is None else str(value) for value in example))
    return (
        f"{table.name}: {rows:,} rows that {shown(delivery.name)} lacks ({named}) still count, as {shown(source)} "
        f"brought them too, which does not lie there now: if it is not sent any more, "
        f"`inventorybot sources format {table.name}{_files_option(source)} --delivery changes`; "
        f"they then end by the next list that lacks them"
    )


def _lacks_most(connection: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Tell whether a file has too few rows to be a list of what all files brought, which is nothing to ask about."""
    at_stake, rows = connection.sql(f"""
        select (select count(*) from known.current as earlier where {_BY_FILES}), (select count(*) from staged)
    """).fetchall()[0]
    return bool(at_stake - rows > max(1, int(table.most_ended_share * at_stake)) and not table.closed_as)


def _fill_ended(connection: duckdb.DuckDBPyConnection, table: Table, holdings: Holdings, delivery: Delivery) -> None:
    """Fill `ended` with what counts of the rows that the source of a delivery held, and whether another one holds it.

    What a source held when a row ended is void. A declared list speaks from then on for what an undeclared file brought
    before it.
    """
    key = holdings.key
    sources = sources_relation(delivery.sources)
    connection.register("sources", sources)
    connection.execute(f"""
        create temp table holders as
        select {key}, max(read_at) filter (is_own) as own_at,
            max(read_at) filter (not is_own and not is_dropped and is_declared) as declared_at,
            max(read_at) filter (not is_own and not is_dropped and not is_declared) as undeclared_at,
            max(read_at) filter (not is_own and not is_dropped and is_declared and is_seen) as declared_seen,
            max(read_at) filter (not is_own and not is_dropped and not is_declared and is_seen) as undeclared_seen,
            arg_max(source_file, read_at) filter (not is_own and not is_dropped and not is_seen) as unseen
        from known.held inner join sources using (source_file)
        group by {key}
    """)
    connection.unregister("sources")
    closed = f"and earlier.status not in ({', '.join(map(literal, table.closed_as))})" if table.closed_as else ""
    own = _BY_FILES if delivery.is_first else "holders.own_at > coalesce(last_ends.batch_id, '')"
    taken_over = "holders.own_at" if delivery.kind == "declared" else "''"
    here = f"""(
                coalesce(holders.declared_{{0}} > coalesce(last_ends.batch_id, ''), false)
                or coalesce(holders.undeclared_{{0}} > greatest(coalesce(last_ends.batch_id, ''), {taken_over}), false)
            )"""
    coming = f"""exists (
                select 1 from known.coming as coming
                where coming.source_file <> {literal(delivery.name)} and {joined_on_key(table, "coming", "earlier")}
            )"""
    connection.execute(f"""
        create table ended as
        select earlier.*, false as is_there, false as is_over, false as is_before,
            {here.format("at")} or {coming} as is_elsewhere,
            case when not ({here.format("seen")} or {coming}) then holders.unseen end as absent
        from known.standing as earlier
        left join holders on {joined_on_key(table, "holders", "earlier")}
        left join known.last_ends as last_ends on {joined_on_key(table, "last_ends", "earlier")}
        where {own} {closed}
    """)
    if delivery.is_first:
        connection.execute("update ended set is_elsewhere = false")


def _mark_over(connection: duckdb.DuckDBPyConnection, table: Table, arrived: date, today: Callable[[], date]) -> None:
    """Mark rows that were over before the list begins: `is_over` where the business day has passed them.

    Movements come days after the lists that go with them. What a list leaves out that is over when it arrives is
    `is_before` until the business day has come so far.
    """
    if not table.over_by:
        return
    last_day = quoted(table.over_by)
    before = f"not is_there and {last_day} < least((select min({last_day}) from staged), {_day(arrived)})"
    if connection.sql(f"select 1 from ended where {before} limit 1").fetchall():
        day = today()
        connection.execute(f"update ended set is_over = true where {before} and {last_day} < {_day(day)}")
        if arrived - day <= timedelta(days=_MOST_DAYS_BEHIND):
            connection.execute(f"update ended set is_before = true where {before} and {last_day} >= {_day(day)}")


def _day(day: date) -> str:
    return f"date {literal(day.isoformat())}"


def _judged(
    table: Table, delivery: Delivery, count: int, at_stake: int, strangers: int, code: str, named: str
) -> Missing:
    if not count:
        return Missing(is_end=delivery.kind != "unknown")
    lacks = f"{table.name}: {shown(delivery.name)} lacks {count:,} of {at_stake:,} rows ({named})"
    few = count <= max(1, int(table.most_ended_share * at_stake)) and count < at_stake
    is_list = delivery.kind == "declared" or (delivery.kind == "again" and few and at_stake >= _FEWEST_UNDECLARED)
    command = f"`inventorybot sources format {table.name}"
    files = _files_option(delivery.name)
    of_these = files if delivery.is_one_of_several else ""
    if not is_list:
        # A file that lacks most is one of changes; where it nearly holds all, it may be meant as a list. Of a few rows,
        # a correction sent alone lacks no more than a list does.
        return Missing(
            notice=f"{lacks}, which still count: say once whether such files are full lists, {command}{of_these} "
            f"--delivery full`, or bring changes, {command}{of_these} --delivery changes` (--files takes a pattern of "
            "the files of which each replaces the one before)"
            if few or delivery.kind == "again"
            else "",
            asks=few or delivery.kind == "again",
        )
    if strangers:
        return Missing(
            notice=f"{lacks}, which still count: {strangers:,} rows of it are refused and tell no known key; correct "
            "them and send the list again"
        )
    if few or code in delivery.accepts:
        return Missing(
            is_end=True, notice=f"{table.name}: {count:,} rows ended, {shown(delivery.name)} lacks them ({named})"
        )
    changes = (
        f"write `delivers: changes` for {delivery.name[4:]} in sources.yml"
        if delivery.name.startswith("sql:")
        else f"{command}{files} --delivery changes`"
    )
    return Missing(
        held=f"{lacks}, more than {table.most_ended_share:.0%} of a full list, so the list before stays: send the "
        f"whole list again; if these rows have ended, {command} --accept {code}`; if it brings changes only, {changes}"
    )


def _files_option(name: str) -> str:
    """Return the option with which a remedy means the files of one name and no others."""
    return f" --files {shlex.quote(escape(shown(name)))}"


def write_ended(connection: duckdb.DuckDBPyConnection, table: Table, path: Path, manifest: Manifest) -> None:
    """Write the rows that end by a batch, as they last were."""
    names = ", ".join(quoted(column) for column in table.column_names)
    lineage = dict(LINEAGE_COLUMNS)
    connection.execute(f"""
        copy (
            select {names}, {literal(manifest.batch_id)}::{lineage["batch_id"]} as batch_id,
                {literal(manifest.ingested_at)}::timestamptz as ingested_at,
                {literal(manifest.files[0].name)} as source_file, 0::{lineage["source_row"]} as source_row,
                true as is_ended
            from ended
        ) to {literal(str(path))} (format parquet, compression zstd)
    """)
