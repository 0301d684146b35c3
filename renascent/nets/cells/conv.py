"""Convolution that is cheap to differentiate twice.

PyTorch's second derivative of a convolution transposes and copies whole maps; the three convolutions it consists of
need none of that.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from renascent.core.devices import lowered


def convolve(x: Tensor, kernel: Tensor, stand_in: Tensor | None = None) -> Tensor:
    """Return the convolution of x (batch, channels_in, h, w) with kernel (channels, channels_in, k, k), k odd.

    Stride 1, zeros around the map so that it keeps its size, no bias.
    stand_in: a map of x's shape and layout that is kept in any case. It is saved in place of x if the kernel takes no
    gradient, as in an architecture step: the values of x are not needed then.

    >>> convolve(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 3, 3)).flatten()
    tensor([4., 4., 4., 4.])
    """
    if kind := lowered(x.device):  # which PyTorch's own functions do by themselves, and a `Function` does not
        x, kernel, stand_in = x.to(kind), kernel.to(kind), stand_in if stand_in is None else stand_in.to(kind)
    return _Convolve.apply(x, kernel, stand_in)  # type: ignore[no-any-return, no-untyped-call]


def convolution_slopes(g: Tensor, x: Tensor, kernel: Tensor, wanted: tuple[bool, bool]) -> tuple[Any, Any]:
    """Return d <g, convolve(x, kernel)> / d x and / d kernel, each where wanted, else None; differentiable."""
    return _ConvolveBackward.apply(g, x, kernel, wanted)  # type: ignore[no-any-return, no-untyped-call]


def _pad(kernel: Tensor) -> int:
    return kernel.shape[-1] // 2


def _slopes(g: Tensor, x: Tensor, kernel: Tensor, wanted: tuple[bool, bool]) -> tuple[Tensor | None, Tensor | None]:
    """Return d <g, conv(x, kernel)> / d x and / d kernel, each where wanted."""
    pad = _pad(kernel)
    gx, gk, _ = torch.ops.aten.convolution_backward(
        g, x, kernel, None, [1, 1], [pad, pad], [1, 1], False, [0, 0], 1, [*wanted, False]
    )
    return gx if wanted[0] else None, gk if wanted[1] else None


class _Convolve(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, stand_in: Tensor | None) -> Tensor:
        ctx.set_materialize_grads(False)
        values_matter = stand_in is None or ctx.needs_input_grad[1]
        ctx.save_for_backward(x if values_matter else stand_in, kernel)
        return F.conv2d(x, kernel, padding=_pad(kernel))

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> Any:
        if g is None:
            return None, None, None
        x, kernel = ctx.saved_tensors
        return *convolution_slopes(g, x, kernel, (wants(ctx, 0), wants(ctx, 1))), None


class _ConvolveBackward(Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, kernel: Tensor, wanted: tuple[bool, bool]) -> Any:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, x, kernel)
        return _slopes(g, x, kernel, wanted)

    @staticmethod
    def backward(ctx: Any, hx: Tensor | None, hk: Tensor | None) -> Any:
        """Differentiate <hx, gx> + <hk, gk> = <g, conv(hx, kernel) + conv(x, hk)>, which is linear in each."""
        g, x, kernel = ctx.saved_tensors
        of_g = [F.conv2d(a, b, padding=_pad(b)) for a, b in ((hx, kernel), (x, hk)) if a is not None and b is not None]
        dg = of_g[0] if len(of_g) == 1 else of_g[0].add_(of_g[1]) if of_g else None
        dx = _slopes(g, x, hk, (True, False))[0] if hk is not None and wants(ctx, 1) else None
        dk = _slopes(g, hx, kernel, (False, True))[1] if hx is not None and wants(ctx, 2) else None
        return dg, dx, dk, None


def wants(ctx: Any, k: int) -> bool:
    """Return whether the backward pass under way will use the gradient of input k.

    PyTorch spares its own operations a gradient that nobody asked for; a `Function` only knows what might be asked for.
    If the engine does not say, the answer is yes, which costs time but is never wrong.
    """
    if not ctx.needs_input_grad[k]:
        return False
    ask = getattr(torch._C, "_will_engine_execute_node", None)
    try:
        return ask is None or bool(ask(ctx.next_functions[k][0]))
    except RuntimeError:  # a leaf that was asked for by name
        return True
