"""The operations of DARTS cells, each against the formula written out."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from renascent.core.codecs.darts_cells import OPERATIONS
from renascent.core.errors import UserError
from renascent.nets.cells.darts_ops import FactorisedReduction, factorised, operation, pooled
from renascent.nets.cells.ops import ConvBN


def norm(x, layer):
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt() * layer.weight.view(-1, 1, 1) + layer.bias.view(-1, 1, 1)


def randomised(module):
    """Move weights away from the initial scale 1 and shift 0, which would hide mistakes."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return module


def depthwise(x, weight, stride, dilation):
    """Convolve each channel with its own kernel: a sum over the kernel's places, of shifted maps."""
    k = weight.shape[-1]
    reach = dilation * (k // 2)
    wide = F.pad(x, (reach, reach, reach, reach))
    height, width = x.shape[2:]
    out = torch.zeros_like(x)
    for i in range(k):
        for j in range(k):
            shifted = wide[:, :, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
            out += weight[:, 0, i, j].view(-1, 1, 1) * shifted
    return out[:, :, ::stride, ::stride]


def pointwise(x, weight):
    return torch.einsum("oc,bchw->bohw", weight[:, :, 0, 0], x)


def halved(x, net):
    """Two 1x1 convolutions of every second pixel, from the first on and from the second on; beyond the map, zeros."""
    x = x.clamp_min(0)
    height, width = (-(-side // 2) for side in x.shape[2:])
    odd = torch.zeros(*x.shape[:2], height, width, dtype=x.dtype)
    there = x[:, :, 1::2, 1::2]
    odd[:, :, : there.shape[2], : there.shape[3]] = there
    parts = [pointwise(x[:, :, ::2, ::2], net.conv_a.weight), pointwise(odd, net.conv_b.weight)]
    return norm(torch.cat(parts, 1), net.bn)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_the_width_and_divides_the_map(name, stride):
    for size in ((8, 6), (7, 5)):
        out = operation(name, 4, stride)(torch.randn(2, 4, *size))
        assert out.shape == (2, 4, *(-(-side // stride) for side in size))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if "conv" in name])
def test_convolutions_are_separable(name, stride):
    op, x = randomised(operation(name, 3, stride)), torch.randn(4, 3, 8, 8)
    out, dilation = x, 2 if name.startswith("dil") else 1
    for first in range(0, len(op), 4):
        out = depthwise(out.clamp_min(0), op[first + 1].weight, stride if first == 0 else 1, dilation)
        out = norm(pointwise(out, op[first + 2].weight), op[first + 3])
    assert len(op) == (4 if name.startswith("dil") else 8)
    torch.testing.assert_close(op(x), out, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (1, 1)])
@pytest.mark.parametrize("widths", [(3, 4), (4, 5)])
def test_the_factorised_reduction_is_two_convolutions_of_shifted_maps(size, widths):
    net, x = randomised(FactorisedReduction(*widths)), torch.randn(4, widths[0], *size)
    torch.testing.assert_close(net(x), halved(x, net), rtol=1e-10, atol=1e-10)


def test_pools_have_no_normalisation_and_leave_the_border_out_of_the_mean():
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert operation("avg_pool_3x3", 1)(x)[0, 0, 0, 0] == (0 + 1 + 3 + 4) / 4
    assert operation("max_pool_3x3", 1, 2)(x).flatten().tolist() == [4, 5, 7, 8]
    assert not [*operation("avg_pool_3x3", 4).parameters(), *operation("max_pool_3x3", 4, 2).parameters()]


def test_skip_and_none():
    x = torch.randn(2, 4, 4, 4)
    assert operation("skip_connect", 4)(x) is x
    assert isinstance(operation("skip_connect", 4, 2), FactorisedReduction)
    assert not operation("none", 4, 2)(x).any()


def test_the_branches_of_the_fixed_reduction_cell():
    """A 3x3 window in two steps, along and across, each of 8 groups: by loops over groups and places."""
    net, x = randomised(factorised(16, torch.nn.BatchNorm2d)), torch.randn(3, 16, 8, 6)

    def along(x, weight):
        wide, out = F.pad(x, (1, 1)), []
        for g in range(8):
            kernel, part = weight[2 * g : 2 * g + 2], wide[:, 2 * g : 2 * g + 2]
            steps = [part[..., k : k + x.shape[3] : 2] for k in range(3)]
            out.append(sum(torch.einsum("oc,bchw->bohw", kernel[:, :, 0, k], steps[k]) for k in range(3)))
        return torch.cat(out, 1)

    out = along(x.clamp_min(0), net[1].weight)
    out = along(out.transpose(2, 3), net[2].weight.transpose(2, 3)).transpose(2, 3)
    out = norm(pointwise(norm(out, net[3]).clamp_min(0), net[5].weight), net[6])
    torch.testing.assert_close(net(x), out, rtol=1e-10, atol=1e-10)
    pool = randomised(pooled(16, torch.nn.BatchNorm2d))
    wide = F.pad(x, (1, 1, 1, 1), value=-torch.inf)
    windows = [wide[:, :, i : i + 8 : 2, j : j + 6 : 2] for i in range(3) for j in range(3)]
    torch.testing.assert_close(pool(x), norm(torch.stack(windows).amax(0), pool[1]), rtol=1e-10, atol=1e-10)


def test_an_unknown_operation_is_refused_by_name():
    with pytest.raises(UserError, match="unknown operation 'sep_conv_7x7': did you mean 'sep_conv_5x5'"):
        operation("sep_conv_7x7", 4)


class Strides(TorchDispatchMode):
    """Remember (inputs, kernel, stride) of every convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution.default:
            self.seen.append((args[1].shape[1], args[1].shape[-1], args[3][0]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("channels", [2, 4, 7, 8])
def test_few_channels_do_not_stride_in_a_1x1_convolution(channels):
    """Whose backward pass in channels-last overwrites memory on a CPU (PyTorch 2.13): found as a crash of a search."""
    x = torch.randn(2, channels, 8, 8, dtype=torch.float64)
    factorised, plain = FactorisedReduction(channels, 8).double(), ConvBN(channels, 8, 1, 2).double()
    with Strides() as strides:
        found = plain(x)
        factorised(x)
    assert strides.seen == [(channels, 1, 1 if channels < 8 else 2)] * 3
    torch.testing.assert_close(found, plain.bn(F.conv2d(x, plain.conv.weight, stride=2)), rtol=1e-12, atol=1e-12)
