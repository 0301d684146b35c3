"""Logits over decisions, and the choice of the best of many samples: pieces that several strategies share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.gates import Gates, one_hot
from renascent.core.protocols import Score
from renascent.core.space import Arch, Space, Subset


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
        """Return the logarithm of the chance of `arch`, a scalar with gradient. What is inactive in it has no say."""
        active = frozenset(self.space.active(arch))
        rows = [k for k, name in enumerate(self.space.decisions) if name in active]
        picks = self.space.indices(arch)[rows].tolist()
        chances: Tensor = self().log_softmax(-1)
        return chances[rows, picks].sum()

    def draw(self, rng: torch.Generator) -> Arch:
        """Sample an architecture by the softmax."""
        # the largest of logits plus Gumbel noise is a sample of the softmax, and discretising knows what is legal
        noise = {name: -torch.empty(len(row)).exponential_(generator=rng).log() for name, row in self.rows().items()}
        return self.space.discretise({name: (row + noise[name]).numpy() for name, row in self.rows().items()})


def refuse_subsets(space: Space, strategy: str) -> None:
    """Raise UserError for a decision that can have several options at once."""
    for name, decision in space.decisions.items():
        if isinstance(decision, Subset):
            raise UserError(
                f"decision '{name}' is a Subset, and {strategy} takes one option of each decision: "
                "use Choice or Integer, or another strategy"
            )


def adam(policy: nn.Module, lr: float, weight_decay: float) -> torch.optim.Adam:
    """Return the papers' optimiser of architecture parameters: betas 0.5 and 0.999 (DARTS, arXiv:1806.09055, A.1)."""
    return torch.optim.Adam(policy.parameters(), lr=lr, betas=(0.5, 0.999), weight_decay=weight_decay)


def uniform(space: Space, rng: torch.Generator) -> Arch:
    """Sample an architecture uniformly."""
    seed = int(torch.randint(2**62, (), generator=rng))
    return space.sample(np.random.default_rng(seed))


def uniform_gates(space: Space, rng: torch.Generator) -> Gates:
    """Return the gates of a uniformly sampled architecture."""
    return one_hot(space, uniform(space, rng))


def even(space: Space) -> Mapping[str, Tensor]:
    """Return equal probabilities for every option of every decision."""
    counts = zip(space.decisions, space.counts, strict=True)
    return {name: torch.full((count,), 1 / count) for name, count in counts}


def best_of(samples: int, draw: Callable[[], Arch], score: Score) -> Arch:
    """Draw `samples` architectures and return the one that scores highest; the first of equals."""
    scores: dict[Arch, float] = {}
    for arch in (draw() for _ in range(samples)):
        if arch not in scores:
            scores[arch] = score(arch)
    return max(scores, key=scores.__getitem__)
