"""Stopping work that other processes share: by Ctrl-C, or by SIGTERM, as schedulers and containers do."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import NoReturn

ASKS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM, too, inside; not so outside the main thread, where there are no signals."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def shielded() -> Iterator[None]:
    """Let signals that ask to stop wait for the end of the block.

    Processes that start inside never hear of them: whoever started them ends them, and they have nothing to say.
    """
    if not hasattr(signal, "pthread_sigmask"):  # no Unix
        yield
        return
    resource_tracker.ensure_running()  # which would let signals through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
