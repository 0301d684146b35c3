"""RSPS: random search with parameter sharing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from renascent.core.errors import require
from renascent.core.protocols import Data, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import weight_step
from renascent.strategies._policy import best_of, even, uniform, uniform_gates


@dataclass(frozen=True, kw_only=True)
class RSPS:
    """Train the shared weights at uniformly sampled architectures, then return the best of some random ones.

    Args:
        candidates: architectures scored at the end.

    References:
        Li and Talwalkar, Random Search and Reproducibility for Neural Architecture Search, UAI 2019, arXiv:1902.07638,
        Sec. 3.
    """

    candidates: int = 100

    def __post_init__(self) -> None:
        require(self, candidates=(1, math.inf))

    def init(self, setup: Setup) -> State:
        return State(setup, setup.weights.optimiser(setup.net), setup.generator())

    def step(self, s: State, data: Data, t: Progress) -> Metrics:
        return weight_step(s, data.train.next(), uniform_gates(s.setup.space, s.rng), t)

    def derive(self, s: State, score: Score) -> Arch:
        return best_of(self.candidates, lambda: uniform(s.setup.space, s.rng), score)

    def probabilities(self, s: State) -> Mapping[str, Tensor]:
        return even(s.setup.space)
