"""Uniform sampling, and the best of many."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import chisquare

from renascent.core.space import Choice, Integer, Space
from renascent.strategies._sampling import best_of, uniform, uniform_gates, uniform_probabilities
from renascent.strategies.enas import ENAS
from renascent.strategies.rsps import RSPS
from renascent.strategies.setn import SETN

UNEVEN = Space({"a": Choice(("x", "y", "z")), "b": Integer((8, 16))})


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_uniform_is_uniform_and_goes_on_with_its_generator():
    shared = rng(5)
    counts = Counter(uniform(UNEVEN, shared) for _ in range(3000))
    assert len(counts) == 6
    assert chisquare(list(counts.values())).pvalue > 1e-3
    held = shared.get_state()
    after = [uniform(UNEVEN, shared) for _ in range(5)]
    shared.set_state(held)
    assert [uniform(UNEVEN, shared) for _ in range(5)] == after


def test_uniform_gates_are_one_hot():
    for gate in uniform_gates(UNEVEN, rng(6)).values():
        (k,) = gate.active
        assert gate.weight.sum() == gate.weight[k] == 1


def test_uniform_probabilities():
    found = uniform_probabilities(None, SimpleNamespace(space=UNEVEN))
    assert {name: p.tolist() for name, p in found.items()} == {"a": [pytest.approx(1 / 3)] * 3, "b": [0.5, 0.5]}


def test_best_of_scores_each_once_and_takes_the_first_of_equals():
    a, b, c = (UNEVEN.at(k) for k in (0, 1, 2))
    scores, asked = {a: 0.1, b: 0.7, c: 0.7}, []
    drawn = iter([a, b, a, c, b])
    derive = best_of(lambda s: next(drawn))
    assert derive(SimpleNamespace(candidates=5), None, lambda arch: asked.append(arch) or scores[arch]) == b
    assert asked == [a, b, c]
    assert list(drawn) == []


@pytest.mark.parametrize("kind", [RSPS, SETN, ENAS])
def test_strategies_return_the_best_of_their_candidates(watched, kind):
    strategy, asked = kind(candidates=200), []
    state = watched(strategy).state
    best = strategy.derive(state, lambda arch: asked.append(arch) or float(state.space.index(arch)))
    assert best == max(asked, key=state.space.index)
    assert len(set(asked)) == len(asked) > 5
