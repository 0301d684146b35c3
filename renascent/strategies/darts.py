"""DARTS, first order: every candidate in the forward pass, weighted by a softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from renascent.core.errors import require
from renascent.core.gates import soft
from renascent.core.protocols import Data, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import arch_step, weight_step
from renascent.strategies._policy import Logits, adam
from renascent.strategies._sizes import refuse_resolution


@dataclass(frozen=True, kw_only=True)
class DARTS:
    """Mix all options by a softmax whose logits learn from the validation loss at the present weights.

    Args:
        arch_lr: Adam learning rate of the logits.
        arch_weight_decay: L2 penalty on the logits.

    References:
        Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, ICLR 2019, arXiv:1806.09055, Eq. 2 and
        Algorithm 1 with xi = 0.
    """

    arch_lr: float = 3e-4
    arch_weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        require(self, arch_lr=(0, math.inf), arch_weight_decay=(0, math.inf))

    def init(self, setup: Setup) -> State:
        refuse_resolution(setup.space, "DARTS")
        rng = setup.generator()
        policy = Logits(setup.space, rng)
        optimiser = adam(policy, self.arch_lr, self.arch_weight_decay)
        return State(setup, setup.weights.optimiser(setup.net), rng, policy, optimiser)

    def step(self, s: State, data: Data, t: Progress) -> Metrics:
        assert isinstance(s.policy, Logits)
        metrics = arch_step(s, data.val.next(), soft(s.setup.space, s.policy()))
        with torch.no_grad():
            gates = soft(s.setup.space, s.policy())
        return metrics | weight_step(s, data.train.next(), gates, t)

    def derive(self, s: State, score: Score) -> Arch:
        assert isinstance(s.policy, Logits)
        return s.policy.best()

    def probabilities(self, s: State) -> Mapping[str, Tensor]:
        assert isinstance(s.policy, Logits)
        return s.policy.probabilities()
