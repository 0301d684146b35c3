"""Candidate operations, each against the formula written out."""

import pytest
import torch
from torch.nn import functional as F

from renascent.core.codecs.nats_topology import OPERATIONS
from renascent.core.errors import UserError
from renascent.nets.cells.ops import CONVOLUTIONS, Zero, operation


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_the_shape(name):
    x = torch.randn(2, 3, 5, 4)
    assert operation(name, 3)(x).shape == x.shape


@pytest.mark.parametrize(("name", "kernel"), CONVOLUTIONS.items())
def test_convolutions_are_relu_convolution_norm(name, kernel):
    op, x = operation(name, 3), torch.randn(4, 3, 5, 5)
    with torch.no_grad():
        op.bn.weight.normal_()
        op.bn.bias.normal_()
    out = F.conv2d(x.clamp_min(0), op.conv.weight, None, padding=(kernel - 1) // 2)
    mean, var = out.mean((0, 2, 3), keepdim=True), out.var((0, 2, 3), unbiased=False, keepdim=True)
    wanted = (out - mean) / (var + 1e-5).sqrt() * op.bn.weight.view(-1, 1, 1) + op.bn.bias.view(-1, 1, 1)
    torch.testing.assert_close(op(x), wanted, rtol=1e-12, atol=1e-12)


def test_pooling_leaves_the_padding_out_of_the_mean():
    x = torch.arange(9.0).view(1, 1, 3, 3)
    corner, middle = (0 + 1 + 3 + 4) / 4, 4.0
    out = operation("avg_pool_3x3", 1)(x)
    assert out[0, 0, 0, 0] == corner
    assert out[0, 0, 1, 1] == middle


def test_skip_and_none():
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(operation("skip_connect", 3)(x), x)
    assert torch.equal(Zero()(x), torch.zeros_like(x))
    assert not [*operation("skip_connect", 3).parameters(), *operation("none", 3).parameters()]


def test_an_unknown_operation_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'nor_conv_3x3'"):
        operation("nor_conv3x3", 3)
