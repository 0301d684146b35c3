"""Random numbers that code of a user draws, which knows of no generator of ours."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed_others(seed: int) -> None:
    """Let what `random` and numpy's global generator draw from now on follow from a seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


@contextlib.contextmanager
def others_kept() -> Iterator[None]:
    """Let `random` and numpy's global generator go on afterwards as if nothing had been drawn inside."""
    python, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let all that is drawn inside, of torch on the CPU too, follow from a seed; outside it goes on as before.

    >>> def numbers() -> tuple[float, float, float]:
    ...     with seeded(3):
    ...         return random.random(), float(np.random.rand()), float(torch.rand(()))
    >>> numbers() == numbers()
    True
    """
    with others_kept(), torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        seed_others(seed)
        yield
