"""TAS: interpolate between a few sampled sizes, and learn how likely each size should be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from renascent.core.errors import require
from renascent.core.gates import Gates, several_sizes, soft
from renascent.core.protocols import Data, Linear, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import arch_step, weight_step
from renascent.strategies._goals import costs, expected_usage, piecewise
from renascent.strategies._policy import Logits, adam
from renascent.strategies._sizes import alone, drawn_loss, warmed


@dataclass(frozen=True, kw_only=True)
class TAS:
    """Sample a few sizes per decision, interpolate between them; logits learn from validation loss and expected cost.

    The weight step and the architecture step draw once each. The cost is that of the policy, not of the sample.

    Args:
        arch_lr: Adam learning rate of the logits.
        arch_weight_decay: L2 penalty on the logits.
        tau_start: temperature of the Gumbel-softmax at the first step.
        tau_end: temperature at the last step; linear in between.
        samples: sizes of each decision that are interpolated; of one alone, the validation loss says nothing.
        cost_weight: weight of the cost loss; 0 means that the budget is not looked at.
        tolerance: share of the budget that the expected cost may be off without a loss.
        filter_warmup: share of the search in which weight steps may train all filters.
        policy_warmup: share of the search before the logits learn.

    References:
        Dong and Yang, Network Pruning via Transformable Architecture Search, NeurIPS 2019, arXiv:1905.09717, Eqs 2-7.
    """

    arch_lr: float = 1e-3
    arch_weight_decay: float = 1e-3
    tau_start: float = 10.0
    tau_end: float = 0.1
    samples: int = 2
    cost_weight: float = 2.0
    tolerance: float = 0.05
    filter_warmup: float = 0.0
    policy_warmup: float = 0.0

    def __post_init__(self) -> None:
        require(self, **dict.fromkeys(("arch_lr", "arch_weight_decay", "cost_weight"), (0, math.inf)))
        require(self, **dict.fromkeys(("tau_start", "tau_end"), (1e-6, math.inf)), samples=(1, 8))
        require(self, **dict.fromkeys(("tolerance", "filter_warmup", "policy_warmup"), (0, 1)))

    def init(self, setup: Setup) -> State:
        rng = setup.generator()
        policy = Logits(setup.space, rng)
        optimiser = adam(policy, self.arch_lr, self.arch_weight_decay)
        return State(setup, setup.weights.optimiser(setup.net), rng, policy, optimiser)

    def step(self, s: State, data: Data, t: Progress) -> Metrics:
        assert isinstance(s.policy, Logits)
        tau = Linear(self.tau_start, self.tau_end)(t.fraction)
        with torch.no_grad():
            gates = warmed(s.setup.space, self._sample(s, s.policy(), tau), t, self.filter_warmup, s.rng)
        metrics = weight_step(s, data.train.next(), gates, t)
        if t.fraction < self.policy_warmup:
            return metrics
        logits = s.policy()
        gates = self._sample(s, logits, tau)
        usage = expected_usage(s.setup.goals, soft(s.setup.space, logits))

        def charged(loss: Tensor) -> Tensor:
            cost = self.cost_weight * piecewise(usage, self.tolerance).to(loss)
            return loss + cost + drawn_loss(s, gates, logits, loss)

        metrics |= arch_step(s, data.val.next(), gates, charged)
        return metrics | costs(s.setup.goals, usage)

    def derive(self, s: State, score: Score) -> Arch:
        assert isinstance(s.policy, Logits)
        return s.policy.best()

    def probabilities(self, s: State) -> Mapping[str, Tensor]:
        assert isinstance(s.policy, Logits)
        return s.policy.probabilities()

    def _sample(self, s: State, logits: Tensor, tau: float) -> Gates:
        gates = several_sizes(s.setup.space, logits, tau, s.rng, self.samples)
        return alone(s.setup.space, gates, logits, s.rng)
