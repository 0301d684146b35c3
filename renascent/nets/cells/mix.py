"""A weighted map added to a sum, cheap to differentiate twice and true to its memory layout."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from renascent.core.recursion import squaring

Map = Callable[[Tensor], Tensor]
Again = tuple[Map, Tensor]


def accumulate(total: Tensor | None, part: Tensor, weight: Tensor | None, again: Again | None = None) -> Tensor:
    """Return total + weight x part. total, part: (batch, channels, h, w), None for 0.  weight: scalar, None for 1.

    again: (f, x) with part = f(x), f cheap and x kept in any case: part is then computed again rather than kept.

    >>> accumulate(None, torch.full((1, 1, 1, 1), 3.0), torch.tensor(2.0)).item()
    6.0
    """
    if weight is not None and squaring():
        part, weight = part * weight, None
    if weight is not None:
        return _Weigh.apply(total, part, weight, *(again or (None, None)))  # type: ignore[no-any-return, no-untyped-call]
    return part if total is None else total + part


class _Weigh(Function):
    @staticmethod
    def forward(
        ctx: Any, total: Tensor | None, part: Tensor, weight: Tensor, f: Map | None, x: Tensor | None
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.f = f
        # a map is kept only where the weight wants a gradient
        kept = part if x is None else x
        ctx.save_for_backward(kept if ctx.needs_input_grad[2] else None, weight)
        return part * weight if total is None else torch.addcmul(total, part, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> Any:
        if g is None:
            return None, None, None, None, None
        kept, weight = ctx.saved_tensors
        of_total = g if ctx.needs_input_grad[0] else None
        if kept is None:
            return of_total, g * weight, None, None, None
        part = kept if ctx.f is None else ctx.f(kept)
        return of_total, *_WeighBackward.apply(g, part, weight), None, None  # type: ignore[no-untyped-call]


class _WeighBackward(Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, part: Tensor, weight: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        g = laid_out_like(part, g)
        ctx.save_for_backward(g, part, weight)
        return g * weight, dot(g, part)

    @staticmethod
    def backward(ctx: Any, h: Tensor | None, c: Tensor | None) -> Any:
        """Differentiate <h, weight g> + c <g, part>."""
        g, part, weight = ctx.saved_tensors
        of_h = None if h is None else h * weight
        of_c = None if c is None else part * c if of_h is None else of_h.addcmul_(part, c)
        return of_h if of_c is None else of_c, None if c is None else g * c, None if h is None else dot(h, g)


def laid_out_like(model: Tensor, value: Tensor) -> Tensor:
    """Return `value` in the memory layout of `model`: kernels are several times slower where layouts are mixed."""
    last = model.is_contiguous(memory_format=torch.channels_last)
    return value.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of two maps, a scalar, in one pass."""
    a, b = (laid_out_like(b, v) for v in (a, b))
    if b.is_contiguous(memory_format=torch.channels_last):
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.reshape(-1), b.reshape(-1))
