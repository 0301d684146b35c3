"""Weighted sums of maps, true to their memory layout: one by one, cheap to differentiate twice; or several at once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

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
    """Return the inner product of two maps, a scalar, in one pass: in single precision where maps have less."""
    a, b = (laid_out_like(b, v) for v in (a, b))
    if b.is_contiguous(memory_format=torch.channels_last):
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    kind = torch.promote_types(b.dtype, torch.float32)
    return torch.dot(a.reshape(-1).to(kind), b.reshape(-1).to(kind))


PIECE = 2**16
"""Numbers of a map that are multiplied at once on a CPU: pieces of all maps are to stay in its cache."""


def weighted_sums(maps: Sequence[Tensor], weights: Tensor) -> tuple[Tensor, ...]:
    """Return sums over k of weights[:, k] maps[k], as one product of matrices: every map is read once for all of them.

    maps: of one shape, (batch, channels, h, w).  weights: (sums, maps).  Differentiable once.

    >>> maps = [torch.full((1, 1, 1, 1), value) for value in (2.0, 3.0)]
    >>> [out.item() for out in weighted_sums(maps, torch.tensor([[1.0, 1.0], [0.0, 2.0]]))]
    [5.0, 6.0]
    """
    if squaring():
        parts = [[x * weight for x, weight in zip(maps, row, strict=True)] for row in weights]
        return tuple(sum(row[1:], row[0]) for row in parts)
    maps = [x.to(weights.dtype) for x in maps]
    return _Product.apply(weights, *maps)  # type: ignore[no-any-return, no-untyped-call]


class _Product(Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(weights, *(maps if ctx.needs_input_grad[0] else ()))
        out = maps[0].new_empty(len(weights), maps[0].numel())
        for place, piece in _pieces(maps, maps[0]):
            torch.mm(weights, piece, out=out[:, place])
        return tuple(_unrolled(row, maps[0]) for row in out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        weights, *maps = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        like = maps[0] if maps else slopes[0]
        of_weights = torch.zeros_like(weights)
        of_maps = like.new_empty(weights.shape[1], like.numel()) if any(wanted[1:]) else None
        rolled = [_rolled(laid_out_like(like, x)) for x in maps]
        for place, g in _pieces(slopes, like):
            if of_maps is not None:
                torch.mm(weights.T, g, out=of_maps[:, place])
            for k, x in enumerate(rolled):
                of_weights[:, k] += g @ x[place]
        each = [None] * weights.shape[1] if of_maps is None else [_unrolled(row, like) for row in of_maps]
        return of_weights if wanted[0] else None, *each


def _pieces(maps: Sequence[Tensor], like: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield pieces of all maps as they lie in memory, (maps, numbers), with where they are."""
    rolled = [_rolled(laid_out_like(like, x)) for x in maps]
    count = len(rolled[0])
    step = PIECE if like.device.type == "cpu" else count
    for start in range(0, count, step):
        place = slice(start, min(start + step, count))
        yield place, torch.stack([x[place] for x in rolled])


def _rolled(x: Tensor) -> Tensor:
    last = x.is_contiguous(memory_format=torch.channels_last)
    return (x.permute(0, 2, 3, 1) if last else x).reshape(-1)


def _unrolled(row: Tensor, like: Tensor) -> Tensor:
    if not like.is_contiguous(memory_format=torch.channels_last):
        return row.view(like.shape)
    batch, channels, height, width = like.shape
    return row.view(batch, height, width, channels).permute(0, 3, 1, 2)
