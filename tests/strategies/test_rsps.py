"""RSPS: uniform sampling, and the best of many."""

from collections import Counter

import pytest
from scipy.stats import chisquare

from renascent.core.protocols import Progress
from renascent.strategies.rsps import RSPS


def test_the_weights_train_at_uniform_architectures(watched):
    strategy = RSPS()
    held = watched(strategy)
    data = held.data
    for k in range(270):
        strategy.step(held.state, data, Progress(k, 270, 8))
    counts = Counter(picks for picks, _, _ in held.seen)
    assert len(counts) == 9
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_it_believes_nothing(watched):
    probabilities = RSPS().probabilities(watched(RSPS()).state)
    assert all(p.tolist() == pytest.approx([1 / 3] * 3) for p in probabilities.values())
