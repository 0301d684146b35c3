"""`renascent runs`: what was searched, and how far it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from renascent.cli.commands.command import Command
from renascent.core.errors import UserError

DEFAULT = "runs"
"""Where searches put their folders unless told."""

ABOUT = f"""List the runs in and below a folder, {DEFAULT}/ unless another is given, the newest last.

Each with what was searched, what the result costs and reaches, and its state; behind that the last epoch.

`running`: a process holds the lock of its folder, here or, on a disk that shares locks, on another machine. `stopped`:
none does, and the result is not there; the same command with --resume goes on. `finished`: the result is there, and
whole. `damaged`: a file is missing or no longer what it was, and a line says which.

As in: `renascent runs`, `renascent runs runs/thesis --json`"""


def _check(flags: Any, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    folder = Path(words[0] or DEFAULT)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: name one that has runs in it, as in `renascent runs DIR`")


COMMAND = Command(run="renascent.cli.work.runs:run", words={"folder": "Where the runs are."}, check=_check)
