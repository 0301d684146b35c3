"""Stopping work that other processes share: by Ctrl-C, or by SIGTERM, as schedulers and containers do."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker
from types import FrameType
from typing import NoReturn

from renascent.core.signals import STOPS, heard


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise KeyboardInterrupt inside for SIGTERM, too, where nobody else listens for it."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    with heard(stop) if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL else nullcontext():
        yield


@contextmanager
def shielded() -> Iterator[None]:
    """Let signals that ask to stop wait for the end of the block.

    Processes that start inside never hear of them: whoever started them ends them, and they have nothing to say.
    """
    if not hasattr(signal, "pthread_sigmask"):  # no Unix
        yield
        return
    resource_tracker.ensure_running()  # which would let signals through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
