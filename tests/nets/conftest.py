"""Everything about networks is checked in float64, where two ways of computing one number agree to 1e-10."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    """Make networks, gates and inputs float64, and their random numbers the same in every run."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def assert_alike() -> Callable[..., None]:
    """Compare what is computed in two ways: the values, and the gradients of `leaves` along a random slope."""

    def compare(ours, theirs, leaves, tolerance=1e-10):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
        slope = torch.randn(ours.shape, dtype=ours.dtype)
        about = {"retain_graph": True, "materialize_grads": True}
        found = [torch.autograd.grad(out, leaves, slope, **about) for out in (ours, theirs)]
        torch.testing.assert_close(*found, rtol=10 * tolerance, atol=10 * tolerance)

    return compare


def one_less(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return subsets as option indices (n, decisions), each without one option that it has."""
    less = rows.copy()
    for row in less:
        decision = rng.choice(np.flatnonzero(row))
        row[decision] -= 1 << rng.choice(np.flatnonzero(row[decision] >> np.arange(62) & 1))
    return less
