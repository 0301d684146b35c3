"""Batch-normalised 1x1 convolution as one convolution.

A 1x1 convolution is linear in its input's channels, so mean and variance of its output follow from mean and
covariance of its input. Normalisation then folds into the kernel, and the map before it is never made.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from renascent.core.devices import autocast_as
from renascent.nets.cells.conv import convolution_slopes
from renascent.nets.cells.norm import EPS


def folded(x: Tensor, kernel: Tensor, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the kernel (channels, channels_in) and shift (channels,) of a normalised 1x1 convolution.

    x: (batch, channels_in, h, w), whose statistics are used.  kernel: (channels, channels_in, 1, 1).
    scale: (channels,), None for 1.

    >>> x = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    >>> [round(float(t), 3) for t in folded(x, torch.ones(1, 1, 1, 1), torch.tensor([2.0]))]
    [2.0, -4.0]
    """
    weights = kernel.flatten(1)
    with autocast_as(x.device, None):  # statistics are not those of rounded numbers
        mean, covariance = _Moments.apply(matrix(x).to(weights.dtype))  # type: ignore[no-untyped-call]
        # rounding may leave a negative variance if channels nearly cancel
        variance = ((weights @ covariance) * weights).sum(1).clamp(min=0)
        factor = torch.rsqrt(variance + EPS)
        weights = weights * (factor if scale is None else factor * scale)[:, None]
        return weights, -weights @ mean


class _Moments(Function):
    """Mean (channels,) and covariance (channels, channels) of rows (pixels, channels); keeps nothing but the rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(rows)
        mean = rows.mean(0)
        # centred first: E[x x'] - mean mean' would cancel where a mean is large beside its deviation
        centred = rows - mean
        return mean, _gram(centred) / len(rows)

    @staticmethod
    def backward(ctx: Any, of_mean: Tensor, of_covariance: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        slope = (of_covariance + of_covariance.T) / len(rows)
        return torch.addmm(of_mean / len(rows) - rows.mean(0) @ slope, rows, slope)


BLOCK = 512
"""Rows that are added up in one running sum."""


def _gram(rows: Tensor) -> Tensor:
    """Return rows' rows, (channels, channels), of (pixels, channels).

    In blocks: a running sum in single precision over a hundred thousand pixels is off by a thousandth, and the variance
    of an output whose inputs nearly cancel is smaller than that.
    """
    whole = len(rows) // BLOCK * BLOCK
    blocks, rest = rows[:whole].reshape(-1, BLOCK, rows.shape[1]), rows[whole:]
    return torch.bmm(blocks.mT, blocks).sum(0) + rest.T @ rest


def pointwise(x: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """Add the 1x1 convolution of x with weights (channels, channels_in) to `total`, in place, and return that.

    total: (batch, channels, h, w), a map whose values no backward pass needs.
    """
    return _Pointwise.apply(x.to(total.dtype), weights.to(total.dtype), total)  # type: ignore[no-any-return, no-untyped-call]


class _Pointwise(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, total: Tensor) -> Tensor:
        ctx.save_for_backward(x, weights)
        ctx.mark_dirty(total)
        if total.is_contiguous(memory_format=torch.channels_last):
            matrix(total).addmm_(matrix(x), weights.T)  # in one pass
            return total
        return total.add_(convolve_1x1(x, weights))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weights = ctx.saved_tensors
        of_x, of_kernel = convolution_slopes(g, x, weights[:, :, None, None], (True, True))
        return of_x, of_kernel.flatten(1), g


def matrix(x: Tensor) -> Tensor:
    """Return a map as (pixels, channels): a view where it is channels_last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def convolve_1x1(x: Tensor, weights: Tensor, shift: Tensor | None = None) -> Tensor:
    """Return the 1x1 convolution of x with weights (channels, channels_in), plus shift (channels,), None for 0."""
    return F.conv2d(x, weights[:, :, None, None], shift)
