"""The convolution: values and both derivatives."""

import pytest
import torch
from torch.nn import functional as F

from renascent.nets.cells.conv import convolve


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_torch(assert_alike, size, layout):
    x = torch.randn(2, 3, 6, 5).contiguous(memory_format=layout).requires_grad_()
    kernel = torch.randn(4, 3, size, size, requires_grad=True)
    assert_alike(convolve(x, kernel), F.conv2d(x, kernel, padding=size // 2), [x, kernel], 1e-12)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True)])
def test_both_derivatives_against_finite_differences(size, needs):
    x = torch.randn(2, 2, 4, 3).requires_grad_(needs[0])
    kernel = torch.randn(2, 2, size, size).requires_grad_(needs[1])
    assert torch.autograd.gradcheck(convolve, (x, kernel))
    assert torch.autograd.gradgradcheck(convolve, (x, kernel))
