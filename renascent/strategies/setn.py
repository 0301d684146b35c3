"""SETN: train uniformly, let a template network judge, and evaluate what it proposes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from renascent.core.errors import require
from renascent.core.gates import soft
from renascent.core.protocols import Data, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import arch_step, weight_step
from renascent.strategies._policy import Logits, adam, best_of, uniform_gates
from renascent.strategies._sizes import refuse_resolution


@dataclass(frozen=True, kw_only=True)
class SETN:
    """Train the weights at uniform samples and the logits on the soft mixture; return the best of drawn candidates.

    Uniform sampling trains every candidate fairly, so that the evaluator, a softmax over options that learns from the
    validation loss, proposes architectures without the bias of those already trained most.

    Args:
        arch_lr: Adam learning rate of the logits.
        arch_weight_decay: L2 penalty on the logits.
        candidates: architectures drawn from the softmax and scored at the end.

    References:
        Dong and Yang, One-Shot Neural Architecture Search via Self-Evaluated Template Network, ICCV 2019,
        arXiv:1910.05733, Sec. 3.
    """

    arch_lr: float = 3e-4
    arch_weight_decay: float = 1e-3
    candidates: int = 100

    def __post_init__(self) -> None:
        require(self, arch_lr=(0, math.inf), arch_weight_decay=(0, math.inf), candidates=(1, math.inf))

    def init(self, setup: Setup) -> State:
        refuse_resolution(setup.space, "SETN")
        rng = setup.generator()
        policy = Logits(setup.space, rng)
        optimiser = adam(policy, self.arch_lr, self.arch_weight_decay)
        return State(setup, setup.weights.optimiser(setup.net), rng, policy, optimiser)

    def step(self, s: State, data: Data, t: Progress) -> Metrics:
        assert isinstance(s.policy, Logits)
        metrics = weight_step(s, data.train.next(), uniform_gates(s.setup.space, s.rng), t)
        return metrics | arch_step(s, data.val.next(), soft(s.setup.space, s.policy()))

    def derive(self, s: State, score: Score) -> Arch:
        policy = s.policy
        assert isinstance(policy, Logits)
        return best_of(self.candidates, lambda: policy.draw(s.rng), score)

    def probabilities(self, s: State) -> Mapping[str, Tensor]:
        assert isinstance(s.policy, Logits)
        return s.policy.probabilities()
