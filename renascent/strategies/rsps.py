"""RSPS: random search with parameter sharing."""

from renascent.core.fields import Count, settings
from renascent.core.protocols import Data, Metrics, Progress, Setup, State
from renascent.strategies._bilevel import weight_step
from renascent.strategies._sampling import best_of, uniform, uniform_gates, uniform_probabilities


@settings
class RSPS:
    """Train the shared weights at uniformly sampled architectures, then return the best of some random ones.

    Args:
        candidates: architectures scored at the end.

    References:
        Li and Talwalkar, Random Search and Reproducibility for Neural Architecture Search, UAI 2019, arXiv:1902.07638,
        Sec. 3.
    """

    candidates: Count = 100

    derive, probabilities = best_of(lambda s: uniform(s.space, s.rng)), uniform_probabilities

    def init(self, setup: Setup) -> State[None]:
        return State(setup, setup.weights.optimiser(setup.net), setup.generator(), None)

    def step(self, s: State[None], data: Data, t: Progress) -> Metrics:
        return weight_step(s, data.train.next(), uniform_gates(s.space, s.rng), t)
