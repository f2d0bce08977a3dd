"""Where files arrive: a folder of this machine, or a prefix of an S3 bucket, read through one interface.

Belongs here: opening the place that a home names, finding and fetching files wherever they lie. Does not: what is in
them (files), what becomes of them (batches). Nothing is ever written to either kind.

An object of S3 appears whole or not at all: a put that is under way and an upload in parts that was not completed are
not listed, so there is nothing to wait for. What is listed is fetched only as the version that was listed.
"""

import difflib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

from orchestration.home.settings import Settings
from orchestration.ingest.contract import Table, load_contract
from orchestration.ingest.errors import LandingUnavailable
from orchestration.ingest.files import Landing, LandingFile, is_unchanged, look
from orchestration.ingest.names import ENDINGS, shown, sorted_by_name

_S3_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
_REMEDIES = {
    "NoSuchBucket": "there is no such bucket: create it, or correct INVENTORYBOT_LANDING",
    "AccessDenied": "these credentials may not read there: allow them to list the bucket and to get its objects",
    "InvalidAccessKeyId": "the access key is not known there: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "SignatureDoesNotMatch": "the secret does not fit the access key: correct AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the session has expired: sign in again",
    "PermanentRedirect": "the bucket lies in another region: set AWS_REGION",
    "PreconditionFailed": "the object was replaced while it was read; the next run takes it in",
    "NoSuchKey": "the object was removed while it was read",
}
S3_ATTEMPTS = 4
_STATUS_CODES = {"403": "AccessDenied", "404": "NoSuchKey", "412": "PreconditionFailed", "301": "PermanentRedirect"}


class LandingPlace(Protocol):
    """Where the files of every raw table arrive, and the photos that rows of product_photos name."""

    def look(self, table: str, *, settle_seconds: float) -> Landing:
        """List the files of a table; see `files.look`."""

    def folders(self) -> list[str]:
        """Return the names of the folders that lie beside those of the tables, theirs included."""

    def loose_files(self) -> list[str]:
        """Return the names of the files that lie beside the folders of the tables, where none is read."""

    def local(self, file: LandingFile, folder: Path) -> LandingFile:
        """Return a file as it lies on this machine, fetched into `folder` where it has to be."""

    def is_unchanged(self, file: LandingFile) -> bool:
        """Tell whether what was read of a file is what was listed."""

    def holds(self, name: str) -> bool:
        """Tell whether a path of a row, such as `product_photos/a.jpg`, leads to a place within."""

    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file, None where there is none."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""


@dataclass(frozen=True)
class LandingFolder:
    """A landing folder of this machine.

    Attributes:
        path: the folder.
        follow_links: whether links within it are followed.
    """

    path: Path
    follow_links: bool = False

    def __str__(self) -> str:
        return str(self.path)

    def look(self, table: str, *, settle_seconds: float) -> Landing:
        """List the files of a table; see `files.look`."""
        return look(self.path / table, settle_seconds=settle_seconds, follow_links=self.follow_links)

    def folders(self) -> list[str]:
        """Return the names of the folders within."""
        return sorted(path.name for path in self.path.iterdir() if path.is_dir()) if self.path.is_dir() else []

    def loose_files(self) -> list[str]:
        """Return the names of the files directly within."""
        return sorted(path.name for path in self.path.iterdir() if path.is_file()) if self.path.is_dir() else []

    def local(self, file: LandingFile, folder: Path) -> LandingFile:
        """Return the file itself."""
        return file

    def is_unchanged(self, file: LandingFile) -> bool:
        """Tell whether nobody has written to a file since it was listed."""
        return is_unchanged(file)

    def holds(self, name: str) -> bool:
        """Tell whether a path stays within the folder, links followed."""
        return (self.path / name).resolve().is_relative_to(self.path.resolve())

    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file, None where there is none."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            LandingUnavailable: it is not there.
        """
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise LandingUnavailable(
                f"{self.path / name} is not there any more: put it back, "
                "or let INVENTORYBOT_LANDING name the folder it came from"
            ) from None


@dataclass(frozen=True)
class S3Landing:
    """A prefix of an S3 bucket; the files of a table lie directly below `<prefix>/<table>/`.

    Attributes:
        url: `s3://bucket/prefix`.
        client: boto3 client of S3; it tries again by itself, with growing pauses.
    """

    url: str
    client: Any

    def __str__(self) -> str:
        return self.url

    @property
    def _bucket(self) -> str:
        return s3_address(self.url)[0]

    def _key(self, name: str) -> str:
        return f"{s3_address(self.url)[1]}{name}"

    def look(self, table: str, *, settle_seconds: float) -> Landing:
        """List the files of a table; there is none that is still being written.

        Raises:
            LandingUnavailable: the bucket cannot be listed.
        """
        prefix = self._key(f"{table}/")
        pages = self._pages(f"{table}/", is_deep=True)
        listed = [found for page in pages for found in page.get("Contents", [])]
        objects = {found["Key"].removeprefix(prefix): found for found in listed}
        names = sorted_by_name(table, (name for name in objects if name and not name.endswith("/")))
        files = [_listed(table, name, objects[name]) for name in names.found]
        odd = {file: f"{file.place} has a name that is no path: rename it" for file in files if not _is_path(file.name)}
        kept = tuple(file for file in files if file not in odd)
        return Landing(kept, names.waiting, names.notices, tuple(odd.items()))

    def folders(self) -> list[str]:
        """Return the names of the prefixes directly below ours."""
        found = [folder["Prefix"] for page in self._pages("") for folder in page.get("CommonPrefixes", [])]
        return sorted(prefix.rstrip("/").rsplit("/", 1)[-1] for prefix in found)

    def loose_files(self) -> list[str]:
        """Return the names of the objects directly below ours."""
        found = [listed["Key"] for page in self._pages("") for listed in page.get("Contents", [])]
        return sorted(key.rsplit("/", 1)[-1] for key in found if not key.endswith("/"))

    def _pages(self, folder: str, *, is_deep: bool = False) -> list[dict[str, Any]]:
        with self._answering(folder):
            lister = self.client.get_paginator("list_objects_v2")
            options = {} if is_deep else {"Delimiter": "/"}
            return list(lister.paginate(Bucket=self._bucket, Prefix=self._key(folder), **options))

    def local(self, file: LandingFile, folder: Path) -> LandingFile:
        """Fetch the version of an object that was listed.

        Raises:
            LandingUnavailable: it cannot be read, or is another one by now.
        """
        table, name = file.table, file.name
        # A key may be longer than a name of a file may be.
        ending = "".join(PurePosixPath(name).suffixes[-2:])[-20:]
        path = folder / f"{hashlib.sha256(f'{table}/{name}'.encode()).hexdigest()[:32]}{ending}"
        if file.path == path or path.exists():
            return replace(file, path=path)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.fetched")
        with self._answering(f"{table}/{name}"), beside.open("wb") as copy:
            found = self.client.get_object(Bucket=self._bucket, Key=self._key(f"{table}/{name}"), IfMatch=file.version)
            for chunk in found["Body"].iter_chunks(1 << 20):
                copy.write(chunk)
        beside.rename(path)
        return replace(file, path=path)

    def is_unchanged(self, file: LandingFile) -> bool:
        """Return True: what was fetched is the version that was listed, and nobody writes to the copy."""
        return True

    def holds(self, name: str) -> bool:
        """Tell whether a path stays below the prefix."""
        path = PurePosixPath(name)
        return not path.is_absolute() and ".." not in path.parts

    def size_of(self, name: str) -> int | None:
        """Return the bytes of an object, None where there is none."""
        from botocore.exceptions import ClientError

        with self._answering(name):
            try:
                return int(self.client.head_object(Bucket=self._bucket, Key=self._key(name))["ContentLength"])
            except ClientError as error:
                if _code(error) != "NoSuchKey":
                    raise
                return None

    def read(self, name: str) -> bytes:
        """Return the content of an object."""
        with self._answering(name):
            content: bytes = self.client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"].read()
        return content

    @contextmanager
    def _answering(self, name: str) -> Iterator[None]:
        """Say what is wrong with the bucket; words of the server are left out, they may hold what it was sent."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        place = f"{self.url.rstrip('/')}/{name}"
        try:
            yield
        except ClientError as error:
            code = _code(error)
            remedy = _REMEDIES.get(code, f"the server answers {code}")
            raise LandingUnavailable(f"{place} cannot be read: {remedy}") from None
        except (NoCredentialsError, PartialCredentialsError):
            remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            raise LandingUnavailable(f"{place} cannot be read: there are no credentials; {remedy}") from None
        except BotoCoreError as error:
            address = urlsplit(self.client.meta.endpoint_url)
            shown = f"{address.scheme}://{address.hostname}{f':{address.port}' if address.port else ''}"
            raise LandingUnavailable(
                f"{place} cannot be read: {shown} does not answer ({type(error).__name__}): check that it runs and may "
                "be reached, and AWS_ENDPOINT_URL_S3 where it is no server of AWS"
            ) from None


def overlooked(landing: LandingPlace, table: Table) -> list[str]:
    """Return a notice for each folder that is no table's, and each file that lies in no folder of a table.

    The table that it is named like says so, else the first of the contract.
    """
    names = [declared.name for declared in load_contract()]

    def is_meant(name: str) -> bool:
        return (difflib.get_close_matches(name, names, n=1) or names)[0] == table.name

    return [
        *(
            f"{landing}/{shown(folder)} is not a raw table and was not read: rename it to {table.name}?"
            for folder in landing.folders()
            if folder not in names and difflib.get_close_matches(folder, names, n=1) == [table.name]
        ),
        *(
            f"{landing}/{shown(file)} lies in no table's folder and was not read: move it into {table.name}/?"
            for file in landing.loose_files()
            if file.lower().endswith(ENDINGS) and is_meant(file.split(".")[0])
        ),
    ]


def s3_client() -> Any:
    """Return a client of S3 with the credentials and the address of the usual AWS environment.

    AWS_ENDPOINT_URL_S3 names a server that is not Amazon's.
    """
    import boto3
    from botocore.config import Config

    # A session of its own: the one that boto3 shares keeps the credentials that it found first.
    return boto3.session.Session().client(
        "s3", config=Config(retries={"mode": "standard", "max_attempts": S3_ATTEMPTS})
    )


def open_landing(settings: Settings, client: Callable[[], Any] = s3_client) -> LandingPlace:
    """Return where the files of a home arrive.

    Args:
        settings: settings of the home.
        client: makes the client of S3, where the files arrive there.

    Raises:
        ValueError: a landing folder that the environment names is not there, or its address is none.
    """
    if isinstance(settings.landing, Path):
        # A home that only databases and events fill has no landing folder; a name that leads nowhere is a mistake.
        if settings.landing != settings.home / "landing" and not settings.landing.is_dir():
            raise ValueError(
                f"INVENTORYBOT_LANDING={str(settings.landing)!r} is not a folder; name the folder where files arrive"
            )
        return LandingFolder(settings.landing, bool(settings.follow_links))
    s3_address(settings.landing)
    # A connection that is not made within 3 s is tried again, as `standard` has it; without, a minute is waited each.
    os.environ.setdefault("AWS_DEFAULTS_MODE", "standard")
    return S3Landing(settings.landing, client())


def s3_address(url: str) -> tuple[str, str]:
    """Return bucket and prefix of `s3://bucket/prefix`; the prefix is empty or ends in a slash.

    Raises:
        ValueError: it is no such address.
    """
    found = _S3_URL.fullmatch(url)
    if not found:
        raise ValueError(f"{url!r} is not a landing folder; write a path, or s3://bucket/prefix")
    prefix = (found["prefix"] or "").strip("/")
    return found["bucket"], f"{prefix}/" if prefix else ""


def _is_path(name: str) -> bool:
    """Tell whether the rest of a key is a path below its table."""
    return not set(name.split("/")) & {"", ".", ".."}


def _listed(table: str, name: str, found: dict[str, Any]) -> LandingFile:
    """Return an object as a file; its mark holds what a changed object cannot share: size, time and entity tag."""
    changed_at = int(found["LastModified"].timestamp() * 1e9)
    tag = int.from_bytes(hashlib.sha256(found["ETag"].encode()).digest()[:6])
    mark = (found["Size"], changed_at, changed_at, tag)
    return LandingFile(table, name, Path(table, name), found["Size"], mark, found["ETag"])


def _code(error: Any) -> str:
    code = str(error.response.get("Error", {}).get("Code", ""))
    return _STATUS_CODES.get(code, code)
