"""Published generations: which one is current, which are still kept, which days stand beside it, and their tables.

Here: following the links, opening the resolved file, the manifest. Not here: which tables the endpoint shows
(tables.py), publishing, which happens elsewhere.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

LINK = "current.duckdb"
BESIDE = "as_of"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class NothingPublishedError(Exception):
    """There is no generation to read."""


class GenerationRemovedError(Exception):
    """The generation is no longer kept."""


class DayNotPublishedError(Exception):
    """No generation is of the business day."""


@dataclass(frozen=True)
class Generation:
    """One published generation.

    Attributes:
        name: its name in the manifest.
        file: the immutable database.
        manifest: as-of, ledger sequence, model versions, code version, rows and hash of each table.
    """

    name: str
    file: Path
    manifest: Mapping[str, Any]

    @property
    def as_of(self) -> str:
        """Last complete local day in the data, ISO date."""
        return str(self.manifest["as_of"])

    @property
    def knowledge(self) -> str | None:
        """What a day that was looked back at was decided with; None = what that day knew: it was current."""
        return self.manifest.get("knowledge")

    @property
    def models(self) -> Mapping[str, Mapping[str, str]]:
        """Pinned model versions: name → version, run_id, folder_sha256."""
        pins: Mapping[str, Mapping[str, str]] = self.manifest["models"]
        return pins


class Generations:
    """The generations in one folder, safe for use from many threads.

    A database is opened once per generation, by its resolved path: DuckDB answers a second connection to one path
    from the first file it opened there, so following the link by its own name would show an old generation for ever.
    """

    def __init__(self, published: Path) -> None:
        """Take the folder; it may be empty or missing until the first run has published.

        Args:
            published: folder with `wh_<generation>.duckdb`, `wh_<generation>.json`, `facts/` and the link, and with the
                same in `as_of/<day>/` for each day that was looked back at.
        """
        self.published = published
        self._lock = threading.Lock()
        self._open: dict[Path, tuple[Generation, duckdb.DuckDBPyConnection]] = {}

    def current(self) -> Generation:
        """Return the generation the link names now.

        Raises:
            NothingPublishedError: no link, a link to nothing, or a manifest that cannot be read; with the remedy.
        """
        found = self._linked(self.published)
        if found is None:
            raise NothingPublishedError(
                f"nothing is published in {self.published}: run `inventorybot run`, which publishes at its end"
            )
        return found

    def of_day(self, day: date) -> Generation:
        """Return the generation of a business day: the current one, or the look back at that day beside it.

        Raises:
            DayNotPublishedError: none is of that day; with the days that are there and the remedy.
            NothingPublishedError: as of `current`.
        """
        current = self.current()
        found = current if current.as_of == day.isoformat() else self._linked(self.published / BESIDE / day.isoformat())
        if found is None:
            days = ", ".join([f"{current.as_of} (current)", *(generation.as_of for generation in self.beside())])
            raise DayNotPublishedError(
                f"nothing is published of {day}; there are {days}. `inventorybot run --as-of {day}` publishes a past "
                "day beside the current one"
            )
        return found

    def beside(self) -> list[Generation]:
        """Return the days that were looked back at and stand beside the current generation, the latest first."""
        folders = sorted((self.published / BESIDE).glob("*-*-*"), reverse=True)
        return [generation for folder in folders if (generation := self._linked(folder)) is not None]

    def kept(self, name: str) -> Generation:
        """Return a generation by name.

        Raises:
            GenerationRemovedError: it is not in the folder any more.
        """
        folder = self.published.resolve()
        if _NAME.fullmatch(name):
            for file in (folder / f"wh_{name}.duckdb", *folder.glob(f"{BESIDE}/*/wh_{name}.duckdb")):
                if file.is_file():
                    try:
                        return self._opened(file)[0]
                    except FileNotFoundError:
                        pass
        raise GenerationRemovedError("the generation of this cursor is no longer kept; ask again without cursor")

    @contextmanager
    def cursor(self, generation: Generation) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor of one's own on a generation; two threads must not share one.

        Raises:
            GenerationRemovedError: the generation was removed while it was being read.
            NothingPublishedError: its file cannot be read although it is there.
        """
        try:
            with self._opened(generation.file)[1].cursor() as cursor:
                yield cursor
        except (FileNotFoundError, duckdb.IOException) as error:
            if not generation.file.exists():
                raise GenerationRemovedError(
                    "the generation was removed while it was being read; ask again without cursor"
                ) from error
            raise NothingPublishedError(
                f"generation {generation.name} is damaged: {generation.file} or a file it refers to cannot be read; "
                "publish again, or restore the folder from a backup"
            ) from error

    def close(self) -> None:
        """Close every open database."""
        with self._lock:
            for _, connection in self._open.values():
                connection.close()
            self._open.clear()

    def _linked(self, folder: Path) -> Generation | None:
        # A publication between reading the link and opening the file may remove the file the link named.
        for _ in range(3):
            try:
                return self._opened((folder / LINK).resolve(strict=True))[0]
            except FileNotFoundError:
                continue
        return None

    def _opened(self, file: Path) -> tuple[Generation, duckdb.DuckDBPyConnection]:
        with self._lock:
            if file not in self._open:
                for gone in [path for path in self._open if not path.exists()]:
                    self._open.pop(gone)[1].close()
                self._open[file] = (self._described(file), self._connected(file))
            return self._open[file]

    def _described(self, file: Path) -> Generation:
        manifest_file = file.with_suffix(".json")
        if not file.is_file():
            raise FileNotFoundError(file)
        try:
            manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
            generation = Generation(str(manifest["generation"]), file, manifest)
            if not generation.as_of or not isinstance(generation.models, Mapping):
                raise TypeError("as_of or models")
        except FileNotFoundError:
            if file.is_file():
                raise self._unreadable(manifest_file, "it is missing") from None
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable(manifest_file, f"{type(error).__name__}: {error}") from error
        return generation

    def _unreadable(self, manifest_file: Path, cause: str) -> NothingPublishedError:
        return NothingPublishedError(
            f"manifest {manifest_file} cannot be read ({cause}): publish again, or restore the folder from a backup"
        )

    def _connected(self, file: Path) -> duckdb.DuckDBPyConnection:
        try:
            connection = duckdb.connect(str(file), read_only=True)
        except duckdb.IOException as error:
            raise self._unreadable(file, "it is not a DuckDB database") from error
        # Connections of one process to one file share their settings, and these can be made only once.
        is_open = connection.execute("select current_setting('enable_external_access')").fetchall()[0][0]
        if is_open:
            # Large facts are views over Parquet files in this folder; no other file has any business here.
            here = (self.published.absolute(), self.published.resolve())
            folders = [f"{folder}/".replace("'", "''") for folder in here]
            connection.execute(f"set allowed_directories = ['{folders[0]}', '{folders[1]}']")
            connection.execute("set global TimeZone = 'UTC'")
            connection.execute("set enable_external_access = false")
            connection.execute("set lock_configuration = true")
        return connection
