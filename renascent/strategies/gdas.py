"""GDAS: sample one candidate an edge, and learn through the sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from renascent.core.errors import require
from renascent.core.gates import gumbel_hard
from renascent.core.protocols import Data, Linear, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import arch_step, weight_step
from renascent.strategies._policy import Logits, adam
from renascent.strategies._sizes import refuse_resolution


@dataclass(frozen=True, kw_only=True)
class GDAS:
    """Sample one option per decision in the forward pass; its logits learn from the validation loss.

    One sample serves all copies of a cell; the weight step and the architecture step draw one each.

    Args:
        arch_lr: Adam learning rate of the logits.
        arch_weight_decay: L2 penalty on the logits.
        tau_start: softmax temperature at the first step.
        tau_end: softmax temperature at the last step; linear in between.

    References:
        Dong and Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019, arXiv:1910.04465, Eqs
        3-5 and Algorithm 1.
    """

    arch_lr: float = 3e-4
    arch_weight_decay: float = 1e-3
    tau_start: float = 10.0
    tau_end: float = 0.1

    def __post_init__(self) -> None:
        require(
            self,
            arch_lr=(0, math.inf),
            arch_weight_decay=(0, math.inf),
            tau_start=(1e-6, math.inf),
            tau_end=(1e-6, math.inf),
        )

    def init(self, setup: Setup) -> State:
        refuse_resolution(setup.space, "GDAS")
        rng = setup.generator()
        policy = Logits(setup.space, rng)
        optimiser = adam(policy, self.arch_lr, self.arch_weight_decay)
        return State(setup, setup.weights.optimiser(setup.net), rng, policy, optimiser)

    def step(self, s: State, data: Data, t: Progress) -> Metrics:
        assert isinstance(s.policy, Logits)
        tau = Linear(self.tau_start, self.tau_end)(t.fraction)
        with torch.no_grad():
            gates = gumbel_hard(s.setup.space, s.policy(), tau, s.rng)
        metrics = weight_step(s, data.train.next(), gates, t)
        return metrics | arch_step(s, data.val.next(), gumbel_hard(s.setup.space, s.policy(), tau, s.rng))

    def derive(self, s: State, score: Score) -> Arch:
        assert isinstance(s.policy, Logits)
        return s.policy.best()

    def probabilities(self, s: State) -> Mapping[str, Tensor]:
        assert isinstance(s.policy, Logits)
        return s.policy.probabilities()
