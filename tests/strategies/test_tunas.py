"""TuNAS: its estimator against the enumerated expectation, its reward, and steps that build no graph."""

import dataclasses

import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.gates import one_hot
from renascent.core.protocols import Goal, Progress
from renascent.core.space import Choice, Integer, Space
from renascent.strategies._logits import Logits
from renascent.strategies._rewards import reinforce_loss
from renascent.strategies.tunas import TuNAS

SPACE = Space(
    {
        "depth": Integer((1, 2, 3)),
        "width": Integer((8, 16, 24)),
        "inner": Integer((4, 8), when=("depth", (2, 3))),
        "op": Choice(("a", "b"), when=("inner", (8,))),
    }
)
NOW = TuNAS(policy_warmup=0.0, filter_warmup=0.0)


def policy():
    found = Logits(SPACE, torch.Generator().manual_seed(0), std=1.0).double()
    with torch.no_grad():
        found.logits.normal_(generator=torch.Generator().manual_seed(1))
    return found


def test_probabilities_of_all_architectures_sum_to_one():
    logits = policy()
    probabilities = [float(logits.log_probability(arch).exp().detach()) for arch in SPACE]
    assert len(probabilities) == SPACE.size == 3 * 3 + 2 * 2 * 3
    assert sum(probabilities) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("baseline", [0.0, 0.6])
def test_the_mean_estimator_is_the_gradient_of_the_expected_reward(baseline):
    """Sum over all architectures of p(a) x the estimator's gradient at a = gradient of - E[R]."""
    logits = policy()
    rewards = torch.rand(len(SPACE), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    # p written out, decision by decision
    p = [logits.logits[k, :n].softmax(-1) for k, n in enumerate((3, 3, 2, 2))]
    objective = torch.zeros((), dtype=torch.float64)
    for arch, reward in zip(SPACE, rewards, strict=True):
        depth, width, inner, op = SPACE.indices(arch).tolist()
        probability = p[0][depth] * p[1][width]
        if depth > 0:
            probability = probability * p[2][inner]
            if inner == 1:
                probability = probability * p[3][op]
        objective = objective - probability * reward
    (wanted,) = torch.autograd.grad(objective, logits.logits)
    mean = torch.zeros_like(wanted)
    b, zero = torch.tensor(baseline, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for arch, reward in zip(SPACE, rewards, strict=True):
        said = logits.log_probability(arch)
        (slope,) = torch.autograd.grad(reinforce_loss(said, zero, reward, b, 0.0), logits.logits)
        mean += said.exp().detach() * slope
    torch.testing.assert_close(mean, wanted, rtol=1e-10, atol=1e-12)
    assert wanted.norm() > 1e-2


def test_tunas_inactive_decision_gets_no_gradient():
    logits = policy()
    (slope,) = torch.autograd.grad(logits.log_probability(SPACE.arch({"depth": 1, "width": 8})), logits.logits)
    assert slope[:2].abs().min() > 0
    assert not slope[2:].any()


@pytest.mark.parametrize("weight", [0.1, 0.0])
def test_a_policy_step_by_hand(sized, streams, weight):
    """Reward: accuracy less weight x |T / T0 - 1|, T the exact cost of the very architecture that was trained."""
    strategy = dataclasses.replace(NOW, cost_weight=weight, arch_lr=0.02, arch_lr_growth=1.0)
    held = sized(strategy, 0.3)
    s, data, seen = held.state, streams(held), []
    s.net.register_forward_hook(lambda m, given, out: seen.append(given[1]))
    s.extra["baseline"] = torch.tensor(0.25, dtype=torch.float64)
    before = s.policy.logits.detach().clone()
    metrics = strategy.step(s, data, Progress(0, 10, 10))
    trained, judged = ([gate.active for gate in gates.values()] for gates in seen)
    assert trained == judged
    arch = s.setup.space.from_indices([k for (k,) in judged])
    score = s.setup.task.loss(s.net, held.val, one_hot(s.setup.space, arch)).score
    goal = s.setup.goals[0]
    cost = float(goal.exact(s.setup.space.indices(arch)[None])[0])
    reward = float(score) - weight * abs(cost / goal.limit - 1)
    assert float(metrics["reward"]) == pytest.approx(reward, rel=1e-9)
    assert float(metrics["cost_macs"]) == pytest.approx(cost)
    baseline = 0.95 * 0.25 + 0.05 * reward
    assert float(s.extra["baseline"]) == pytest.approx(baseline, rel=1e-9)
    chosen = torch.zeros_like(before)
    for row, (k,) in enumerate(judged):
        chosen[row, k] = 1
    wanted = -(reward - baseline) * (chosen - before.softmax(-1))
    torch.testing.assert_close(s.policy.logits.grad, wanted, rtol=1e-7, atol=1e-10)
    # the first step of Adam without momentum is one learning rate along the sign
    torch.testing.assert_close(s.policy.logits.detach(), before - 0.02 * wanted.sign(), rtol=1e-4, atol=1e-5)


def test_the_policy_step_builds_no_graph_and_moves_no_weight(watched):
    held = watched(NOW)
    s, data = held.state, held.data
    arch = s.setup.space.at(0)
    weights = {name: p.detach().clone() for name, p in s.net.named_parameters()}
    NOW._policy_step(s, data.val.next(), arch, Progress(0, 10, 10))
    assert [graph for _, _, graph in held.seen] == [False]
    assert all(torch.equal(p, weights[name]) for name, p in s.net.named_parameters())


def test_several_bounds_are_added(watched):
    held = watched(NOW)
    s = held.state
    goals = tuple(
        Goal(name, limit, lambda gates: torch.zeros(()), lambda rows: rows.sum(1) + 1.0)
        for name, limit in (("macs", 2.0), ("params", 4.0))
    )
    s.setup = dataclasses.replace(s.setup, goals=goals)
    batch = held.data.val.next()
    metrics = NOW._policy_step(s, batch, s.setup.space.at(0), Progress(0, 10, 10))
    assert float(metrics["reward"]) == pytest.approx(float(metrics["val_score"]) - 0.1 * (0.5 + 0.75))


def test_warm_up_trains_all_filters_and_leaves_the_policy_alone(sized, streams):
    strategy = TuNAS()
    held = sized(strategy, 0.5)
    s, data, seen = held.state, streams(held), []
    s.net.register_forward_hook(lambda m, given, out: seen.append([gate.active for gate in given[1].values()]))
    logits = s.policy.logits.detach().clone()
    for k in range(25):
        assert set(strategy.step(s, data, Progress(k, 101, 101))) == {"train_loss", "train_score"}
    assert torch.equal(s.policy.logits, logits)
    assert data.val.given == 0
    assert seen[0] == [(7,)] * 7
    whole = [picks == [(7,)] * 7 for picks in seen]
    assert sum(whole[:8]) > sum(whole[17:])
    for k in range(25, 28):
        strategy.step(s, data, Progress(k, 101, 101))
    assert not torch.equal(s.policy.logits, logits)


def test_the_rate_grows_once_the_policy_learns():
    strategy = TuNAS(arch_lr=0.01, arch_lr_growth=10.0, policy_warmup=0.2)
    rates = [strategy._rate(Progress(step, 11, 11)) for step in (0, 2, 6, 10)]
    assert rates == pytest.approx([0.01, 0.01, 0.01 * 10**0.5, 0.1])
    assert TuNAS(policy_warmup=1.0, arch_lr=0.1)._rate(Progress(1, 2, 2)) == 0.1


def test_the_authors_setting():
    s = TuNAS()
    assert (s.cost_weight, s.baseline_decay, s.filter_warmup, s.policy_warmup) == (0.1, 0.95, 0.25, 0.25)
    assert s.paper.paper == pytest.approx(3e-4 * 4096 / 256)


def test_a_reward_that_is_its_own_baseline_is_refused():
    with pytest.raises(UserError, match=r"baseline_decay is 0: give a number from 0\.01"):
        TuNAS(baseline_decay=0)
