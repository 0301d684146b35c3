"""How many processes of this machine may work at a time."""

import os

from renascent.core.errors import UserError

PER_CORE = 4
"""Processes for each core, at most: each has a PyTorch of its own in memory."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_processes(name: str, count: int) -> None:
    """Raise UserError for more processes than help: they share the cores, and would fill the memory.

    >>> check_processes("workers", 10**9)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    renascent.core.errors.UserError: workers is 1000000000, for ... cores: give at most ...
    """
    if count > (most := PER_CORE * cores()):
        raise UserError(f"{name} is {count}, for {cores()} cores: give at most {most}")
