"""A ReLU that keeps its input instead of its output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def rectify(x: Tensor) -> Tensor:
    """Return max(x, 0), saving x for the backward pass: less memory where x is kept in any case.

    >>> rectify(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return _Rectify.apply(x)  # type: ignore[no-any-return, no-untyped-call]


class _Rectify(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.relu(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(g, x, 0)  # type: ignore[no-any-return]
