"""Journals: files of one JSON object a line, to which only whole lines count."""

from __future__ import annotations

import json
import os
from pathlib import Path

from renascent.errors import UserError
from renascent.run import Json, writing


def whole_lines(path: Path) -> list[Json]:
    """Return the records of a journal, none if it is not there; a last line that a kill left half written is cut off.

    Raises UserError when another line cannot be read.
    """
    if not path.exists():
        return []
    held = path.read_bytes()
    whole = held.rfind(b"\n") + 1
    try:
        records = [json.loads(line) for line in held[:whole].splitlines()]
    except ValueError as e:
        raise UserError(f"{path} is damaged ({e}): remove {path.parent} and start again") from None
    if whole < len(held):
        with writing(path):
            os.truncate(path, whole)
    return records
