"""Fingerprints of code and data: they decide whether anything has to be done again."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version

from orchestration.home.settings import PROJECT_FOLDER

_SOURCE_ENDINGS = {".py", ".sql", ".yml", ".json"}
_LEFT_OUT = {"target", "logs", "__pycache__"}


def code_fingerprint(*places: str) -> str:
    """Return a hash over the source files of folders or files of the project, such as `ml` or `ml/panel.py`.

    Raises:
        FileNotFoundError: the project has no such folder or file.
    """
    digest = hashlib.sha256()
    for place in places:
        root = PROJECT_FOLDER / place
        if not root.exists():
            raise FileNotFoundError(f"{root} belongs to a fingerprint and does not exist: correct its name")
        for path in sorted(root.rglob("*") if root.is_dir() else [root]):
            if path.suffix in _SOURCE_ENDINGS and not _LEFT_OUT & set(path.parts):
                digest.update(f"{path.relative_to(PROJECT_FOLDER)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def code_version() -> str:
    """Return the version of the code that makes the published tables: package version and fingerprint."""
    return f"{version('inventorybot')}+{code_fingerprint('orchestration', 'ml', 'dbt_project')}"


def library_fingerprint(names: Iterable[str]) -> str:
    """Return the installed versions of libraries, as in `numpy 2.4.0, xgboost 3.2.0`."""
    return ", ".join(f"{name} {version(name)}" for name in names)


def text_fingerprint(*texts: object) -> str:
    """Return a hash over the texts of several values."""
    return hashlib.sha256("\0".join(str(text) for text in texts).encode()).hexdigest()[:16]
