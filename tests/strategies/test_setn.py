"""SETN: uniform weights, a soft template, and candidates drawn from what it learnt."""

from collections import Counter

import torch
from scipy.stats import chisquare

from renascent.core.protocols import Progress
from renascent.strategies.setn import SETN

SKEWED = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 1.0, 0.0]])


def skewed(watched, strategy):
    held = watched(strategy)
    with torch.no_grad():
        held.state.policy.logits.copy_(SKEWED)
    return held


def test_the_weights_train_uniformly_whatever_the_template_says(watched):
    strategy = SETN(arch_lr=0.0)
    held = skewed(watched, strategy)
    data = held.data
    for k in range(270):
        strategy.step(held.state, data, Progress(k, 270, 8))
    weights, archs = held.seen[::2], held.seen[1::2]
    assert all(picks == ((0, 1, 2), (0, 1, 2)) and frozen for picks, frozen, _ in archs)
    assert not any(frozen for _, frozen, _ in weights)
    counts = Counter(picks for picks, _, _ in weights)
    assert len(counts) == 9
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_the_candidates_are_drawn_by_the_softmax(watched):
    strategy = SETN(candidates=1)
    held = skewed(watched, strategy)
    counts = Counter(strategy.derive(held.state, lambda arch: 0.0) for _ in range(3000))
    space, p = held.state.setup.space, SKEWED.double().softmax(-1)
    probabilities = [float(p[0, i] * p[1, j]) for i in range(3) for j in range(3)]
    seen = [counts[space.at(k)] for k in range(9)]
    assert chisquare(seen, [c * 3000 / sum(probabilities) for c in probabilities]).pvalue > 1e-3
