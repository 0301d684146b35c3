"""Candidate operations by name, as plain modules: NAS-Bench-201, arXiv:2001.00326, Sec. 2.1."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from renascent.core.codecs.nats_topology import OPERATIONS
from renascent.core.decisions import Value
from renascent.core.errors import unknown
from renascent.nets.sizes.units import Convolution

CONVOLUTIONS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
"""Name of a ReLU-convolution-BN operation -> its kernel size."""

Norm = Callable[[int], nn.Module]
"""Channels -> a batch normalisation."""


class Zero(nn.Module):
    """No connection: zeros of the input's shape, its height and width over `stride`."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride].mul(0.0) if self.stride > 1 else x.mul(0.0)


class Residual(nn.Module):
    """What is inside, added to its input."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)  # type: ignore[no-any-return]


class Parallel(nn.ModuleList):
    """Modules that read one map, added up."""

    def forward(self, x: Tensor) -> Tensor:
        parts = [module(x) for module in self]
        return sum(parts[1:], parts[0])  # type: ignore[no-any-return]


NOTHING = "none"
"""The operation that stands where no option is chosen: `Zero`."""


def together(value: Value, build: Callable[[str], nn.Module]) -> nn.Module:
    """Return what stands at a decision: its option, or the sum of the chosen options of a `Subset`."""
    if not isinstance(value, tuple):
        return build(str(value))
    return Parallel(map(build, value)) if len(value) > 1 else build(value[0] if value else NOTHING)


def residual(inside: nn.Module) -> nn.Module:
    """Add a shortcut around a module; where that is `Zero`, it is left out, and the input passes on."""
    return nn.Identity() if isinstance(inside, Zero) else Residual(inside)


class ConvBN(nn.Sequential):
    """Convolution without bias, batch normalisation, and the activation if there is one."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        active: nn.Module | None = None,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        conv = Convolution(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.add_module("conv", conv)
        self.add_module("bn", norm(channels))
        if active is not None:
            self.add_module("active", active)


class ReLUConvBN(nn.Sequential):
    """ReLU, convolution without bias, batch normalisation."""

    def __init__(
        self, channels_in: int, channels: int, kernel: int, stride: int = 1, norm: Norm = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        self.add_module("relu", nn.ReLU())
        self.add_module("conv", nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False))
        self.add_module("bn", norm(channels))


def operation(name: str, channels: int) -> nn.Module:
    """Return the operation called `name`, mapping (batch, channels, h, w) to the same shape.

    Raises UserError for a name that is not in `OPERATIONS`.

    >>> operation("nor_conv_3x3", 4).conv.kernel_size
    (3, 3)
    """
    if name in CONVOLUTIONS:
        return ReLUConvBN(channels, channels, CONVOLUTIONS[name])
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    if name == "skip_connect":
        return nn.Identity()
    if name == "none":
        return Zero()
    raise unknown("operation", name, OPERATIONS)


class ResidualDown(nn.Module):
    """Residual block that halves the map and changes the width: the fixed cell between two stages."""

    def __init__(self, channels_in: int, channels: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(channels_in, channels, 3, 2, norm)
        self.conv_b = ReLUConvBN(channels, channels, 3, 1, norm)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels_in, channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.conv_b(self.conv_a(x))  # type: ignore[no-any-return]


def drop_paths(out: Tensor, probability: float) -> Tensor:
    """Drop what an edge brings for some images, and scale up the others: FractalNet, arXiv:1605.07648.

    out: (batch, channels, h, w).

    >>> drop_paths(torch.ones(1, 1, 1, 1), 0.0)
    tensor([[[[1.]]]])
    """
    if probability <= 0:
        return out
    keep = 1 - probability
    return out * (torch.rand(len(out), 1, 1, 1, device=out.device, dtype=out.dtype) < keep) / keep
