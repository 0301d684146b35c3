"""FBNet-V2: all sizes at once as a sum of masks on the widest, weighted by a Gumbel-softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from renascent.core.errors import require
from renascent.core.gates import Gates, gumbel_soft, soft
from renascent.core.protocols import Data, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import arch_step, weight_step
from renascent.strategies._goals import costs, expected_usage, log_power
from renascent.strategies._policy import Logits, adam
from renascent.strategies._sizes import alone, drawn_loss, warmed


@dataclass(frozen=True, kw_only=True)
class FBNetV2:
    """Run the widest network under soft masks; their logits learn from validation loss times a power of log cost.

    The weight step and the architecture step draw once each. The cost is that of the policy, not of the sample.

    Args:
        arch_lr: Adam learning rate of the logits.
        arch_weight_decay: L2 penalty on the logits.
        tau_start: temperature of the Gumbel-softmax at the first step.
        tau_end: temperature at the last step; falls exponentially in between.
        cost_exponent: power of log cost, once the expected cost is above the limit; 0 means that no budget is looked
            at.
        filter_warmup: share of the search in which weight steps may train all filters.
        policy_warmup: share of the search before the logits learn.

    References:
        Wan et al., FBNetV2: Differentiable Neural Architecture Search for Spatial and Channel Dimensions, CVPR 2020,
        arXiv:2004.05565, Eqs 2-5; loss and settings of FBNet, arXiv:1812.03443, Eq. 2 and Sec. 4.1.
    """

    arch_lr: float = 1e-2
    arch_weight_decay: float = 5e-4
    tau_start: float = 5.0
    tau_end: float = 0.09
    cost_exponent: float = 0.6
    filter_warmup: float = 0.0
    policy_warmup: float = 0.1

    def __post_init__(self) -> None:
        require(self, **dict.fromkeys(("arch_lr", "arch_weight_decay", "cost_exponent"), (0, math.inf)))
        require(self, **dict.fromkeys(("tau_start", "tau_end"), (1e-6, math.inf)))
        require(self, filter_warmup=(0, 1), policy_warmup=(0, 1))

    def init(self, setup: Setup) -> State:
        rng = setup.generator()
        policy = Logits(setup.space, rng)
        optimiser = adam(policy, self.arch_lr, self.arch_weight_decay)
        return State(setup, setup.weights.optimiser(setup.net), rng, policy, optimiser)

    def step(self, s: State, data: Data, t: Progress) -> Metrics:
        assert isinstance(s.policy, Logits)
        tau = self.tau_start * (self.tau_end / self.tau_start) ** t.fraction
        with torch.no_grad():
            gates = warmed(s.setup.space, self._sample(s, s.policy(), tau), t, self.filter_warmup, s.rng)
        metrics = weight_step(s, data.train.next(), gates, t)
        if t.fraction < self.policy_warmup:
            return metrics
        logits = s.policy()
        gates = self._sample(s, logits, tau)
        usage = expected_usage(s.setup.goals, soft(s.setup.space, logits))

        def charged(loss: Tensor) -> Tensor:
            factor = log_power(usage, self.cost_exponent).to(loss)
            return loss * factor + drawn_loss(s, gates, logits, loss)

        metrics |= arch_step(s, data.val.next(), gates, charged)
        return metrics | costs(s.setup.goals, usage)

    def derive(self, s: State, score: Score) -> Arch:
        assert isinstance(s.policy, Logits)
        return s.policy.best()

    def probabilities(self, s: State) -> Mapping[str, Tensor]:
        assert isinstance(s.policy, Logits)
        return s.policy.probabilities()

    def _sample(self, s: State, logits: Tensor, tau: float) -> Gates:
        gates = gumbel_soft(s.setup.space, logits, tau, s.rng)
        return alone(s.setup.space, gates, logits, s.rng)
