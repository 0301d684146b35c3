"""REINFORCE against enumeration, against PyTorch's Adam, and its baseline by hand."""

import itertools
import math

import numpy as np
import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.space import Choice, Space
from renascent.strategies.trials.protocol import Outcome, Proposal
from renascent.strategies.trials.reinforce import REINFORCE, loss_gradient, softmax

SPACE = Space({"a": Choice(("x", "y", "z")), "b": Choice(("p", "q"))})
COUNTS = (3, 2)


def test_the_estimate_has_the_gradient_of_the_expected_score():
    """The mean over all architectures of the estimate is - d E[score] / d logits, whatever the baseline."""
    rng = np.random.default_rng(0)
    logits = np.where(np.arange(3) < np.array(COUNTS)[:, None], rng.standard_normal((2, 3)), -np.inf)
    scores = {picks: float(rng.standard_normal()) for picks in itertools.product(range(3), range(2))}
    probabilities, mean = softmax(logits), np.zeros((2, 3))
    for picks, score in scores.items():
        probability = probabilities[0, picks[0]] * probabilities[1, picks[1]]
        mean += probability * loss_gradient(probabilities, picks, score - 0.37)
    free = torch.tensor(logits, requires_grad=True)
    table = torch.tensor([[scores[i, j] for j in range(2)] for i in range(3)], dtype=torch.double)
    p = free.softmax(1)
    (p[0] @ table @ p[1, :2]).backward()
    assert np.allclose(mean[:, :2], -free.grad.numpy()[:, :2], atol=1e-12)
    assert mean[1, 2] == 0


def test_steps_are_those_of_adam():
    strategy, answers = REINFORCE(lr=0.03), [((0, 1), 5.0), ((2, 0), 7.5), ((1, 1), 1.0), ((2, 0), 9.0)]
    state, logits = strategy.init(SPACE), torch.zeros(2, 3, dtype=torch.double, requires_grad=True)
    mask, adam = torch.tensor([[False] * 3, [False, False, True]]), torch.optim.Adam([logits], lr=0.03)
    total = weight = 0.0
    for picks, score in answers:
        state = strategy.tell(state, Proposal(picks), Outcome(score, 1.0))
        total, weight = 0.9 * total + 0.1 * score, 0.9 * weight + 0.1
        rows = logits.masked_fill(mask, -torch.inf).log_softmax(1)
        adam.zero_grad()
        (-(score - total / weight) * (rows[0, picks[0]] + rows[1, picks[1]])).backward()
        adam.step()
    ours = np.where(np.isinf(state.logits), 0.0, state.logits)
    assert np.allclose(ours, logits.detach().numpy(), atol=1e-10)
    assert state.probabilities.sum(1) == pytest.approx([1, 1])


def test_the_first_score_is_its_own_baseline():
    strategy = REINFORCE()
    state = strategy.tell(strategy.init(SPACE), Proposal((0, 0)), Outcome(80.0, 1.0))
    assert (state.logits[np.isfinite(state.logits)] == 0).all()
    assert state.total / state.weight == pytest.approx(80.0)


def test_samples_follow_the_policy():
    strategy = REINFORCE()
    logits = np.array([[0.0, 1.0, -1.0], [2.0, 0.0, -np.inf]])
    state = strategy.init(SPACE)._replace(logits=logits, probabilities=softmax(logits))
    rng, counts = np.random.default_rng(1), np.zeros((2, 3))
    for _ in range(4000):
        for row, pick in enumerate(strategy.ask(state, rng, []).picks):
            counts[row, pick] += 1
    error = 4 * np.sqrt(4000 * state.probabilities * (1 - state.probabilities)) + 1e-9
    assert (np.abs(counts - 4000 * state.probabilities) < error).all()


def test_a_failed_trial_teaches_nothing():
    strategy = REINFORCE()
    state = strategy.init(SPACE)
    assert strategy.tell(state, Proposal((0, 0)), Outcome(-math.inf, 3.0)) is state


def test_a_reward_that_is_its_own_baseline_is_refused():
    with pytest.raises(UserError, match=r"baseline_decay is 0: give a number from 0\.01"):
        REINFORCE(baseline_decay=0)
