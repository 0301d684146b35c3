"""Files of JSON and text: written whole or not at all, read with one line for what is wrong."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any

from renascent.core.errors import UserError

Json = dict[str, Any]

DEEPEST = 50
"""Brackets within brackets that a file of ours may have: Python itself gives up at some hundreds."""


def read_json(path: Path) -> Json:
    """Read one JSON object. Raises UserError when it is missing or something else."""
    try:
        value = parsed(read_bytes(path))
    except FileNotFoundError:
        raise UserError(f"there is no {path}: is {Path(path).parent} the folder of a finished search?") from None
    except ValueError as e:
        raise UserError(f"{path} cannot be read ({e}): remove its folder and start again") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged (no JSON object, but {value!r:.40}): remove its folder and start again")
    return value


def parsed(text: bytes) -> Any:
    """Return the JSON value of a text in UTF-8.

    Raises ValueError for what is none, a key that stands twice, letters that are none, and what is deeper than anything
    we write.

    >>> parsed(b"[1]")
    [1]
    """
    with suppress(RecursionError):
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
        if b"\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half of a letter cannot be written
        layer, depth = [value], 0
        while layer and depth < DEEPEST:
            inner = (
                item.values() if isinstance(item, dict) else item for item in layer if isinstance(item, dict | list)
            )
            layer, depth = [value for values in inner for value in values], depth + 1
        if not layer:
            return value
    raise ValueError("brackets within brackets, too many")


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def read_bytes(path: Path) -> bytes:
    """Return what a file holds. Raises FileNotFoundError where there is none, UserError where it cannot be read."""
    with reading(path):
        # a pipe among the files would be waited for
        if not S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{path} is no file, but a folder, a pipe or a device: move it away")
        return Path(path).read_bytes()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn a failure of the disk, or of a name, into one line for the user; that nothing is there passes."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, UnicodeEncodeError) as e:
        raise UserError(f"cannot read {path}: {_reason(e)}; see to it, or name another") from None


def is_there(path: Path) -> bool:
    """Return whether a path leads to anything. Raises UserError where that cannot be told."""
    with reading(path):
        return Path(path).exists()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object, whole or not at all. Raises UserError when it cannot be written."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all. Raises UserError when it cannot be written."""
    with replacing(path) as scratch:
        # a folder's name may hold what is no text
        scratch.write_text(text, encoding="utf-8", newline="", errors="backslashreplace")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a scratch path beside `path` to write to, which takes its name afterwards: whole, or not at all.

    On any error the scratch file goes, and an older file of that name is as it was. Raises UserError for the disk's.
    """
    scratch = path.with_name(path.name + ".part")
    with writing(path):
        try:
            scratch.touch()
            mode = scratch.stat().st_mode  # as the user wants new files, whoever writes this one
            yield scratch
            scratch.chmod(mode)
            with scratch.open("rb+") as file:
                os.fsync(file.fileno())  # a power cut must not leave the name without the content
            scratch.replace(path)
        except BaseException:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure of the disk into one line for the user."""
    try:
        yield
    except (OSError, UnicodeEncodeError) as e:
        raise UserError(f"cannot write {path}: {_reason(e)}; free some space or use another folder") from None


def _reason(error: OSError | UnicodeEncodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "a name with letters that are none"


def whole_lines(path: Path) -> list[Json]:
    """Return the records of a journal, none if it is not there; a last line that a kill left half written is cut off.

    Raises UserError when another line cannot be read.
    """
    try:
        stored = read_bytes(path)
    except FileNotFoundError:
        return []
    whole = stored.rfind(b"\n") + 1
    try:
        records = [parsed(line) for line in stored[:whole].splitlines()]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("a line is no JSON object")
    except ValueError as e:
        raise UserError(f"{path} is damaged ({e}): remove {path.parent} and start again") from None
    if whole < len(stored):
        with writing(path):
            os.truncate(path, whole)
    return records
