"""Evolution strategies on option indices: noise, the gradient's estimate, and the probabilities of a floored
Gaussian."""

import torch
from scipy.stats import rankdata
from torch import Tensor


def gaussian(count: int, decisions: int, sigma: float, rng: torch.Generator, *, antithetic: bool = False) -> Tensor:
    """Return noise (count, decisions), float64. antithetic: the second half is minus the first; count is rounded up."""
    drawn = (count + 1) // 2 if antithetic else count
    noise = sigma * torch.randn(drawn, decisions, generator=rng, dtype=torch.float64)
    return torch.cat([noise, -noise]) if antithetic else noise


def estimate(change: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Return 1 / (sigma M) sum_i change_i noise_i, (decisions,): sigma times the gradient of the smoothed loss.

    Salimans, Ho, Chen, Sidor and Sutskever, arXiv:1703.03864, Sec. 2; Wierstra et al., arXiv:1106.4487, Eq. 2.
    change: (M,), of the loss.  noise: (M, decisions), zero where a decision had no say.

    >>> estimate(torch.tensor([1.0, -1.0]), torch.tensor([[0.5], [-0.5]]), 0.5)
    tensor([1.])
    """
    return change @ noise / (sigma * len(noise))


def centred_ranks(values: Tensor) -> Tensor:
    """Return ranks from -1/2 to 1/2, (M,), equal values sharing one: arXiv:1703.03864, Sec. 2.1.

    >>> centred_ranks(torch.tensor([3.0, 1.0, 1.0]))
    tensor([ 0.5000, -0.2500, -0.2500])
    """
    ranks = torch.from_numpy(rankdata(values.numpy())).to(values)
    return (ranks - 1) / max(len(values) - 1, 1) - 0.5


def floored(mean: Tensor, sigma: float, count: int) -> Tensor:
    """Return how likely each of `count` options is floor(mean + sigma n), n ~ N(0, 1), ends included, (count,).

    >>> floored(torch.tensor(1.5), 0.0, 3).tolist(), floored(torch.tensor(1.0), 1.0, 2).tolist()
    ([0.0, 1.0, 0.0], [0.5, 0.5])
    """
    if sigma == 0:
        return torch.nn.functional.one_hot(mean.floor().long(), count).to(mean)
    edges = torch.arange(1, count, device=mean.device)
    below = torch.special.ndtr((edges - mean) / sigma)
    ends = below.new_tensor([0.0]), below.new_tensor([1.0])
    return torch.diff(below, prepend=ends[0], append=ends[1])
