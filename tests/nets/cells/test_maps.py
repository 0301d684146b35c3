"""Pooling against PyTorch's own, values and both derivatives, and what it saves for the backward pass."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from renascent.nets.cells.maps import pool

theirs = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)


@pytest.mark.parametrize("size", [(4, 5), (1, 1), (1, 3), (2, 2), (9, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_the_module_and_differentiates_twice(size, layout):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.double).contiguous(memory_format=layout).requires_grad_()
    torch.testing.assert_close(pool(x), theirs(x), rtol=1e-12, atol=1e-12)
    assert pool(x).stride() == theirs(x).stride()
    assert torch.autograd.gradcheck(pool, (x,))
    assert torch.autograd.gradgradcheck(lambda x: pool(x).square(), (x,))


def test_keeps_no_map():
    x, kept = torch.randn(1, 2, 4, 4, requires_grad=True), []
    with saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        pool(x)
    assert all(t.numel() == 16 for t in kept)  # one number a place, for all channels and images
