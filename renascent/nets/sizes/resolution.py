"""Input resolution as a decision: the supernet resizes its input; an extracted network takes it resized already."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from renascent.core.errors import UserError
from renascent.core.space import Integer

RESOLUTION = "resolution"
"""Name of the decision in every space that has it."""


def resize(x: Tensor, size: int) -> Tensor:
    """Return images (batch, channels, h, w) as (batch, channels, size, size), bilinear; themselves if they are so.

    >>> import torch
    >>> resize(torch.zeros(2, 3, 8, 8), 4).shape
    torch.Size([2, 3, 4, 4])
    """
    if x.shape[-2:] == (size, size):
        return x
    return functional.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)


def input_shape(arch: Mapping[str, object], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the shape (channels, h, w) of the input that the network of `arch` takes, for data of `shape`.

    >>> input_shape({"resolution": 16}, (3, 32, 32)), input_shape({}, (3, 32, 32))
    ((3, 16, 16), (3, 32, 32))
    """
    size = arch.get(RESOLUTION)
    return (shape[0], size, size) if isinstance(size, int) else shape


def resolutions(lowest: int, highest: int, step: int) -> dict[str, Integer]:
    """Return the decision by its name; nothing where there is one resolution only, which is the data's own.

    lowest, highest: side of the images in pixels.  Raises UserError for an empty range.

    >>> resolutions(16, 32, 8), resolutions(32, 32, 1)
    ({'resolution': Integer(options=(16, 24, 32), when=None)}, {})
    """
    if not 1 <= lowest <= highest or step < 1:
        span = f"from {lowest} to {highest} pixels in steps of {step}"
        raise UserError(f"there is no resolution {span}: give 1 <= lowest <= highest and a step of at least 1")
    return {RESOLUTION: Integer.range(lowest, highest, step)} if lowest + step <= highest else {}


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
