"""Candidate operations of the cells of DARTS, as plain modules: arXiv:1806.09055, Sec. 3.1.1."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from renascent.core.codecs.darts_cells import OPERATIONS
from renascent.core.errors import unknown
from renascent.nets.cells.ops import Norm, ReLUConvBN, Zero
from renascent.nets.sizes.units import Convolution

GROUPS = 8
"""Groups of the convolutions of the fixed reduction cell."""


def separable(channels: int, kernel: int, stride: int, norm: Norm, dilation: int = 1) -> list[nn.Module]:
    """Return ReLU, depthwise convolution, 1x1 convolution, normalisation."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        norm(channels),
    ]


class FactorisedReduction(nn.Module):
    """Halve the map and set its width: ReLU, two 1x1 convolutions of stride 2, half the channels each, normalisation.

    The second one reads the map shifted by one pixel, so that all pixels count; zeros follow a map of odd size.
    """

    def __init__(self, channels_in: int, channels: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv_a = Convolution(channels_in, channels // 2, 1, 2, bias=False)
        self.conv_b = Convolution(channels_in, channels - channels // 2, 1, 2, bias=False)
        self.bn = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, h, w) to (batch, channels, ceil(h / 2), ceil(w / 2))."""
        x = F.relu(x)
        shifted = F.pad(x, (-1, x.shape[3] % 2, -1, x.shape[2] % 2))
        return self.bn(torch.cat([self.conv_a(x), self.conv_b(shifted)], 1))  # type: ignore[no-any-return]


def operation(
    name: str, channels: int, stride: int = 1, norm: Norm = nn.BatchNorm2d, *, pools_normed: bool = False
) -> nn.Module:
    """Return the operation called `name`, mapping (batch, channels, h, w) to the same width, h and w over `stride`.

    pools_normed: whether pools have a normalisation behind them. Raises UserError for a name not in `OPERATIONS`.

    >>> operation("dil_conv_5x5", 4)[1].dilation
    (2, 2)
    """
    if name == "none":
        return Zero(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorisedReduction(channels, channels, norm)
    if name in ("max_pool_3x3", "avg_pool_3x3"):
        largest = name == "max_pool_3x3"
        pool = nn.MaxPool2d(3, stride, 1) if largest else nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        return nn.Sequential(pool, norm(channels)) if pools_normed else pool
    if name not in OPERATIONS:
        raise unknown("operation", name, OPERATIONS)
    kernel = int(name[-1])
    if name.startswith("dil"):
        return nn.Sequential(*separable(channels, kernel, stride, norm, dilation=2))
    return nn.Sequential(*separable(channels, kernel, stride, norm), *separable(channels, kernel, 1, norm))


class Preprocess(ReLUConvBN):
    """Bring an input of a cell to its width: ReLU, 1x1 convolution, normalisation."""

    def __init__(self, channels_in: int, channels: int, norm: Norm) -> None:
        super().__init__(channels_in, channels, 1, norm=norm)


def factorised(channels: int, norm: Norm) -> nn.Module:
    """Return a branch of GDAS's fixed reduction cell: a 1x3 and a 3x1 convolution of stride 2 in 8 groups, a 1x1."""
    wide = nn.Conv2d(channels, channels, (1, 3), (1, 2), (0, 1), groups=GROUPS, bias=False)
    tall = nn.Conv2d(channels, channels, (3, 1), (2, 1), (1, 0), groups=GROUPS, bias=False)
    pointwise = nn.Conv2d(channels, channels, 1, bias=False)
    return nn.Sequential(nn.ReLU(), wide, tall, norm(channels), nn.ReLU(), pointwise, norm(channels))


def pooled(channels: int, norm: Norm) -> nn.Module:
    """Return a branch of GDAS's fixed reduction cell: 3x3 max pooling of stride 2, normalisation."""
    return nn.Sequential(nn.MaxPool2d(3, 2, padding=1), norm(channels))
