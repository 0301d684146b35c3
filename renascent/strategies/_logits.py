"""Logits over decisions, and what an architecture is by them."""

import torch
from torch import Tensor, nn

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
        """Return the log-probability of `arch`, a scalar with gradient. Inactive decisions do not count."""
        active = frozenset(self.space.active(arch))
        rows = [k for k, name in enumerate(self.space.decisions) if name in active]
        picks = self.space.indices(arch)[rows].tolist()
        probabilities: Tensor = self().log_softmax(-1)
        return probabilities[rows, picks].sum()

    def draw(self, rng: torch.Generator) -> Arch:
        """Sample an architecture by the softmax."""
        # the largest of logits plus Gumbel noise is a sample of the softmax, and discretising knows what is legal
        noise = {name: -torch.empty(len(row)).exponential_(generator=rng).log() for name, row in self.rows().items()}
        return self.space.discretise({name: (row + noise[name]).numpy() for name, row in self.rows().items()})
