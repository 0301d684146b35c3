"""Input resolution as a decision: the supernet resizes its input; an extracted network takes it resized already."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
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
