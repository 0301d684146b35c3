"""REINFORCE: a categorical distribution for each decision, moved by the scores of what it sampled."""

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from renascent.core.fields import NonNegative, Range, settings
from renascent.core.space import Space
from renascent.strategies.trials.protocol import Outcome, Proposal, option_counts

Array = NDArray[np.float64]


class Policy(NamedTuple):
    """logits: (decisions, options), minus infinity beyond a decision's options.  probabilities: their softmax.

    first, second: Adam's moments of the gradient.  steps: taken by Adam.
    total, weight: the moving average of the scores is total / weight.
    """

    logits: Array
    probabilities: Array
    first: Array
    second: Array
    steps: int = 0
    total: float = 0.0
    weight: float = 0.0


@settings
class REINFORCE:
    """Sample each decision from its own softmax, and follow the score's gradient estimate by Adam.

    Args:
        lr: Adam learning rate of the logits.
        baseline_decay: of the moving average of scores that is taken off each score; at 0 each would be its own.

    References:
        Williams, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning, Machine
        Learning 1992; settings of NATS-Bench, arXiv:2009.00437.
    """

    lr: NonNegative = 0.01
    baseline_decay: Annotated[float, Range(0.01, 0.9999)] = 0.9

    def init(self, space: Space) -> Policy:
        counts = np.array(option_counts(space))
        logits = np.where(np.arange(counts.max()) < counts[:, None], 0.0, -np.inf)
        return Policy(logits, softmax(logits), np.zeros(logits.shape), np.zeros(logits.shape))

    def ask(self, s: Policy, rng: np.random.Generator, pending: Sequence[Proposal]) -> Proposal:
        # the last option takes what rounding leaves
        below = np.add.accumulate(s.probabilities, 1)[:, :-1] < rng.random((len(s.probabilities), 1))
        return Proposal(tuple(np.add.reduce(below, 1).tolist()))

    def tell(self, s: Policy, proposal: Proposal, outcome: Outcome) -> Policy:
        if not math.isfinite(outcome.score):
            return s
        decay = self.baseline_decay
        total = decay * s.total + (1 - decay) * outcome.score
        weight = decay * s.weight + (1 - decay)
        slope = loss_gradient(s.probabilities, proposal.picks, outcome.score - total / weight)
        # one step of Adam: arXiv:1412.6980, Algorithm 1, betas 0.9 and 0.999
        first, second, steps = 0.9 * s.first + 0.1 * slope, 0.999 * s.second + 0.001 * slope * slope, s.steps + 1
        mean, deviation = first / (1 - 0.9**steps), np.sqrt(second / (1 - 0.999**steps))
        logits = s.logits - self.lr * mean / (deviation + 1e-8)
        return Policy(logits, softmax(logits), first, second, steps, total, weight)


def softmax(logits: Array) -> Array:
    """Return the softmax of each row."""
    powers = np.exp(logits - np.maximum.reduce(logits, 1, keepdims=True))
    return powers / np.add.reduce(powers, 1, keepdims=True)


def loss_gradient(probabilities: Array, picks: Sequence[int], advantage: float) -> Array:
    """Return the gradient of - advantage x log probability of `picks`, with respect to the logits.

    >>> loss_gradient(np.array([[0.5, 0.5]]), (1,), 2.0).tolist()
    [[1.0, -1.0]]
    """
    slope = advantage * probabilities
    for row, pick in enumerate(picks):
        slope[row, pick] -= advantage
    return slope
