"""Files of JSON and text: written whole or not at all, read with one line for what is wrong."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from renascent.core.errors import UserError
from renascent.core.text import short

Json = dict[str, Any]


def read_json(path: Path) -> Json:
    """Read one JSON object. Raises UserError when it is missing or something else."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {path}: is {Path(path).parent} the folder of a finished search?") from None
    except (ValueError, OSError) as e:
        raise UserError(f"{path} cannot be read ({e}): remove its folder and start again") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged (no JSON object, but {value!r:.40}): remove its folder and start again")
    return value


DEEPEST = 100
"""How many lists and objects may stand in each other in JSON from elsewhere."""


def parsed(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises ValueError for other text, a key that stands twice in an object, characters that are none, and more than
    `DEEPEST` levels.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique)
        level, depth = [value], 0
        while level:
            inner = (
                item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)
            )
            level, depth = [item for items in inner for item in items], depth + 1
            if depth > DEEPEST:
                raise RecursionError
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    found: Json = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {short(key)} stands twice")
        found[key] = value
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object, whole or not at all. Raises UserError when it cannot be written."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all. Raises UserError when it cannot be written."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a scratch path beside `path` to write to, which takes its name afterwards: whole, or not at all.

    On any error the scratch file goes, and an older file of that name is as it was. Raises UserError for the disk's.
    """
    scratch = path.with_name(path.name + ".part")
    with writing(path):
        try:
            yield scratch
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
    except OSError as e:
        reason = e.strerror or str(e)
        raise UserError(f"cannot write {path}: {reason}; free some space or use another folder") from None


def whole_lines(path: Path) -> list[Json]:
    """Return the records of a journal, none if it is not there; a last line that a kill left half written is cut off.

    Raises UserError when another line cannot be read.
    """
    if not path.exists():
        return []
    stored = path.read_bytes()
    whole = stored.rfind(b"\n") + 1
    try:
        records = [parsed(line) for line in stored[:whole].splitlines()]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("a line is no object")
    except ValueError as e:
        raise UserError(f"{path} is damaged ({e}): remove {path.parent} and start again") from None
    if whole < len(stored):
        with writing(path):
            os.truncate(path, whole)
    return records
