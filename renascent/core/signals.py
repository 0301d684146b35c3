"""Signals that ask a process to stop: Ctrl-C, SIGTERM, and SIGHUP of a terminal that goes away."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def heard(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call `handler` for each of `STOPS` inside.

    Not outside the main thread, where Python has no signals, and not for SIGHUP where the process was told to outlive
    its terminal (nohup).
    """
    held: dict[int, Any] = {}
    try:
        with suppress(ValueError):
            for number in STOPS:
                if signal.getsignal(number) is not signal.SIG_IGN or number in (signal.SIGINT, signal.SIGTERM):
                    held[number] = signal.signal(number, handler)
        yield
    finally:
        for number, before in held.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
