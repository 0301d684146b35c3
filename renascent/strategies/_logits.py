"""Logits over decisions, and what an architecture is by them."""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from renascent.core.rules import Group
from renascent.core.space import Arch, Space


class Logits(nn.Module):
    """One row of logits a decision, (decisions, options), shorter rows padded with -inf.

    They live on the CPU, so that drawing from them never waits for a device.
    """

    mask: Tensor

    def __init__(self, space: Space, rng: torch.Generator, std: float = 1e-3) -> None:
        super().__init__()
        self.space = space
        counts = space.counts
        self.logits = nn.Parameter(std * torch.randn(len(counts), max(counts), generator=rng))
        columns = torch.arange(max(counts))
        self.register_buffer("mask", columns >= torch.tensor(counts)[:, None], persistent=False)

    def forward(self) -> Tensor:
        return self.logits.masked_fill(self.mask, -torch.inf)

    def rows(self) -> dict[str, Tensor]:
        """Return the logits of each decision, (options,), detached."""
        rows = zip(self.space.decisions, self.space.counts, self.logits.detach(), strict=True)
        return {name: row[:count] for name, count, row in rows}

    def probabilities(self) -> dict[str, Tensor]:
        """Return the softmax of each decision, (options,)."""
        return {name: row.softmax(-1) for name, row in self.rows().items()}

    def best(self) -> Arch:
        """Return the architecture of the largest logits, by the space's own rule."""
        return self.space.discretise({name: row.numpy() for name, row in self.rows().items()})

    def log_probability(self, arch: Arch) -> Tensor:
        """Return the log-probability of a draw of `arch`, a scalar with gradient. Inactive decisions do not count."""
        active, groups = frozenset(self.space.active(arch)), self.space.groups
        bound = {int(place) for group in groups for place in group.places}
        rows = [k for k, name in enumerate(self.space.decisions) if name in active and k not in bound]
        picks, logits = self.space.indices(arch), self()
        free: Tensor = logits.log_softmax(-1)[rows, picks[rows].tolist()].sum()
        return free + sum(_log_probability_of_kept(logits, group, picks) for group in groups)

    def draw(self, rng: torch.Generator) -> Arch:
        """Sample an architecture by the softmax."""
        # the largest of logits plus Gumbel noise is a sample of the softmax, and discretising knows what is legal
        noise = {name: -torch.empty(len(row)).exponential_(generator=rng).log() for name, row in self.rows().items()}
        return self.space.discretise({name: (row + noise[name]).numpy() for name, row in self.rows().items()})


def _log_probability_of_kept(logits: Tensor, group: Group, picks: NDArray[np.int64]) -> Tensor:
    """Return the log-probability that perturbed logits keep these decisions of a group, with these options.

    The largest of an edge's perturbed logits is a Gumbel variable of their log-sum, whichever it is: edges are drawn
    without replacement in proportion to exp of that (Plackett-Luce), in any order, and an option of each by softmax.
    """
    options = torch.arange(logits.shape[1]) == torch.from_numpy(group.none)[:, None]
    own = logits[group.places.tolist()].masked_fill(options, -torch.inf)
    edges, chosen = own.logsumexp(-1), torch.from_numpy(picks[group.places])
    kept = np.flatnonzero(picks[group.places] != group.none).tolist()
    orders = []
    for order in itertools.permutations(kept):
        left = [[k for k in range(len(edges)) if k not in order[:place]] for place in range(len(order))]
        orders.append(
            sum((edges[k] - edges[rest].logsumexp(0) for k, rest in zip(order, left, strict=True)), edges.new_zeros(()))
        )
    return torch.stack(orders).logsumexp(0) + (own[kept, chosen[kept]] - edges[kept]).sum()
