"""REA: regularised evolution, in which the oldest dies."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from renascent.core.errors import UserError
from renascent.core.fields import Count, settings
from renascent.core.space import Space
from renascent.strategies.trials._picks import mutated, uniform
from renascent.strategies.trials.protocol import Outcome, Proposal, option_counts


class Population(NamedTuple):
    """counts: options of each decision.  members: (picks, score), the oldest first."""

    counts: tuple[int, ...]
    members: tuple[tuple[tuple[int, ...], float], ...] = ()


@settings
class REA:
    """Mutate the best of a few members drawn from a population; each child takes the place of the oldest.

    Args:
        population: members alive at a time.
        sample: members drawn, with replacement, of which the best is the parent.

    References:
        Real, Aggarwal, Huang and Le, Regularized Evolution for Image Classifier Architecture Search, AAAI 2019,
        arXiv:1802.01548, Algorithm 1; settings of NATS-Bench, arXiv:2009.00437.
    """

    population: Count = 10
    sample: Count = 3

    def init(self, space: Space) -> Population:
        counts = option_counts(space)
        if max(counts) < 2:
            raise UserError(f"space '{space.name}' has nothing to mutate: give a decision two options")
        return Population(counts)

    def ask(self, s: Population, rng: np.random.Generator, pending: Sequence[Proposal]) -> Proposal:
        if len(s.members) + len(pending) < self.population or not s.members:
            return Proposal(uniform(s.counts, rng))
        drawn = [s.members[int(u * len(s.members))] for u in rng.random(self.sample).tolist()]
        parent, _ = max(drawn, key=lambda member: member[1])
        return Proposal(mutated(parent, s.counts, rng))

    def tell(self, s: Population, proposal: Proposal, outcome: Outcome) -> Population:
        if not outcome.feasible:
            return s
        return s._replace(members=(*s.members, (proposal.picks, outcome.score))[-self.population :])
