"""Batch-normalised 1x1 convolution as one convolution.

A 1x1 convolution is linear in its input's channels, so mean and variance of its output follow from mean and
covariance of its input. Normalisation then folds into the kernel, and the map before it is never made.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from renascent.nets.norm import EPS


def folded(x: Tensor, kernel: Tensor, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the kernel (channels, channels_in) and shift (channels,) of a normalised 1x1 convolution.

    x: (batch, channels_in, h, w), whose statistics are used.  kernel: (channels, channels_in, 1, 1).
    scale: (channels,), None for 1.

    >>> x = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    >>> [round(float(t), 3) for t in folded(x, torch.ones(1, 1, 1, 1), torch.tensor([2.0]))]
    [2.0, -4.0]
    """
    rows, weights = matrix(x), kernel.flatten(1)
    mean = rows.mean(0)
    covariance = rows.T @ rows / len(rows) - torch.outer(mean, mean)
    variance = ((weights @ covariance) * weights).sum(1)
    factor = torch.rsqrt(variance + EPS)
    weights = weights * (factor if scale is None else factor * scale)[:, None]
    return weights, -weights @ mean


def pointwise(x: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """Return total + the 1x1 convolution of x with weights (channels, channels_in), without a map in between."""
    batch, _, height, width = x.shape
    out = torch.addmm(matrix(total), matrix(x), weights.T)
    return out.view(batch, height, width, -1).permute(0, 3, 1, 2)


def matrix(x: Tensor) -> Tensor:
    """Return a map as (pixels, channels): a view where it is channels_last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def alone(x: Tensor, weights: Tensor, shift: Tensor) -> Tensor:
    """Return the 1x1 convolution of x with weights (channels, channels_in), plus shift (channels,)."""
    return F.conv2d(x, weights[:, :, None, None], shift)
