"""ProxylessNAS by REINFORCE: its estimator against the enumerated expectation, its reward, and its baseline."""

import dataclasses

import numpy as np
import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.gates import one_hot
from renascent.core.protocols import Goal, Progress, Setup
from renascent.core.space import Choice, Integer, Space, Subset
from renascent.costs.counts import Additive
from renascent.loops.share import begin
from renascent.strategies.proxyless_reinforce import ProxylessReinforce
from renascent.tasks.toy import ToyTask

NOW = Progress(0, 10, 10)


@pytest.mark.parametrize("baseline", [0.0, 0.7, -3.0])
def test_the_mean_estimator_is_the_gradient_of_the_expected_reward(watched, baseline):
    """Over all 9 architectures of a 3 x 3 space, weighted by probability; the expectation enumerated and derived."""
    s = watched(ProxylessReinforce()).state
    s.policy.double()
    with torch.no_grad():
        s.policy.logits.normal_(generator=torch.Generator().manual_seed(1))
    rewards = torch.rand(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    logits = s.policy.logits.detach().clone().requires_grad_()
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    (wanted,) = torch.autograd.grad((p[0][:, None] * p[1][None] * rewards).sum(), logits)
    mean, total, p = torch.zeros_like(wanted), 0.0, p.detach()
    for arch in s.space:
        i, j = s.space.indices(arch)
        s.extra["baseline"] = torch.tensor(baseline, dtype=torch.float64)
        (slope,) = torch.autograd.grad(ProxylessReinforce()._loss(s, arch, rewards[i, j]), s.policy.logits)
        mean -= float(p[0, i] * p[1, j]) * slope  # the loss is minus what is to grow
        total += float(p[0, i] * p[1, j])
    assert total == pytest.approx(1, rel=1e-12)
    torch.testing.assert_close(mean, wanted, rtol=1e-10, atol=1e-12)
    assert wanted.abs().max() > 1e-3


def test_a_reward_enters_the_baseline_after_its_sample(watched):
    s, strategy = watched(ProxylessReinforce()).state, ProxylessReinforce()
    arch = s.space.at(4)
    said = s.policy.log_probability(arch).detach().double()
    losses = [float(strategy._loss(s, arch, torch.tensor(r, dtype=torch.float64)).detach()) for r in (0.5, 0.9, 0.1)]
    advantages = [0.0, 0.9 - 0.5, 0.1 - (0.99 * 0.5 + 0.01 * 0.9)]
    assert losses == pytest.approx([-a * float(said) for a in advantages], rel=1e-5)
    assert float(s.extra["baseline"]) == pytest.approx(0.99 * (0.99 * 0.5 + 0.01 * 0.9) + 0.01 * 0.1, rel=1e-9)


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("exponent", [-0.1, -0.5, 0.0])
def test_a_policy_step_by_hand(cell, below, exponent):
    """Reward: accuracy x product over goals of (cost / limit)^w, a cost below its limit counting as it by default."""
    strategy = ProxylessReinforce(samples=4, arch_lr=0.02, cost_exponent=exponent, cost_below=below)
    held = cell(strategy)
    s = held.state
    tables = 2 * torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64).numpy()
    costs = [Additive(s.space, 0.5, table) for table in tables]
    goals = tuple(Goal(n, 2.0, cost, cost.exact) for n, cost in zip(("macs", "latency_ms"), costs, strict=True))
    s.setup = dataclasses.replace(s.setup, goals=goals)
    s.extra["baseline"] = torch.tensor(0.25, dtype=torch.float64)
    logits, drawn, seen = s.policy.logits.detach().clone(), s.rng.get_state(), []
    s.net.register_forward_hook(lambda m, given, out: seen.append(out.requires_grad))
    weights = [p.detach().clone() for p in s.net.parameters()]
    metrics = strategy._arch_step(s, held.val)
    assert 1 <= len(seen) <= 4 and not any(seen)
    assert all(torch.equal(p, old) for p, old in zip(s.net.parameters(), weights, strict=True))

    s.rng.set_state(drawn)
    s.policy.logits.data.copy_(logits)
    baseline, wanted, rewards, used = 0.25, torch.zeros_like(logits), [], []
    for _ in range(4):
        arch = s.policy.draw(s.rng)
        row = s.space.indices(arch).tolist()
        reward = float(s.setup.task.loss(s.net, held.val, one_hot(s.space, arch)).score)
        used.append([(0.5 + sum(table[k, j] for k, j in enumerate(row))) / 2.0 for table in tables])
        for share in used[-1]:
            reward *= share**exponent if below else max(share, 1.0) ** exponent
        for k, j in enumerate(row):
            chosen = torch.zeros(5, dtype=torch.float64)
            chosen[j] = 1.0
            wanted[k] -= (reward - baseline) * (chosen - logits[k].softmax(-1)) / 4
        baseline = 0.99 * baseline + 0.01 * reward
        rewards.append(reward)
    assert any(share < 1 for pair in used for share in pair)
    assert any(share > 1 for pair in used for share in pair)
    torch.testing.assert_close(s.policy.logits.grad, wanted, rtol=1e-7, atol=1e-10)
    assert float(metrics["reward"]) == pytest.approx(np.mean(rewards), rel=1e-9)
    assert float(metrics["cost_macs"]) == pytest.approx(np.mean(used, axis=0)[0] * 2, rel=1e-9)
    assert float(s.extra["baseline"]) == pytest.approx(baseline, rel=1e-9)


def test_the_log_probability_counts_what_is_active():
    inner = Choice(("a", "b"), when=("depth", (2,)))
    space = Space({"depth": Integer((1, 2)), "inner": inner})
    task = ToyTask(count_each=4)
    s = ProxylessReinforce().init(Setup(torch.nn.Linear(1, 1), task, space))
    s.extra["baseline"] = torch.tensor(0.0, dtype=torch.float64)
    loss = ProxylessReinforce()._loss(s, space.arch({"depth": 1}), torch.tensor(1.0, dtype=torch.float64))
    (slope,) = torch.autograd.grad(loss, s.policy.logits)
    assert slope[0].abs().min() > 0
    assert not slope[1].any()


def test_weight_steps_train_one_path_and_equal_samples_are_computed_once(watched):
    strategy = ProxylessReinforce(samples=30, policy_warmup=0.5, arch_every=2)
    held = watched(strategy)
    data = held.data
    learnt = ["reward" in strategy.step(held.state, data, Progress(k, 11, 8)) for k in range(11)]
    assert learnt == [False] * 5 + [True, False] * 3
    assert all(len(option) == 1 for picks, _, _ in held.seen for option in picks)
    steps = [graph for _, _, graph in held.seen]
    assert sum(steps) == 11
    assert len(steps) - 11 <= 3 * 9


def test_the_optimiser_has_neither_momentum_nor_decay(watched):
    about = watched(ProxylessReinforce()).state.policy_optimiser.defaults
    assert (about["lr"], about["betas"], about["weight_decay"]) == (0.01, (0.0, 0.999), 0.0)


def test_the_settings_of_the_authors():
    about = {"samples": 10, "arch_lr": "auto", "cost_exponent": -0.1, "cost_below": False, "baseline_decay": 0.99}
    assert ProxylessReinforce() == ProxylessReinforce(**about, arch_every=1, policy_warmup=0.0)


@pytest.mark.parametrize(
    ("about", "line"),
    [
        ({"cost_exponent": 0.1}, "cost_exponent is 0.1: give a number from -10 to 0"),
        ({"arch_every": 0}, "arch_every is 0: give a number of at least 1"),
        ({"samples": 0}, "samples is 0: give a number of at least 1"),
        ({"baseline_decay": 0}, "baseline_decay is 0: give a number from 0.01 to 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(about, line):
    with pytest.raises(UserError) as caught:
        ProxylessReinforce(**about)
    assert str(caught.value) == line


def test_subsets_are_refused():
    setup = Setup(torch.nn.Linear(1, 1), ToyTask(count_each=4), Space({"a": Subset(("x", "y"))}))
    with pytest.raises(UserError, match="decision 'a' is a Subset, and ProxylessReinforce takes one option"):
        begin(ProxylessReinforce(), setup)
