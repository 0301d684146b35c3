"""Sizes under gates: the step they share, those that are one-hot only, and the warm-up in which all filters train."""

from typing import Protocol

import torch
from torch import Tensor

from renascent.core.gates import ONE_HOT_DECISIONS, Gate, Gates, gumbel_hard, soft
from renascent.core.protocols import Data, Metrics, Progress, Setup, State
from renascent.core.space import Integer, Space
from renascent.strategies._bilevel import (
    DARTS_BETAS,
    Bilevel,
    Logits,
    arch_due,
    arch_step,
    logits_state,
    weight_step,
)
from renascent.strategies._goals import costs, expected_usage
from renascent.strategies._rewards import moving_average, reinforce_loss

BASELINE_DECAY = 0.95
"""Decay of the moving average of losses, the baseline of REINFORCE."""


class SizeStrategy(Bilevel, Protocol):
    """What differs between strategies that mix sampled sizes.

    arch_every: weight steps to one architecture step.
    filter_warmup: share of the search in which weight steps may train all filters.
    policy_warmup: share of the search before the logits learn.
    """

    @property
    def arch_every(self) -> int: ...

    @property
    def filter_warmup(self) -> float: ...

    @property
    def policy_warmup(self) -> float: ...

    def sample(self, s: State[Logits], logits: Tensor, t: Progress) -> Gates:
        """Draw gates by logits (decisions, options)."""

    def charge(self, s: State[Logits], loss: Tensor, usage: Tensor) -> Tensor:
        """Return what logits minimise. usage: expected cost / limit of each goal, (goals,), float64, with gradient."""


def size_state(strategy: SizeStrategy, setup: Setup) -> State[Logits]:
    """Be a method `init`: logits that learn by Adam as in DARTS, in architecture steps only."""
    return logits_state(strategy, setup, strategy.arch_weight_decay, DARTS_BETAS, every=strategy.arch_every)


def size_step(strategy: SizeStrategy, s: State[Logits], data: Data, t: Progress) -> Metrics:
    """Be a method `step`: train the weights at a sample and, where due, the logits at another, charged its cost."""

    def drawn(logits: Tensor) -> Gates:
        return sample_resolution(s.space, strategy.sample(s, logits, t), logits, s.rng)

    gates = with_filter_warmup(s.space, drawn(s.policy()), t, strategy.filter_warmup, s.rng)
    metrics = weight_step(s, data.train.next(), gates, t)
    if not arch_due(t, strategy.policy_warmup, strategy.arch_every):
        return metrics
    logits = s.policy()
    gates = drawn(logits)
    usage = expected_usage(s.setup.goals, soft(s.space, logits))

    def charged(loss: Tensor) -> Tensor:
        return strategy.charge(s, loss + resolution_reinforce_loss(s, gates, logits, loss), usage)

    metrics |= arch_step(s, data.val.next(), gates, charged)
    return metrics | costs(s.setup.goals, usage)


def sample_resolution(space: Space, gates: Gates, logits: Tensor, rng: torch.Generator) -> Gates:
    """Return `gates` with the resolution's gate replaced by one sampled option. logits: (decisions, options)."""
    names = ONE_HOT_DECISIONS.intersection(space.decisions)
    if not names:
        return gates
    hard = gumbel_hard(space, logits.detach(), 1.0, rng)
    return {name: hard[name] if name in names else gate for name, gate in gates.items()}


def resolution_reinforce_loss(s: State[Logits], gates: Gates, logits: Tensor, loss: Tensor) -> Tensor:
    """Return a zero whose gradient is that of the expected loss along the logits of the sampled resolution.

    The output has no gradient for options that were not sampled, so this is REINFORCE, with a moving baseline. Added
    to the loss, it takes part in what is made of that: a factor, a sum. No gradient if no resolution is decided.

    logits: (decisions, options), with gradient.  loss: of the network under `gates`.
    """
    rows = [k for k, name in enumerate(s.space.decisions) if name in ONE_HOT_DECISIONS]
    if not rows:
        return torch.zeros_like(loss)
    picks = [gates[name].active[0] for name in s.space.decisions if name in ONE_HOT_DECISIONS]
    log_probability = logits.log_softmax(-1)[rows, picks].sum()
    reward = -loss.detach().to(log_probability)
    s.extra["baseline"] = moving_average(s.extra.get("baseline"), reward, BASELINE_DECAY)
    found = reinforce_loss(log_probability, torch.zeros_like(log_probability), reward, s.extra["baseline"], 0.0)
    return (found - found.detach()).to(loss)


def with_filter_warmup(space: Space, gates: Gates, t: Progress, share: float, rng: torch.Generator) -> Gates:
    """Return the gates of a weight step: during filter warm-up (the first `share`), sometimes those of all filters.

    The probability of that falls linearly from 1 to 0, so that filters of wide networks get trained, too:
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
    sizes = {name for name, decision in space.decisions.items() if isinstance(decision, Integer)} - ONE_HOT_DECISIONS
    return {name: _last(gate) if name in sizes else gate for name, gate in gates.items()}


def _last(gate: Gate) -> Gate:
    weight = torch.zeros_like(gate.weight.detach())
    weight[-1] = 1.0
    return Gate(weight, (len(weight) - 1,))
