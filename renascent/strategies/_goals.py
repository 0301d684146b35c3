"""Budgets as strategies see them: how much of each bound is used, and what that adds to a loss or takes from a reward.

Costs are divided by their limits, so that no weight depends on a unit.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renascent.core.gates import Gates
from renascent.core.protocols import Goal, Metrics


def expected_usage(goals: Sequence[Goal], gates: Gates) -> Tensor:
    """Return the expected cost under `gates` over its limit, (goals,), float64, with gradient.

    >>> expected_usage([], {})
    tensor([], dtype=torch.float64)
    """
    found = [goal.cost(gates).double() / goal.limit for goal in goals]
    return torch.stack(found) if found else torch.zeros(0, dtype=torch.float64)


def exact_usage(goals: Sequence[Goal], rows: NDArray[np.integer]) -> Tensor:
    """Return the costs of architectures over their limits, (n, goals), float64. rows: option indices (n, decisions)."""
    found = [torch.from_numpy(goal.exact(rows) / goal.limit) for goal in goals]
    return torch.stack(found, 1) if found else torch.zeros(len(rows), 0, dtype=torch.float64)


def piecewise(usage: Tensor, derived: Tensor, tolerance: float) -> Tensor:
    """Return the cost loss of TAS, summed over goals, a scalar: Dong's thesis, Eq. 3.15; arXiv:1905.09717, Eq. 6.

    log E[R] where the architecture that would be derived now costs more than (1 + tolerance) R_t, -log E[R] where it
    costs less than (1 - tolerance) R_t, nothing between. The cost of that one decides, not the expected one: the two
    are far apart while the logits are near one another. R is taken in units of R_t, which changes no gradient.

    usage: (goals,), E[R] / R_t, with gradient.  derived: (goals,), R / R_t of the architecture that would be derived.

    >>> piecewise(torch.tensor([2.0, 2.0, 2.0]), torch.tensor([1.0, 1.5, 0.5]), 0.05)
    tensor(0.)
    >>> piecewise(torch.tensor([2.0]), torch.tensor([1.5]), 0.05)
    tensor(0.6931)
    """
    sign = (derived > 1 + tolerance).to(usage) - (derived < 1 - tolerance).to(usage)
    return (sign * usage.log()).sum()


def log_power(usage: Tensor, exponent: float) -> Tensor:
    """Return what FBNet's loss is multiplied by, log(cost)^exponent, the product over goals: a scalar.

    Wu et al., arXiv:1812.03443, Eq. 2, alpha = 1. The cost is taken in units of limit / e: that makes the factor 1 at
    the limit, and it stays 1 below, since a budget is there to be used.

    usage: (goals,), expected cost / limit.

    >>> log_power(torch.tensor([0.5, 1.0]), 0.6), log_power(torch.tensor([2.0]), 1.0)
    (tensor(1.), tensor(1.6931))
    """
    return torch.pow(1 + usage.clamp_min(1.0).log(), exponent).prod()


def costs(goals: Sequence[Goal], usage: Tensor) -> Metrics:
    """Return the cost behind each usage (goals,), in its unit, to be logged.

    >>> costs([Goal("macs", 4e6, lambda gates: gates, lambda rows: rows)], torch.tensor([0.5]))
    {'cost_macs': tensor(2000000.)}
    """
    return {f"cost_{goal.name}": used * goal.limit for goal, used in zip(goals, usage.detach(), strict=True)}
