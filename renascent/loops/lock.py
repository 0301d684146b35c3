"""A lock on a run folder: two processes in one run would spoil each other's checkpoints."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from renascent.core.errors import UserError

try:
    import fcntl
except ImportError:  # no Unix: two processes at work in one folder are then not noticed
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep others from the folder until the end of the block or of this process, in whatever way; no file is left.

    Raises UserError when one is at work there already.
    """
    with contextlib.ExitStack() as after:
        if fcntl is not None:
            _lock(folder, after)
        yield


def _lock(folder: Path, after: contextlib.ExitStack) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        after.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another process is at work in {folder}: wait for it, or stop it first") from None
    except OSError:
        pass  # a disk without locks, as some in a network are
