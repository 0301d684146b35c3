"""ENAS: its estimator against the enumerated expectation, and rewards that build no graph."""

import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.protocols import Progress
from renascent.strategies._rewards import reinforce_loss
from renascent.strategies.enas import ENAS

TINY = ENAS(controller_steps=2, controller_samples=3, hidden=5, candidates=10)


def all_picks(space):
    return torch.tensor([space.indices(arch).tolist() for arch in space])


def flat(gradients):
    return torch.cat([g.reshape(-1) for g in gradients])


@pytest.mark.parametrize("baseline", [0.0, 0.6])
def test_the_mean_estimator_is_the_gradient_of_reward_and_entropy(watched, baseline):
    """Sum over all architectures of p(a) x the estimator's gradient at a = gradient of - E[R] - w H."""
    s = watched(TINY).state
    policy, weight = s.policy.double(), 0.2
    with torch.no_grad():
        for p in policy.parameters():
            p.mul_(15)
    picks = all_picks(s.setup.space)
    rewards = torch.rand(len(picks), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parameters = list(policy.parameters())

    log_p = policy(picks=picks).log_probability
    objective = -(log_p.exp() * rewards).sum() + weight * (log_p.exp() * log_p).sum()
    wanted = flat(torch.autograd.grad(objective, parameters, materialize_grads=True))

    b, mean = torch.tensor(baseline, dtype=torch.float64), torch.zeros_like(wanted)
    for row, reward in zip(picks, rewards, strict=True):
        draw = policy(picks=row[None])
        loss = reinforce_loss(draw.log_probability[0], draw.entropy[0], reward, b, weight)
        probability = draw.log_probability[0].exp().detach()
        mean += probability * flat(torch.autograd.grad(loss, parameters, materialize_grads=True))
    torch.testing.assert_close(mean, wanted, rtol=1e-9, atol=1e-12)
    assert wanted.norm() > 1e-3


def test_the_controller_learns_at_the_end_of_an_epoch_only(watched):
    held = watched(TINY)
    s, data = held.state, held.data
    before = [p.detach().clone() for p in s.policy.parameters()]
    metrics = TINY.step(s, data, Progress(0, 16, 8))
    assert set(metrics) == {"train_loss", "train_score"}
    assert data.val.state_dict() == {"given": 0}
    assert all(torch.equal(p, q) for p, q in zip(s.policy.parameters(), before, strict=True))
    metrics = TINY.step(s, data, Progress(7, 16, 8))
    assert set(metrics) == {"train_loss", "train_score", "val_score"}
    assert data.val.state_dict() == {"given": 2 * 3}
    assert any(not torch.equal(p, q) for p, q in zip(s.policy.parameters(), before, strict=True))


def test_a_reward_builds_no_graph_and_moves_no_weight(watched):
    held = watched(TINY)
    s, data = held.state, held.data
    weights = {name: p.detach().clone() for name, p in s.net.named_parameters()}
    TINY._controller_step(s, data)
    assert len(held.seen) == 3
    assert not any(graph for _, _, graph in held.seen)
    assert all(p.grad is None for p in s.net.parameters())
    assert all(torch.equal(p, weights[name]) for name, p in s.net.named_parameters())


def test_rewards_are_validation_accuracies_and_the_baseline_is_their_moving_average(watched):
    held = watched(TINY)
    s, data = held.state, held.data
    (_, first), (_, second) = (TINY._sample(s, data) for _ in range(2))
    batches = held.data.val
    for reward, (picks, _, _) in zip((first, second), held.seen[:2], strict=True):
        arch = s.setup.space.at(picks[0][0] * 3 + picks[1][0])
        net = s.net.extract(arch)
        assert float(reward) == float(s.setup.task.loss(net, batches.next()).score)
    assert float(s.extra["baseline"]) == pytest.approx(0.99 * float(first) + 0.01 * float(second))


def test_the_update_averages_the_samples_and_clips(watched):
    strategy = ENAS(controller_steps=1, controller_samples=4, hidden=5, clip=1e-4)
    held = watched(strategy)
    strategy._controller_step(held.state, held.data)
    total = sum(float(p.grad.pow(2).sum()) for p in held.state.policy.parameters()) ** 0.5
    assert total == pytest.approx(1e-4, rel=1e-2)


def test_each_step_trains_one_sampled_architecture(watched):
    held = watched(TINY)
    data = held.data
    for k in range(5):
        TINY.step(held.state, data, Progress(k, 16, 8))
    assert all(len(option) == 1 for picks, _, _ in held.seen for option in picks)
    assert all(graph for _, _, graph in held.seen)


def test_probabilities_are_the_controllers(watched):
    held = watched(TINY)
    for mine, other in zip(
        TINY.probabilities(held.state).values(), held.state.policy.marginals().values(), strict=True
    ):
        assert torch.equal(mine, other)


def test_the_paper_setting():
    s = ENAS()
    assert (s.controller_lr, s.controller_steps, s.controller_samples, s.baseline_decay) == (1e-3, 50, 20, 0.99)
    assert (s.entropy_weight, s.tanh_constant, s.temperature, s.hidden, s.layers) == (1e-4, 2.5, 5.0, 32, 2)


def test_a_reward_that_is_its_own_baseline_is_refused():
    with pytest.raises(UserError, match=r"baseline_decay is 0: give a number from 0\.01"):
        ENAS(baseline_decay=0)
