"""Files of the landing folder: what lies there, what may be opened, and whether it has changed.

Belongs here: the one way in which files of the landing folder are listed and opened. Does not: what is in them
(csv_text, layouts), what becomes of them (batches). The landing folder is never written to.
"""

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orchestration.ingest.errors import FileRejected
from orchestration.ingest.names import shown, sorted_by_name


@dataclass(frozen=True)
class LandingFile:
    """A file that lies in the landing folder of a table.

    Attributes:
        table: raw table.
        name: name within the folder of the table, as in `2024/05.csv` where it lies in a folder below.
        path: where it lies; of an object of S3 that has not been fetched, `<table>/<name>`.
        size: bytes.
        mark: size, times of change and inode: equal marks mean that nobody has written to it in between.
        version: entity tag of an object of S3; empty otherwise.
    """

    table: str
    name: str
    path: Path
    size: int
    mark: tuple[int, ...]
    version: str = ""

    @property
    def place(self) -> str:
        """Table and name as messages show them."""
        return f"{self.table}/{shown(self.name)}"


@dataclass(frozen=True)
class Landing:
    """What lies in the landing folder of a table.

    Attributes:
        files: files to look at, in the order in which they count.
        waiting: names of files that are still being written.
        notices: what an operator should know.
        refused: files that may not be opened, each with the reason.
    """

    files: tuple[LandingFile, ...]
    waiting: tuple[str, ...]
    notices: tuple[str, ...]
    refused: tuple[tuple[LandingFile, str], ...] = ()


def look(folder: Path, *, settle_seconds: float = 1.0, follow_links: bool = False) -> Landing:
    """List the files of a table's landing folder, those of folders below it included.

    A file with the name of an unfinished download, or one that changes while it is looked at, is left for the next
    time. A file changed within the last `settle_seconds` is looked at twice, that long apart. What is no regular file
    is refused by name, and so is a link unless links are followed.
    """
    table = folder.name
    if folder.is_symlink() and not follow_links:
        notice = (
            f"{table} is a link and was not followed: {_LINK_REMEDY.format(what='the files themselves', it='them')}"
        )
        return Landing((), (), (notice,))
    if not folder.is_dir():
        return Landing((), (), ())
    names = sorted_by_name(table, _names_below(folder, follow_links=follow_links))
    found, refused = [], []
    for name in names.found:
        file, objection = _looked_at(folder, name, follow_links=follow_links)
        if objection:
            refused.append((file, f"{file.place} {objection}"))
        else:
            found.append(file)
    now = time.time_ns()
    window = int(settle_seconds * 1e9)
    fresh = [file for file in found if 0 <= now - file.mark[1] < window]
    if fresh:
        time.sleep(settle_seconds)
    steady = [file for file in found if file not in fresh or is_unchanged(file)]
    waiting = [*names.waiting, *(file.name for file in found if file not in steady)]
    return Landing(tuple(steady), tuple(sorted(waiting)), names.notices, tuple(refused))


def _names_below(folder: Path, below: str = "", *, follow_links: bool) -> Iterator[str]:
    with os.scandir(folder / below) as entries:
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.is_dir(follow_symlinks=follow_links):
                yield from _names_below(folder, name, follow_links=follow_links)
            else:
                yield name


def _looked_at(folder: Path, name: str, *, follow_links: bool) -> tuple[LandingFile, str | None]:
    """Return a file, and why it may not be opened."""
    path = folder / name
    nothing = LandingFile(folder.name, name, path, 0, ())
    try:
        name.encode()
    except UnicodeEncodeError:
        return nothing, "has a name that is not UTF-8 and was not read: rename it"
    try:
        facts = path.stat() if follow_links else path.lstat()
    except OSError as error:
        if path.is_symlink():
            return nothing, f"is a link that leads nowhere ({error.strerror}): remove it"
        return nothing, f"cannot be read ({error.strerror}): make it readable, or remove it"
    if stat.S_ISLNK(facts.st_mode):
        return nothing, f"is a link and was not followed: {_LINK_REMEDY.format(what='the file itself', it='it')}"
    if not stat.S_ISREG(facts.st_mode):
        return nothing, "is no regular file (a pipe, a socket or a device) and was not read: remove it"
    return _marked(nothing, facts), None


_LINK_REMEDY = "put {what} there, or set INVENTORYBOT_FOLLOW_LINKS=1 if whoever fills the folder may choose {it} freely"


def stat_file(path: Path, table: str = "") -> LandingFile:
    """Return a file of our own with its mark."""
    return _marked(LandingFile(table or path.parent.name, path.name, path, 0, ()), path.stat())


def _marked(file: LandingFile, facts: os.stat_result) -> LandingFile:
    mark = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
    return LandingFile(file.table, file.name, file.path, facts.st_size, mark, file.version)


def is_unchanged(file: LandingFile) -> bool:
    """Tell whether nobody has written to a file, or put another one in its place, since it was listed."""
    try:
        return _marked(file, file.path.stat()).mark == file.mark
    except OSError:
        return False


@contextmanager
def opened(file: LandingFile, *, follow_links: bool = False) -> Iterator[BinaryIO]:
    """Open a file for reading, and never wait for one that is no regular file.

    Raises:
        FileRejected: it cannot be opened, or is not what was listed any more.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    try:
        handle = os.open(file.path, flags)
    except OSError as error:
        raise FileRejected(
            f"{file.place} cannot be read ({error.strerror}): make it readable, or remove it", may_pass=True
        ) from error
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise FileRejected(f"{file.place} is no regular file: remove it", may_pass=True)
        yield stream


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file of our own, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make what was written to a file, or to a folder's list of names, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
