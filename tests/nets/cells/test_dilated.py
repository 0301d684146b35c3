"""Dilated convolutions of supernets: the numbers of PyTorch's, by whichever way they are computed."""

import pytest
import torch
from torch import nn

from renascent.nets.cells.dilated import DilatedConv, hasten


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("stride", "dilation", "size"), [(1, 2, 8), (2, 2, 8), (1, 3, 6), (2, 3, 6), (1, 2, 7)])
def test_gives_the_numbers_of_pytorch_and_both_derivatives(stride, dilation, size, kernel, layout):
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 4, kernel, stride, dilation * (kernel // 2), dilation, 4, bias=False).double()
    quick = DilatedConv.of(plain)
    x = torch.randn(2, 4, size, size + size % 2, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    found = []
    for conv in (plain, quick):
        out = conv(x)
        first = torch.autograd.grad(out.square().sum(), [x, conv.weight], create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), [x, conv.weight])
        found.append([out, *first, *second])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-10)
    assert found[1][0].is_contiguous(memory_format=layout) or layout == torch.contiguous_format


def test_takes_the_place_of_dilated_depthwise_convolutions_alone():
    net = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4, bias=False),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, dilation=2, groups=4, bias=False),
    )
    before = dict(net.named_parameters())
    hasten(net)
    assert [type(conv) for conv in net] == [DilatedConv, nn.Conv2d, nn.Conv2d, nn.Conv2d]
    assert all(before[name] is p for name, p in net.named_parameters())
