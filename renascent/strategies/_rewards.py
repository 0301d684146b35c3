"""REINFORCE: learning from the reward of what was sampled."""

from torch import Tensor


def reinforce_loss(log_probability: Tensor, entropy: Tensor, reward: Tensor, baseline: Tensor, weight: float) -> Tensor:
    """Return a loss whose gradient estimates, without bias, that of - E[reward] - weight x (entropy of the policy).

    Williams, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning, 1992.
    All arguments are scalars, of one sample. entropy: summed over its decisions, each given those before it.

    >>> import torch
    >>> half = torch.tensor(0.5)
    >>> reinforce_loss(torch.tensor(-2.0), torch.tensor(0.0), half + half, half, 0.0)
    tensor(1.)
    """
    # The policy changes its entropy in two ways: directly, and by which decisions the others are then given. The
    # second needs the entropy in the reward.
    advantage = reward - baseline + weight * entropy.detach()
    return -advantage * log_probability - weight * entropy


def moving_average(old: Tensor | None, new: Tensor, decay: float) -> Tensor:
    """Return decay x old + (1 - decay) x new; `new` itself the first time.

    >>> import torch
    >>> moving_average(torch.tensor(1.0), torch.tensor(0.0), 0.9)
    tensor(0.9000)
    """
    return new if old is None else decay * old + (1 - decay) * new
