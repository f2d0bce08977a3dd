"""Files of one table on their way into the validator: hashed, looked into, staged, each on its own.

Belongs here: what is done to each file, so that whatever is wrong with it rejects that file by name and the others go
on. Does not: which files are new and what becomes of them (batches).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path

from orchestration.ingest.contract import Table
from orchestration.ingest.csv_text import CsvText, check_start, readable_text
from orchestration.ingest.errors import FileRejected
from orchestration.ingest.files import Landing, LandingFile, opened
from orchestration.ingest.formats import Format, format_of
from orchestration.ingest.inspection import Inspected, inspect_files, plain_name
from orchestration.ingest.landing import LandingPlace
from orchestration.ingest.layouts import Layout, csv_layout, parquet_layout
from orchestration.ingest.limits import Allowance, FileRules
from orchestration.ingest.manifests import Counts, FileOutcome
from orchestration.ingest.names import natural_order, shown
from orchestration.ingest.staging import Stage, Staged
from orchestration.ingest.validator import RowValidator

_FIRST_BYTES = 1 << 16
_CHUNK = 1 << 20
_MINUTE = 60_000_000_000
_SMALL = 1 << 17
_MOST_AT_ONCE = 500


@dataclass
class Intake:
    """What one call of `ingest_table` does to files.

    Attributes:
        table: table of the contract.
        landing: where files arrive.
        fetched: folder for files that lie elsewhere.
        rules: how files are treated.
    """

    table: Table
    landing: LandingPlace
    fetched: Path
    rules: FileRules
    _inspected: dict[LandingFile, Inspected | FileRejected] = field(default_factory=dict)

    def local(self, file: LandingFile) -> LandingFile:
        """Return a file as it lies on this machine."""
        return self.landing.local(file, self.fetched)

    def _readable(self, file: LandingFile) -> Path:
        """Return a path that DuckDB reads as the name of one file: it takes a backslash for a separator of folders."""
        path = self.local(file).path
        if "\\" not in file.name:
            return path
        link = self.fetched / f"{hashlib.sha256(file.name.encode()).hexdigest()}.link"
        self.fetched.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path.absolute())
        return link

    def allowance(self, file: LandingFile) -> Allowance:
        """Return what reading a file may cost, from now on."""
        return Allowance(file.place, self.rules.limits)

    def hashed(
        self, looked: Landing, known: Mapping[tuple[int, ...], str]
    ) -> tuple[dict[LandingFile, str], list[FileOutcome]]:
        """Return the hash of each file that can be opened, in their order, and what became of the others.

        Args:
            looked: what lies in the folder of the table.
            known: hash of each file that earlier batches read, by its mark.
        """
        hashes: dict[LandingFile, str] = {}
        refused = [_refused(file, reason) for file, reason in looked.refused]
        for file in looked.files:
            try:
                hashes[file] = known.get(file.mark) or self._hash(file)
            except FileRejected as error:
                refused.append(_refused(file, str(error)))
        return hashes, refused

    def _hash(self, file: LandingFile) -> str:
        allowance = self.allowance(file)
        allowance.check_bytes(file.size, file.size)
        digest = hashlib.sha256()
        with opened(self.local(file), follow_links=self.rules.limits.follow_links) as stream:
            chunk = stream.read(_FIRST_BYTES)
            check_start(file, chunk)
            while chunk:
                digest.update(chunk)
                allowance.check_time()
                chunk = stream.read(_CHUNK)
        return digest.hexdigest()

    def capped(self, batches: list[list[LandingFile]]) -> tuple[list[list[LandingFile]], list[str]]:
        """Return the batches that this run makes, and notices of what waits and of an order that may be wrong."""
        files = [file for batch in batches for file in batch]
        notices = []
        if len(files) > self.rules.limits.files and self.table.arrival != "snapshot":
            kept = set(files[: self.rules.limits.files])
            batches = [[file for file in batch if file in kept] for batch in batches]
            batches = [batch for batch in batches if batch]
            notices.append(
                f"{self.table.name}: {len(files) - len(kept):,} more new files wait for the next run, which reads "
                f"{self.rules.limits.files:,} at most (INVENTORYBOT_FILES_A_RUN): join small files into larger ones"
            )
        if self.table.arrival == "versions":
            notices += self._order_notices(files)
        return batches, notices

    def _order_notices(self, files: Sequence[LandingFile]) -> list[str]:
        """Say where files were written in another order than their names have, in which their versions count."""
        by_name = sorted(files, key=lambda file: natural_order(file.name))
        for earlier, later in pairwise(by_name):
            if earlier.mark[1] - later.mark[1] > _MINUTE:
                return [
                    f"{later.place} counts as later than {shown(earlier.name)}, as its name says, though it was "
                    "written earlier: name files so that later ones sort last, as in 2024-05-31"
                ]
        return []

    def look_into(self, files: Sequence[LandingFile]) -> None:
        """Look into the Parquet files among some, in a process of their own."""
        parquet = [file for file in files if file.name.lower().endswith(".parquet") and file.size]
        paths = [self._readable(file) for file in parquet]
        wanted = [plain_name(name) for name in self.table.column_names]
        found = inspect_files(paths, wanted, [self.allowance(file) for file in parquet])
        self._inspected.update(zip(parquet, found, strict=True))

    def staging(self, files: Sequence[LandingFile], hashes: Mapping[LandingFile, str]) -> Stage:
        """Return what stages files."""

        def stage(validator: RowValidator, work: Path) -> tuple[list[Staged], list[FileOutcome]]:
            readable: list[_Readable] = []
            staged: list[Staged] = []
            rejected: list[FileOutcome] = []
            for number, file in enumerate(files):
                known = Staged(file.name, hashes[file], file.size, file.mark, file=file)
                try:
                    readable.append(self._read(work, file, known, number))
                except FileRejected as error:
                    rejected.append(_rejected(known, error))
            for some in _alike(readable):
                if len(some) > 1 and self._add_alike(validator, some):
                    staged += [each.known for each in some]
                    continue
                for each in some:
                    try:
                        self._add(validator, each)
                        staged.append(each.known)
                    except FileRejected as error:
                        rejected.append(_rejected(each.known, error))
            return staged, rejected

        return stage

    def _read(self, work: Path, file: LandingFile, known: Staged, number: int) -> "_Readable":
        """Return a file as it is read, before its rows are.

        Raises:
            FileRejected: it cannot be read, or a column is missing.
        """
        given, allowance = format_of(self.rules.formats, self.table.name, file.name), self.allowance(file)
        path = self._readable(file)
        if not file.name.lower().endswith(".parquet"):
            text = readable_text(file, path, work, allowance, number=number)
            return _Readable(known, file, csv_layout(file, text, self.table), given, path, text)
        if not file.size:
            raise FileRejected(f"{file.place} is empty: export it again")
        inspected = self._inspected[file]
        if isinstance(inspected, FileRejected):
            raise inspected
        return _Readable(known, file, parquet_layout(file, self.table, inspected), given, path)

    def _add(self, validator: RowValidator, readable: "_Readable") -> None:
        file, layout, given = readable.file, readable.layout, readable.given
        allowance = self.allowance(file)
        if readable.text is None:
            validator.add_parquet(file.name, readable.path, layout, given, allowance)
            made = given
        else:
            made = validator.add_csv(file.name, readable.text, layout, given, allowance)
        self._note(readable, made, validator.emptied(), validator.local_times())

    def _add_alike(self, validator: RowValidator, some: "Sequence[_Readable]") -> bool:
        """Add small files of one layout at once; tell whether that was possible."""
        first = some[0]
        texts = [(readable.file.name, readable.text) for readable in some if readable.text is not None]
        if not validator.add_alike(texts, first.layout, first.given, self.allowance(first.file)):
            return False
        local_times = validator.local_times()
        for readable in some:
            self._note(readable, readable.given, (), local_times)
        return True

    def _note(
        self, readable: "_Readable", made: Format, emptied: Sequence[str], local_times: Mapping[str, str]
    ) -> None:
        """Remember how a file was read, and what there is to say of it."""
        file, layout, given, known = readable.file, readable.layout, readable.given, readable.known
        notices = [*layout.notices, *emptied]
        if made.decimal == "comma" and given.decimal is None:
            notices.append(f"{file.place}: a comma was read as the decimal point")
        if given.time_zone is None and (example := local_times.get(file.name)):
            notices.append(
                f"{file.place}: times without an offset, such as {shown(example)}, were read as UTC; if they are "
                f"local, say so once: `inventorybot sources format {self.table.name} --time-zone Europe/Berlin`"
            )
        known.notices = tuple(notices)
        known.columns, known.delimiter = layout.columns, layout.delimiter
        known.decimal, known.time_zone = made.decimal or "", made.time_zone or ""


@dataclass(frozen=True)
class _Readable:
    """A file whose columns are found and whose rows are still to be read; `text` is None for Parquet."""

    known: Staged
    file: LandingFile
    layout: Layout
    given: Format
    path: Path
    text: CsvText | None = None

    @property
    def is_small(self) -> bool:
        return self.text is not None and self.text.path.stat().st_size <= _SMALL


def _alike(readable: Sequence[_Readable]) -> list[list[_Readable]]:
    """Return runs of small files that are read alike, in their order; a large file is by itself."""

    def shape(numbered: tuple[int, _Readable]) -> tuple[object, ...]:
        number, each = numbered
        if not each.is_small:
            return (number,)
        layout, given = each.layout, each.given
        return (
            number // _MOST_AT_ONCE,
            layout.columns,
            layout.delimiter,
            layout.header_line,
            given.decimal,
            given.time_zone,
        )

    return [[each for _, each in some] for _, some in groupby(enumerate(readable), key=shape)]


def distinct(files: Sequence[LandingFile], hashes: Mapping[LandingFile, str]) -> list[LandingFile]:
    """Return files without those whose content an earlier one has."""
    return list({hashes[file]: file for file in reversed(files)}.values())[::-1]


def _rejected(known: Staged, error: FileRejected) -> FileOutcome:
    assert known.file is not None
    return _refused(known.file, str(error), known.sha256, is_tried_again=error.may_pass)


def _refused(file: LandingFile, reason: str, sha256: str = "", *, is_tried_again: bool = True) -> FileOutcome:
    return FileOutcome(
        file.name, sha256, file.size, file.mark, "rejected", reason, Counts(), is_tried_again=is_tried_again
    )
