"""Proximal steps: gradient descent that ends at exact zeros."""

from typing import NamedTuple

import torch
from torch import Tensor


def soft(z: Tensor, threshold: Tensor | float) -> Tensor:
    """Return sign(z) max(|z| - threshold, 0), elementwise: the proximal map of threshold x |z|.

    threshold: at least 0; a number, or of a shape that broadcasts to z's.

    >>> soft(torch.tensor([-3.0, 0.5, 2.0]), 1.0)
    tensor([-2.,  0.,  1.])
    """
    return z.sign() * (z.abs() - threshold).clamp_min(0)


def group_soft(z: Tensor, threshold: Tensor | float, dim: int) -> Tensor:
    """Return z max(1 - threshold / ||z||, 0), the proximal map of threshold x ||z||; a group shrinks or is all zero.

    dim: along which a group lies.  threshold: at least 0; a number, or of z's shape without `dim`.

    >>> group_soft(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.6, 0.8]]), 1.0, dim=1)
    tensor([[2.4000, 3.2000],
            [0.0000, 0.0000],
            [0.0000, 0.0000]])
    """
    norm = z.norm(dim=dim)
    # the factor of a group at zero is 0 / 0: it stays where it is
    factor = torch.where(norm > 0, soft(norm, threshold) / norm, torch.zeros_like(norm))
    return z * factor.unsqueeze(dim)


def heavy_step(
    z: Tensor, speed: Tensor, gradient: Tensor, penalty: Tensor | float, lr: float, momentum: float
) -> tuple[Tensor, Tensor]:
    """Take a step of SGD with momentum, then shrink groups along dimension 1: for loss + sum of penalty ||z||.

    Where a gradient stays, momentum takes 1 / (1 - momentum) steps of it at a time, and the penalty as many: by its
    single step it would be held to the loss with a weight of (1 - momentum) only.

    z: (decisions, places, ...).  speed, gradient: of its shape.  penalty: a number, or of z's shape without dimension
    1.  Returns z and speed.
    """
    speed = momentum * speed + gradient
    return group_soft(z - lr * speed, lr / (1 - momentum) * penalty, dim=1), speed


class Accelerated(NamedTuple):
    """Where accelerated proximal descent stands, each tensor of one shape.

    kept: S, the iterate, with exact zeros.  ahead: l, the look-ahead point, where gradients are taken.
    speed: v, what momentum carries on; 0 at first.
    """

    kept: Tensor
    ahead: Tensor
    speed: Tensor


def proximal_step(
    at: Accelerated, gradient: Tensor, lr: float, penalty: Tensor | float, momentum: float
) -> Accelerated:
    """Take one step of accelerated proximal gradient descent for loss + sum of penalty |l|: arXiv:1811.01567, Eqs 6-8.

    Momentum is added after the threshold, so that l may be nonzero where S is zero: S says what is pruned.

    gradient: of the loss at `at.ahead`, of its shape.  penalty: at least 0; a number, or one for each scale.
    """
    kept = soft(at.ahead - lr * gradient, lr * penalty)
    speed = kept - at.ahead + momentum * at.speed
    return Accelerated(kept, kept + momentum * speed, speed)
