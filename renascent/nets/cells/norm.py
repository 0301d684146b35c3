"""Batch normalisation by batch statistics, cheap to differentiate twice.

PyTorch composes the second derivative of batch normalisation from dozens of passes over the map; second-order DARTS
would spend most of its time there. The closed form below needs five.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from renascent.core.recursion import squaring
from renascent.nets.cells.mix import laid_out_like

EPS = 1e-5

_forward = torch.ops.aten.native_batch_norm
_backward = torch.ops.aten.native_batch_norm_backward


def scaled_norm(x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """Return scale x (x - mean) / sqrt(variance + 1e-5) + shift, mean and variance over (batch, h, w).

    x: (batch, channels, h, w).  scale, shift: (channels,), None for 1 and 0.

    >>> scaled_norm(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1), torch.tensor([2.0])).flatten()
    tensor([-2.0000,  2.0000])
    """
    if squaring():
        return F.batch_norm(x, None, None, scale, shift, training=True, eps=EPS)
    return _Norm.apply(x, scale, shift)  # type: ignore[no-any-return, no-untyped-call]


class BatchStatisticsNorm(nn.Module):
    """`BatchNorm2d` that always uses the statistics of its batch and keeps none, as a supernet must.

    scaled: whether its scale is learnt, or fixed at one.
    """

    def __init__(self, channels: int, scaled: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if scaled else None
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return scaled_norm(x, self.weight, self.bias)


class _Norm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        out, mean, rstd = _forward(x, scale, shift, None, None, True, 0.1, EPS)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, scale, shift, mean, rstd)
        return out  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> Any:
        if g is None:
            return None, None, None
        return _NormBackward.apply(g, *ctx.saved_tensors)  # type: ignore[no-untyped-call]


class _NormBackward(Function):
    """With z the normalised map, P h = h - mean(h) - z mean(h z) and V = P g / std:

    gx = scale V,  gscale = sum(g z),  gshift = sum(g).
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, scale: Tensor | None, shift: Tensor | None, mean: Tensor, rstd: Tensor
    ) -> Any:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, x, scale, mean, rstd)
        wanted = [True, scale is not None, shift is not None]
        gx, gscale, gshift = _backward(laid_out_like(x, g), x, scale, None, None, mean, rstd, True, EPS, wanted)
        return gx, gscale if wanted[1] else None, gshift if wanted[2] else None

    @staticmethod
    def backward(ctx: Any, h: Tensor | None, c: Tensor | None, e: Tensor | None) -> Any:
        """Differentiate <h, gx> + <c, gscale> + <e, gshift>; mean and rstd are functions of x, and go with it."""
        g, x, scale, mean, rstd = ctx.saved_tensors
        s = torch.ones_like(mean) if scale is None else scale
        h, c, e = (torch.zeros_like(like) if v is None else v for v, like in ((h, g), (c, mean), (e, mean)))
        count = x.numel() / x.shape[1]
        u, q_h, _ = _backward(laid_out_like(x, h), x, None, None, None, mean, rstd, True, EPS, [True, True, False])
        v, q_g, _ = _backward(laid_out_like(x, g), x, None, None, None, mean, rstd, True, EPS, [True, True, False])
        q_h, q_g = q_h / count, q_g / count
        dot = (h * v).sum((0, 2, 3))
        # <h, gx> = s dot, and d dot / dx = - rstd (z dot / count + q_g u + q_h v)
        of_z = -s * rstd * dot / count
        dx = _combine((x, of_z * rstd), (u, -s * rstd * q_g), (v, c - s * rstd * q_h), shift=-of_z * rstd * mean)
        dg = _combine((x, c * rstd), (u, s), shift=e - c * rstd * mean)
        return dg, dx, None if scale is None else dot, None, None, None


def _combine(*terms: tuple[Tensor, Tensor], shift: Tensor) -> Tensor:
    """Return the sum of maps times their factor per channel, plus a shift per channel."""
    (first, factor), *others = terms
    total = torch.addcmul(_column(shift), first, _column(factor))
    for value, factor in others:
        total.addcmul_(value, _column(factor))
    return total


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]
