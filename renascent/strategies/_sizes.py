"""Sizes under gates: those that come one at a time, and the warm-up in which all filters are trained."""

from __future__ import annotations

import torch
from torch import Tensor

from renascent.core.errors import UserError
from renascent.core.gates import Gate, Gates, gumbel_hard
from renascent.core.protocols import Progress, State
from renascent.core.space import Integer, Space
from renascent.strategies._rewards import moving_average, reinforce_loss

ONE_AT_A_TIME = frozenset({"resolution"})
"""Decisions that a network can follow for one option only: there is no sum of images of several sizes."""

BASELINE_DECAY = 0.95
"""Of the moving average of losses to which that of the drawn option is compared."""


def refuse_resolution(space: Space, strategy: str) -> None:
    """Raise UserError for a decision of which a strategy that learns from sums would learn nothing."""
    for name in ONE_AT_A_TIME.intersection(space.decisions):
        raise UserError(
            f"{strategy} learns nothing of '{name}', of which a network follows one option at a time: "
            "allow one size only, or use nes, tas, fbnetv2, tunas, enas or rsps"
        )


def alone(space: Space, gates: Gates, logits: Tensor, rng: torch.Generator) -> Gates:
    """Return `gates`, resolution's replaced by one option drawn by its softmax. logits: (decisions, options)."""
    names = ONE_AT_A_TIME.intersection(space.decisions)
    if not names:
        return gates
    hard = gumbel_hard(space, logits.detach(), 1.0, rng)
    return {name: hard[name] if name in names else gate for name, gate in gates.items()}


def drawn_loss(s: State, gates: Gates, logits: Tensor, loss: Tensor) -> Tensor:
    """Return a scalar whose gradient is that of the expected loss along the logits of what was drawn `alone`.

    The network's output says nothing of the options that were not drawn, so this is REINFORCE, with a moving baseline.
    Zero where nothing was. logits: (decisions, options), with gradient.  loss: of the network under `gates`.
    """
    rows = [k for k, name in enumerate(s.setup.space.decisions) if name in ONE_AT_A_TIME]
    if not rows:
        return torch.zeros_like(loss)
    picks = [gates[name].active[0] for name in s.setup.space.decisions if name in ONE_AT_A_TIME]
    chance = logits.log_softmax(-1)[rows, picks].sum()
    reward = -loss.detach().to(chance)
    s.extra["baseline"] = moving_average(s.extra.get("baseline"), reward, BASELINE_DECAY)
    return reinforce_loss(chance, torch.zeros_like(chance), reward, s.extra["baseline"], 0.0).to(loss)


def warmed(space: Space, gates: Gates, t: Progress, share: float, rng: torch.Generator) -> Gates:
    """Return the gates of a weight step: in the first `share` of a search sometimes those of all filters.

    Their chance falls linearly from 1 to 0, so that also the filters that only wide networks have get trained:
    TuNAS, Bender et al., arXiv:2008.06120, Sec. 5.
    """
    if t.fraction >= share:
        return gates
    if float(torch.rand((), generator=rng)) >= 1 - t.fraction / share:
        return gates
    return all_filters(space, gates)


def all_filters(space: Space, gates: Gates) -> Gates:
    """Return `gates` with every size at its largest; other choices, and resolution, stay as they are.

    >>> from renascent.core.gates import one_hot
    >>> space = Space({"width": Integer((8, 16))})
    >>> all_filters(space, one_hot(space, space.arch({"width": 8})))["width"].active
    (1,)
    """
    sizes = {name for name, decision in space.decisions.items() if isinstance(decision, Integer)} - ONE_AT_A_TIME
    return {name: _last(gate) if name in sizes else gate for name, gate in gates.items()}


def _last(gate: Gate) -> Gate:
    weight = torch.zeros_like(gate.weight.detach())
    weight[-1] = 1.0
    return Gate(weight, (len(weight) - 1,))
