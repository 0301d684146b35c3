"""The lock of a folder in which a process is at work: it goes with the process, and no file is left."""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from renascent.core.errors import UserError

try:
    import fcntl
except ImportError:  # no Unix: two processes at work in one folder are then not noticed
    fcntl = None  # type: ignore[assignment]

INSTANT = 0.05
"""Seconds after which a folder is tried once more: who only asks whether somebody is at work lets go at once."""

LOCKS: set[int] = set()
"""What the locks of this process hang on. A process that is forked must not go on with them when this one is gone."""


def _unlock(descriptor: int) -> None:
    LOCKS.discard(descriptor)
    os.close(descriptor)


def _unlock_all() -> None:
    for descriptor in tuple(LOCKS):
        _unlock(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_all)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep others from the folder until the end of the block or of this process, in whatever way; no file is left.

    Two processes in one run would spoil each other's checkpoints. Raises UserError when one is at work there already.
    """
    with contextlib.ExitStack() as after:
        try:
            if fcntl is not None:
                descriptor = os.open(folder, os.O_RDONLY)
                LOCKS.add(descriptor)
                after.callback(_unlock, descriptor)
                _lock(descriptor)
        except BlockingIOError:
            raise UserError(f"another process is at work in {folder}: wait for it, or stop it first") from None
        except OSError:
            pass  # a disk without locks, as some in a network are
        yield


def is_locked(folder: Path) -> bool:
    """Return whether a process is at work in a folder; False, too, where there are no locks, or no such folder."""
    with contextlib.ExitStack() as after:
        try:
            if fcntl is not None:
                descriptor = os.open(folder, os.O_RDONLY)
                after.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
    return False


def _lock(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    time.sleep(INSTANT)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
