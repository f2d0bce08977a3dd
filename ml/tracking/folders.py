"""Folders of saved models: which files they may hold, and the hash by which a gate knows them again.

Here: both rules. Not here: where folders are stored (`ml.tracking.registry`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

SAVED_MODEL = "saved_model"
SAFE_FORMATS = frozenset({".json", ".keras", ".npz", ".ubj"})
# MLflow notes name and version beside a model that it hands out under models:/, and reads nothing else from there.
LEFT_BY_READERS = frozenset({"registered_model_meta"})


class FolderHashError(ValueError):
    """A registered folder is not the one the gate judged."""


def folder_sha256(folder: Path) -> str:
    """Return the hash of a folder: names and contents of its files, whatever their dates and owners.

    It is the SHA-256 of one line `<SHA-256 of the file> <path from the folder>` per file, sorted by path. What readers
    leave behind is left out: `__pycache__`, which Python writes beside a model's code when somebody loads the model in
    place, and `registered_model_meta` at the top, which MLflow writes when somebody loads it as models:/<name>@<alias>.

    Args:
        folder: an existing folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder holds a symbolic link, whose target the hash could not vouch for.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; restore it, or train and promote another version")
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        relative = path.relative_to(folder)
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link; a model folder holds plain files only")
        if path.is_file() and "__pycache__" not in relative.parts and relative.as_posix() not in LEFT_BY_READERS:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{content} {relative.as_posix()}\n".encode())
    return digest.hexdigest()


def check_formats(folder: Path) -> None:
    """Refuse a saved model with files that could run code when they are read.

    Raises:
        ValueError: naming the files, or that there are none.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; save the model first")
    files = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    refused = [
        path.relative_to(folder).as_posix() for path in files if path.suffix not in SAFE_FORMATS or path.is_symlink()
    ]
    if refused or not files:
        raise ValueError(
            f"{folder} holds {refused or 'nothing'}; a registered model consists of {', '.join(sorted(SAFE_FORMATS))} "
            "files only, because they load without pickle"
        )
