"""Work done ahead of its use by processes of this machine, its results in order."""

import atexit
import itertools
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from renascent.core.errors import UserError
from renascent.core.processes import cores
from renascent.core.signals import STOPS

T = TypeVar("T")

MOST = 4
"""Processes of one stream, unless the user gives more: a search has two."""

AHEAD = 2
"""Batches that each process makes before the first of them is used."""

Places = list[int]
"""Which items: what a batch is made of."""


def usual_workers() -> int:
    """Return how many processes read ahead unless it is said: as many as there are other cores, but few."""
    return max(1, min(MOST, cores() - 1))


def ahead(make: Callable[[Places], T], batches: Iterable[Places], workers: int) -> Iterator[T]:
    """Give what `make` makes of each batch, in order, made before it is asked for by processes that end with the last.

    `batches` may be endless; the processes end, too, when the iterator is closed or forgotten, and with this process,
    even if that is killed. What is random in the process that asks stays untouched. One batch alone is made here, as
    are all without workers, and in a process that may not have any of its own.

    Args:
        make: Runs in the processes; what it returns is sent here, and should be an error rather than raise one.
        batches: The places of each.
        workers: How many processes.

    Raises:
        UserError: Processes cannot be started, or one has ended.

    >>> list(ahead(sum, [[1, 2], [3]], workers=0))
    [3, 3]
    """
    rest = iter(batches)
    first = list(itertools.islice(rest, 2))
    alone = len(first) < 2 or multiprocessing.current_process().daemon
    rest = itertools.chain(first, rest)
    yield from map(make, rest) if alone or not workers else _elsewhere(make, rest, workers)


class _Made(Dataset[Any]):
    """What torch asks for batches, whole."""

    def __init__(self, make: Callable[[Places], Any]) -> None:
        self.make = make

    def __getitems__(self, places: Places) -> Any:
        return self.make(places)


def _elsewhere(make: Callable[[Places], T], batches: Iterator[Places], workers: int) -> Iterator[T]:
    loader: DataLoader[Any] = DataLoader(
        _Made(make),
        batch_sampler=batches,
        num_workers=workers,
        prefetch_factor=AHEAD,
        collate_fn=_as_it_is,
        worker_init_fn=_begin,
        generator=torch.Generator(),  # or else one number of this process's own would be drawn
    )
    try:
        with warnings.catch_warnings(action="ignore"):  # of more processes than cores, and of threads beside a fork
            found: Any = iter(loader)
    except Exception as e:  # where processes are not forked, what they work on is sent to them
        reason = f"{type(e).__name__}: {str(e).partition(chr(10))[0]:.200}"
        raise UserError(f"the processes that read ahead cannot be started ({reason}): give `workers` 0") from None
    atexit.register(found._shutdown_workers)  # before torch's own, which would wait for processes that nobody ended
    try:
        yield from found
    except RuntimeError as e:
        if "DataLoader worker" not in str(e):
            raise
        reason = str(e).partition("\n")[0]
        raise UserError(f"a process that reads ahead has ended ({reason:.200}): give fewer `workers`") from None
    finally:  # now, and not when the last trace of an error is forgotten
        atexit.unregister(found._shutdown_workers)
        found._shutdown_workers()


def _as_it_is(made: T) -> T:
    return made


def _begin(number: int) -> None:
    """Leave Ctrl-C, and a terminal that goes away, to the process that asks, which then ends this one."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    for stop in STOPS:
        signal.signal(stop, signal.SIG_DFL if stop == signal.SIGTERM else signal.SIG_IGN)
