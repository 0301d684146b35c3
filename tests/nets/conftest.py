"""Everything about networks is checked in float64, where two ways of computing one number agree to 1e-10."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    """Make networks, gates and inputs float64, and their random numbers the same in every run."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
