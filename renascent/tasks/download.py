"""Official archives: fetched, compared with the published checksum, unpacked."""

import hashlib
import os
import tarfile
import tempfile
import urllib.request
import zlib
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

from renascent.core.errors import UserError
from renascent.tasks.formats import brief

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """An official file. url, md5: where it is published and its checksum.  path: inside the data folder.

    megabytes: of the download.
    """

    url: str
    md5: str
    path: str
    megabytes: float


def obtain(archive: Archive, folder: Path, *, download: bool) -> None:
    """Put an official file in `folder`, fetched if `download`, and unpack it there if it is a .tar.gz.

    Raises UserError when its checksum is not the published one, or it cannot be fetched or unpacked.
    """
    target = folder / archive.path
    if download:
        fetch(archive.url, archive.md5, target)
    elif (given := _md5(target)) != archive.md5:  # what cannot be read has none
        raise UserError(
            f"{target} has the MD5 {given}, the published file has {archive.md5}: "
            "it is incomplete or another version; delete it, or fetch it with `download=True`"
        )
    if archive.path.endswith(".tar.gz"):
        unpack(target, folder)


def fetch(url: str, md5: str, target: Path) -> None:
    """Download `url` to `target`, unless it is there already with this checksum.

    Written to a temporary file beside it, which takes its name only when the checksum is right.
    Raises UserError without a network, for a wrong checksum, and for a folder that cannot be written.
    """
    if _md5(target) == md5:
        return
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as out:
            given = _copy(url, out, target)
        if given != md5:
            raise UserError(f"{url} has the MD5 {given}, expected {md5}: try again, or put it at {target}")
        os.replace(part, target)
    except OSError as error:
        raise UserError(f"cannot write {target} ({error.strerror or error}); choose another data folder") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar.gz into `folder`, file by file, each there only when it is whole.

    Members that would leave the folder are refused. Raises UserError when the archive is damaged.
    """
    try:
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=archive.name) as scratch,
            tarfile.open(archive) as tar,
        ):
            tar.extractall(scratch, filter="data")
            for path in sorted(p for p in Path(scratch).rglob("*") if p.is_file()):
                target = folder / path.relative_to(scratch)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        why = brief(str(error))
        raise UserError(f"cannot unpack {archive} in {folder} ({why}); unpack it there by hand") from error


def _copy(url: str, out: IO[bytes], target: Path) -> str:
    """Copy what `url` holds to `out`; return its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=60) as source:
            while chunk := source.read(_CHUNK):
                out.write(chunk)
                digest.update(chunk)
    except (OSError, HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise UserError(f"cannot download {url} ({reason}); fetch it elsewhere and put it at {target}") from error
    return digest.hexdigest()


def _md5(path: Path) -> str:
    """Return the MD5 of a file; of what is none, or cannot be read, why."""
    if not os.path.isfile(path):
        return "of no file"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        return f"of a file that cannot be read ({error.strerror})"
