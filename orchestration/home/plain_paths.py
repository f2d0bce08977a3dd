"""Paths for tools that read a path as a URL, in which signs such as % and # mean something.

Belongs here: the links that stand for such folders. Does not: quoting paths in SQL (sql_text).
"""

import errno
import hashlib
import os
import tempfile
from pathlib import Path


def plain_address(folder: Path) -> Path:
    """Return a folder under a path that tools which read paths as URLs understand: itself, or a link to it.

    Raises:
        ValueError: the link cannot be made; the message says what to do.
    """
    if not set(str(folder)) & set("%#"):
        return folder
    links = Path(tempfile.gettempdir()) / f"inventorybot-{os.getuid()}"
    link = links / hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    try:
        links.mkdir(mode=0o700, exist_ok=True)
        if links.is_symlink() or links.stat().st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "it belongs to somebody else")
        if not link.is_symlink():
            link.symlink_to(folder)
    except OSError as error:
        raise ValueError(
            f"{str(folder)!r} has a sign such as % in its path, and the link {link} that stands for it "
            f"cannot be made ({error.strerror}): rename the folder, or let TMPDIR name a folder that you may write"
        ) from error
    return link
