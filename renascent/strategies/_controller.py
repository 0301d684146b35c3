"""An LSTM that writes an architecture, one decision after the other."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from renascent.core.space import Arch, Choice, Integer, Space


class Draw(NamedTuple):
    """picks: (batch, decisions) option indices, 0 where a decision is inactive.  active: (batch, decisions), bool.

    log_probability, entropy: (batch,), summed over active decisions.
    probabilities: (batch, decisions, options), each given the decisions before it.
    """

    picks: Tensor
    active: Tensor
    log_probability: Tensor
    entropy: Tensor
    probabilities: Tensor


class Controller(nn.Module):
    """Autoregressive policy over the decisions of a space: ENAS, arXiv:1802.03268, Sec. 2.1 and Appendix.

    Each decision's logits are tanh_constant x tanh(linear(LSTM output) / temperature).

    hidden: LSTM units a layer.  layers: LSTM layers.
    """

    def __init__(
        self,
        space: Space,
        rng: torch.Generator,
        *,
        hidden: int,
        layers: int,
        tanh_constant: float,
        temperature: float,
    ) -> None:
        super().__init__()
        self.space, self.counts = space, space.counts
        self.tanh_constant, self.temperature = tanh_constant, temperature
        self.start = nn.Parameter(torch.empty(1, 1, hidden))
        self.lstm = nn.LSTM(hidden, hidden, layers, batch_first=True)
        self.embedding = nn.Embedding(sum(self.counts), hidden)
        self.output = nn.Linear(hidden, max(self.counts))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.1, 0.1, generator=rng)

    def forward(self, batch: int = 1, rng: torch.Generator | None = None, picks: Tensor | None = None) -> Draw:
        """Draw `batch` architectures with `rng`, or read off those of `picks` (batch, decisions)."""
        batch = batch if picks is None else len(picks)
        token, memory, offset = self.start.expand(batch, -1, -1).contiguous(), None, 0
        chosen: dict[str, Tensor] = {}
        alive: dict[str, Tensor] = {}
        chances = []
        for k, (name, count) in enumerate(zip(self.space.decisions, self.counts, strict=True)):
            hidden, memory = self.lstm(token, memory)
            logits = self.tanh_constant * torch.tanh(self.output(hidden[:, 0, :])[:, :count] / self.temperature)
            chances.append(logits.log_softmax(-1))
            pick = torch.multinomial(chances[-1].exp(), 1, generator=rng)[:, 0] if picks is None else picks[:, k]
            alive[name] = self._active(name, chosen, alive, pick)
            # an inactive decision is read as its first option, so that equal networks have equal probabilities
            chosen[name] = pick * alive[name]
            token, offset = self.embedding(offset + chosen[name])[:, None, :], offset + count
        return _draw(torch.stack(list(chosen.values()), 1), torch.stack(list(alive.values()), 1), chances)

    def arch(self, picks: Tensor) -> Arch:
        """Return the architecture of one row of option indices, (decisions,).

        Where these break a rule, what is kept of them is drawn by its probability, always alike for the same row.
        """
        scores = nn.functional.one_hot(picks, max(self.counts)).double().numpy()
        if self.space.rules:
            with torch.no_grad():
                logs = self(picks=picks[None]).probabilities[0].double().log().numpy()
            noise = np.random.default_rng(picks.tolist()).gumbel(size=(len(picks), 1))
            scores = 1e3 * scores + logs + noise  # what was drawn goes before all else
        return self.space.from_indices(self.space.strongest(scores))

    @torch.no_grad()
    def marginals(self, draws: int = 256) -> Mapping[str, Tensor]:
        """Estimate how likely each option of each decision is, (options,), from always the same random numbers."""
        draw = self(draws, torch.Generator().manual_seed(0))
        # the LSTM's output for an inactive decision is ignored
        weight = torch.where(draw.active.any(0), draw.active.to(draw.probabilities), 1.0)[:, :, None]
        chances = (draw.probabilities * weight).sum(0) / weight.sum(0)
        return {n: row[:count] for n, row, count in zip(self.space.decisions, chances, self.counts, strict=True)}

    def _active(self, name: str, chosen: Mapping[str, Tensor], alive: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """Return for which of a batch a decision is active, (batch,), given those before it."""
        when = self.space.decisions[name].when
        if when is None:
            return torch.ones_like(like, dtype=torch.bool)
        above = self.space.decisions[when[0]]
        assert isinstance(above, Choice | Integer)
        wanted = torch.tensor([option in when[1] for option in above.options], device=like.device)
        return alive[when[0]] & wanted[chosen[when[0]]]


def _draw(picks: Tensor, active: Tensor, log_chances: list[Tensor]) -> Draw:
    taken = [row.gather(1, picks[:, k : k + 1])[:, 0] for k, row in enumerate(log_chances)]
    entropies = [-(row.exp() * row).sum(-1) for row in log_chances]
    width = max(row.shape[1] for row in log_chances)
    padded = [nn.functional.pad(row.exp(), (0, width - row.shape[1])) for row in log_chances]
    said = [(torch.stack(rows, 1) * active).sum(1) for rows in (taken, entropies)]
    return Draw(picks, active, said[0], said[1], torch.stack(padded, 1))
