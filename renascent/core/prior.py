"""Automatic relevance determination: how a Gaussian prior learns its variance, and with it what is worth nothing."""

import torch
from torch import Tensor


def relevance(curvature: Tensor, variance: Tensor, shrinkage: float, dim: int) -> Tensor:
    """Return omega, the weight of each group's norm in the next penalty: BayesNAS, arXiv:1905.04123, Eqs 4-2 and 4-3.

    alpha = 1/gamma - C/gamma^2 with C the posterior variance, written without their cancellation, and omega the root of
    its sum over a group. The curvature is that of the mean loss; divided by lambda it is that of the likelihood,
    exp(-loss / lambda), whose penalised form is loss + lambda sum omega ||w||.

    curvature: H of each scale, at least 0; `dim` is along which a group lies.
    variance: gamma of each group, at least 0, of curvature's shape without `dim`.
    shrinkage: lambda, above 0.  Returns (as variance), float64.

    >>> relevance(torch.ones(1, 2), torch.tensor([0.75]), 0.25, dim=1)
    tensor([1.4142], dtype=torch.float64)
    """
    precision = curvature.double() / shrinkage
    alpha = precision / (1 + variance.double().unsqueeze(dim) * precision)
    return alpha.sum(dim).sqrt()


def switches(scales: Tensor, omega: Tensor, dim: int) -> Tensor:
    """Return s = ||w|| / omega of each group, the prior variance that a group has by itself: Eq. 4-4.

    0 where the group is zero, and infinity where it is not and nothing bends the loss along it.

    scales: w; `dim` is along which a group lies.  omega: of its shape without `dim`.  Returns (as omega), float64.

    >>> switches(torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]]), torch.tensor([2.0, 0.0, 0.0]), dim=1)
    tensor([2.5000, 0.0000,    inf], dtype=torch.float64)
    """
    norm = scales.double().norm(dim=dim)
    return torch.where(norm > 0, norm / omega.double(), torch.zeros_like(norm))
