"""Curvature of a classification loss along single parameters, taken by one more backward pass."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from renascent.core.errors import UserError


def signed_factor(logits: Tensor, rng: torch.Generator) -> Tensor:
    """Return a random v (batch, classes) with E[v v^T] = diag(p) - p p^T of each image, p its softmax.

    That is the Hessian of cross-entropy in the logits, whatever the labels: v = sqrt(p) e - p sum_c sqrt(p_c) e_c with
    random signs e. Images are independent, so that one backward pass from v for all of them, squared, is in expectation
    the sum over images.

    logits: (batch, classes).  rng: on the CPU.  Returns no gradient.

    >>> v = signed_factor(torch.zeros(2, 4), torch.Generator().manual_seed(0))
    >>> v.shape, bool((v.sum(1).abs() < 1e-6).all())
    (torch.Size([2, 4]), True)
    """
    signs = 2.0 * torch.randint(2, logits.shape, generator=rng) - 1.0
    return weighted_factor(logits, signs)


def weighted_factor(logits: Tensor, weights: Tensor) -> Tensor:
    """Return sum_c weights_c u_c of each image, (batch, classes), with u_c = sqrt(p_c) (onehot_c - p).

    The sum over classes of u_c u_c^T is diag(p) - p p^T: with weights that are one-hot it is taken class by class.
    """
    p = logits.detach().softmax(-1)
    rooted = p.sqrt() * weights.to(p)
    return rooted - p * rooted.sum(-1, keepdim=True)


def squared_slopes(logits: Tensor, parameters: Sequence[Tensor], rng: torch.Generator) -> list[Tensor]:
    """Return one draw of the curvature of the mean loss along each entry of `parameters`, of their shapes.

    Its mean over draws is the diagonal of the Gauss-Newton Hessian, and never negative. That is the Hessian's own where
    the logits are piecewise linear in the parameter (ReLU, max pooling, convolution, normalisation with its statistics
    held) and each image passes through it once; a scale that is used at two places on one path is not such. The
    relative deviation of a draw is about 1.4. The graph of `logits` is kept.

    Raises UserError where there is no row of logits for each image.
    """
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise UserError(
            f"curvature is that of a classification, and the network's output has the shape {tuple(logits.shape)}: "
            "give a task whose networks return (batch, classes), 2 classes or more"
        )
    factor = signed_factor(logits, rng)
    if not logits.requires_grad:
        return [torch.zeros_like(p) for p in parameters]
    slopes = torch.autograd.grad(logits, parameters, factor, retain_graph=True, materialize_grads=True)
    return [slope.square() / len(logits) for slope in slopes]


class Recorded:
    """A network that keeps what it returned last: the logits behind a loss, whatever the task makes of them."""

    logits: Tensor

    def __init__(self, net: Callable[..., Tensor]) -> None:
        self.net = net

    def __call__(self, *given: Any) -> Tensor:
        self.logits = self.net(*given)
        return self.logits


def gather(extra: dict[str, Tensor], draw: Tensor) -> None:
    """Add a draw to the sum in `State.extra`, which is saved and resumed with all else; float64."""
    held = extra.get("curvature_sum", torch.zeros_like(draw, dtype=torch.float64))
    extra["curvature_sum"] = held + draw.detach().to(held)
    extra["curvature_draws"] = extra.get("curvature_draws", torch.tensor(0)) + 1


def gathered(extra: dict[str, Tensor]) -> Tensor:
    """Return the mean of all draws, and begin anew.

    >>> extra = {}
    >>> gather(extra, torch.tensor([1.0]))
    >>> gather(extra, torch.tensor([2.0]))
    >>> gathered(extra), extra
    (tensor([1.5000], dtype=torch.float64), {})
    """
    return extra.pop("curvature_sum") / extra.pop("curvature_draws")
