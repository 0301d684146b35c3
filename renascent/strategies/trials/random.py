"""Random search: the floor that every other strategy must rise above."""

from collections.abc import Sequence

import numpy as np

from renascent.core.fields import settings
from renascent.core.space import Space
from renascent.strategies.trials._picks import uniform
from renascent.strategies.trials.protocol import Outcome, Proposal, option_counts


@settings
class RandomSearch:
    """Propose architectures uniformly at random.

    References:
        Bergstra and Bengio, Random Search for Hyper-Parameter Optimization, JMLR 2012; for architectures Li and
        Talwalkar, UAI 2019, arXiv:1902.07638.
    """

    def init(self, space: Space) -> tuple[int, ...]:
        return option_counts(space)

    def ask(self, s: tuple[int, ...], rng: np.random.Generator, pending: Sequence[Proposal]) -> Proposal:
        return Proposal(uniform(s, rng))

    def tell(self, s: tuple[int, ...], proposal: Proposal, outcome: Outcome) -> tuple[int, ...]:
        return s
