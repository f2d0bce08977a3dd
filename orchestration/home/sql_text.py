"""Names, values and paths as they stand in SQL: the one place where they are quoted.

Belongs here: what makes a text safe within a statement. Does not: what the statements ask.
"""

from pathlib import Path

_WILD = "*?["


def quoted(name: str) -> str:
    """Return a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Return a SQL literal of text, a number, a truth value or null; of a path, the file to write to."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def path_literal(path: Path, pattern: str = "") -> str:
    """Return the SQL literal of a path to read: DuckDB takes signs such as [ and * for a pattern unless quoted.

    Args:
        path: a file; with `pattern`, the folder in which it is looked for.
        pattern: names within the folder, as in `*/accepted.parquet`.
    """
    plain = "".join(f"[{sign}]" if sign in _WILD else sign for sign in str(path))
    return literal(f"{plain}/{pattern}" if pattern else plain)
