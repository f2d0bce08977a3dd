"""Names of files: which are read, in which order they count, and how foreign text is shown.

Belongs here: names alone. Does not: what lies under them (files, landing).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

ENDINGS = (".csv", ".csv.gz", ".parquet")
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp", "~")
_NO_DATA = (".template", ".md", ".crc", ".gitkeep", ".keep")
_NO_DATA_NAMES = re.compile(r"readme|license|notice|thumbs|desktop")
_PHOTOS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")
_NUMBER = re.compile(r"(\d+)")
_MOST_NAMED = 3


@dataclass(frozen=True)
class SortedNames:
    """Names of a table's folder, by what becomes of them.

    Attributes:
        found: names to read, in the order in which they count.
        waiting: names of files that are still being written.
        notices: what an operator should know of the others.
    """

    found: tuple[str, ...]
    waiting: tuple[str, ...]
    notices: tuple[str, ...]


def sorted_by_name(table: str, names: Iterable[str]) -> SortedNames:
    """Return the names to read, those of files that are still being written, and a notice of each kind of the others.

    Args:
        table: raw table.
        names: names within the folder of the table, those of files in folders below it as in `2024/05.csv`.
    """
    found, waiting, hidden, strangers = [], [], [], []
    for name in sorted(names, key=natural_order):
        plain = PurePosixPath(name).name.lower()
        if plain.endswith(_UNFINISHED):
            waiting.append(name)
        elif any(part.startswith((".", "_")) for part in PurePosixPath(name).parts):
            if plain.endswith(ENDINGS):
                hidden.append(name)
        elif plain.endswith(ENDINGS):
            found.append(name)
        elif plain.endswith(_NO_DATA) or _NO_DATA_NAMES.fullmatch(plain.split(".")[0]):
            continue
        elif not (table == "product_photos" and plain.endswith(_PHOTOS)):
            strangers.append(name)
    notices = []
    if hidden:
        notices.append(
            f"{_named(table, hidden)}: a file or folder whose name begins with . or _ is taken for one that a program "
            "keeps for itself and was not read: rename it without that sign"
        )
    for name in strangers[:_MOST_NAMED]:
        stem = shown(PurePosixPath(name).name.split(".")[0])
        notices.append(
            f"{table}/{shown(name)} is neither CSV nor Parquet and was not read: save it as {stem}.csv or "
            f"{stem}.parquet"
        )
    if strangers[_MOST_NAMED:]:
        notices.append(f"{table}: {len(strangers) - _MOST_NAMED} more files are neither CSV nor Parquet")
    return SortedNames(tuple(found), tuple(waiting), tuple(notices))


def natural_order(name: str) -> tuple[tuple[tuple[int, int, str], ...], str, str]:
    """Return a key that sorts names as people number them: `products_2.csv` before `products_10.csv`.

    A name comes before the same name with something behind it; of equal ones the ending decides.
    """
    ending = next((known for known in ENDINGS if name.lower().endswith(known)), "")
    return tuple(_pieces(name[: len(name) - len(ending)])), ending, name


def _pieces(text: str) -> Iterator[tuple[int, int, str]]:
    for position, piece in enumerate(_NUMBER.split(text.casefold())):
        if position % 2:
            yield (1, int(piece), "")
        elif piece:
            yield (2, 0, piece)


def shown(text: str) -> str:
    """Return foreign text so that it can be printed: a line break or a control character is written as its code."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _named(table: str, names: Sequence[str]) -> str:
    listed = ", ".join(f"{table}/{shown(name)}" for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{listed} and {more} more" if more > 0 else listed
