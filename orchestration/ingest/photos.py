"""Photos at the shelf: does the file exist, is it an image of bearable size, and is it the one that was meant.

Belongs here: looking at files by their header. Does not: recognising what a photo shows (ml/images/recogniser.py).
"""

import hashlib
import io
import warnings
from collections.abc import Iterable

import pyarrow as pa

from orchestration.ingest.landing import LandingPlace

MOST_BYTES = 50_000_000
MOST_PIXELS = 50_000_000


def check_photos(landing: LandingPlace, photos: Iterable[tuple[str, str | None]]) -> pa.Table:
    """Check the files that rows of product_photos name.

    Args:
        landing: where the paths begin.
        photos: path and, where given, SHA-256 of each photo.

    Returns:
        value (path), sha256 (of the file; null where it could not be read), rule and reason (null where all is well).
    """
    found = [(path, *_check(landing, path, expected)) for path, expected in sorted(photos, key=str)]
    columns = list(zip(*found, strict=True)) if found else [(), (), (), ()]
    names = ("value", "sha256", "rule", "reason")
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)})


def _check(landing: LandingPlace, name: str, expected: str | None) -> tuple[str | None, str | None, str | None]:
    from PIL import Image, UnidentifiedImageError

    if not landing.holds(name):
        return None, "photo_outside_landing", f"photo_path is {name}: it leads out of the landing folder"
    size = landing.size_of(name)
    if size is None:
        return None, "photo_missing", f"photo_path is {name}: there is no such file in the landing folder; send it too"
    if size > MOST_BYTES:
        reason = f"photo_path is {name}: {size:,} bytes, at most {MOST_BYTES:,} are read; make it smaller"
        return None, "photo_too_large", reason
    content = landing.read(name)
    try:
        with warnings.catch_warnings():
            # Pillow warns of the many pixels that are refused below, with a better message.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        reason = f"photo_path is {name}: more than {MOST_PIXELS:,} pixels; make it smaller"
        return None, "photo_too_large", reason
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        start = content[:8].hex(" ") or "nothing"
        return (
            None,
            "photo_not_an_image",
            f"photo_path is {name}: no image, the file begins with {start}; send a JPEG or PNG",
        )
    if width * height > MOST_PIXELS:
        reason = f"photo_path is {name}: {width} × {height} pixels, at most {MOST_PIXELS:,} are read; make it smaller"
        return None, "photo_too_large", reason
    digest = hashlib.sha256(content).hexdigest()
    if expected is not None and expected != digest:
        reason = f"sha256 is {expected}, that of {name} is {digest}: the photo is damaged or another one; send it again"
        return None, "photo_hash_differs", reason
    return digest, None, None
