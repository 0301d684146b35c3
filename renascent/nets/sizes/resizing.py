"""A network of a chosen resolution, for images of any other: it resizes first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from renascent.nets.sizes.resolution import RESOLUTION, resize


class Resizing(nn.Module):
    """Resize (batch, channels, h, w) to (batch, channels, size, size), then run `net`.

    An extracted network takes images of its own resolution. Wrapped, it takes the data as they are, so that a student
    and its teacher can each see the same batch at a resolution of their own.

    net: the network.  size: side of its images in pixels.
    """

    def __init__(self, net: nn.Module, size: int) -> None:
        super().__init__()
        self.net, self.size = net, size

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, h, w) of any size to what `net` returns."""
        out: Tensor = self.net(resize(x, self.size))
        return out

    @property
    def drop_path(self) -> Any:
        """The network's own probability of dropping an edge. Raises AttributeError where it has none."""
        return self.net.drop_path

    @drop_path.setter
    def drop_path(self, value: float) -> None:
        self.net.drop_path = value  # type: ignore[assignment]


def at_resolution(net: nn.Module, arch: Mapping[str, object]) -> nn.Module:
    """Return `net`, made to resize first where `arch` has a resolution: what takes the data as they are.

    >>> import torch
    >>> at_resolution(nn.Flatten(), {"resolution": 2})(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 12])
    >>> at_resolution(nn.Flatten(), {})(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 192])
    """
    size = arch.get(RESOLUTION)
    return Resizing(net, size) if isinstance(size, int) else net


def resized(net: nn.Module) -> nn.Module:
    """Return the network inside a `Resizing`, or `net` where it is none: what takes images already resized."""
    return net.net if isinstance(net, Resizing) else net
