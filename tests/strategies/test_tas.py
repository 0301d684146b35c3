"""TAS: its architecture step through a real network against the formula of the paper, and its cost loss."""

import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.gates import Gate, soft
from renascent.core.protocols import Progress, Setup
from renascent.costs import macs
from renascent.costs.budget import Budget
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.strategies._bilevel import arch_step, policy_step
from renascent.strategies._goals import expected_usage
from renascent.strategies.tas import TAS
from renascent.tasks.toy import ToyTask


def slopes_of(s, batch, gates):
    """Return the loss, and its slope along every weight of every gate, (decisions, options)."""
    leaves = {name: gate.weight.detach().clone().requires_grad_() for name, gate in gates.items()}
    given = {name: Gate(leaves[name], gate.active, blend=gate.blend) for name, gate in gates.items()}
    loss = s.setup.task.loss(s.net, batch, given).loss
    return loss.detach(), torch.stack(torch.autograd.grad(loss, list(leaves.values())))


@pytest.mark.parametrize("samples", [2, 3, 8])
@pytest.mark.parametrize("tau", [5.0, 0.5])
def test_the_arch_step_is_the_formula(sized, samples, tau):
    """dL/dlogit_m = sum over sampled k of dL/dw_k w_k (delta_km - w_m) / tau, and zero for what was not sampled."""
    strategy = TAS(samples=samples, tau_start=tau, tau_end=tau)
    held = sized(strategy)
    s = held.state
    logits = s.policy.logits.detach().clone()
    noise = torch.empty_like(logits).exponential_(generator=torch.Generator().manual_seed(3))
    noisy = (logits.log_softmax(-1) - noise.log()) / tau
    s.rng.manual_seed(3)
    gates = strategy.sample(s, s.policy(), Progress(0, 10, 10))
    _, slopes = slopes_of(s, held.val, gates)
    wanted = torch.zeros_like(logits)
    for row, gate in enumerate(gates.values()):
        chosen = list(gate.active)
        assert len(chosen) == samples
        assert gate.blend == "interpolate"
        total = sum(noisy[row, k].exp() for k in chosen)
        w = {k: noisy[row, k].exp() / total for k in chosen}
        assert {k: float(gate.weight.detach()[k]) for k in chosen} == pytest.approx({k: float(v) for k, v in w.items()})
        for m in chosen:
            wanted[row, m] = sum(slopes[row, k] * w[k] * (float(k == m) - w[m]) for k in chosen) / tau
    arch_step(s, held.val, gates)
    torch.testing.assert_close(s.policy.logits.grad, wanted, rtol=1e-8, atol=1e-11)
    assert wanted.abs().max() > 1e-6


def test_one_sampled_size_gives_no_gradient(sized):
    strategy = TAS(samples=1)
    held = sized(strategy)
    s = held.state
    for seed in range(3):
        s.rng.manual_seed(seed)
        arch_step(s, held.val, strategy.sample(s, s.policy(), Progress(9, 10, 10)))
        assert torch.equal(s.policy.logits.grad, torch.zeros_like(s.policy.logits))


def usages(s):
    """Return the cost of the policy's mode over the limit, by the layers' own count, and the expected one."""
    space, (goal,) = s.setup.space, s.setup.goals
    mode = space.arch({name: space.options(name)[int(row.argmax())] for name, row in s.policy.rows().items()})
    net = ResNetCifar(layers_count=8, depths=False).network(mode, 1, 3)
    return macs(net, (1, 8, 8)) / goal.limit, goal.cost(soft(space, s.policy())).double() / goal.limit


@pytest.mark.parametrize(("budget", "sign"), [(0.2, 1), (0.95, -1)])
@pytest.mark.parametrize("weight", [2.0, 0.0])
def test_the_cost_loss_moves_the_expected_cost_to_the_budget(sized, streams, budget, sign, weight):
    """With one sampled size the validation loss says nothing, so that the gradient is the cost's alone."""
    strategy = TAS(samples=1, cost_weight=weight, arch_weight_decay=0.0)
    held = sized(strategy, budget)
    s = held.state
    mode, before = usages(s)
    assert (mode > 1) == (sign == 1)
    (wanted,) = torch.autograd.grad(weight * sign * before.log(), s.policy.logits)
    metrics = strategy.step(s, streams(held), Progress(0, 10, 10))
    torch.testing.assert_close(s.policy.logits.grad, wanted, rtol=1e-9, atol=1e-12)
    assert float(metrics["cost_macs"]) == pytest.approx(float(before.detach()) * s.setup.goals[0].limit)
    assert torch.sign(usages(s)[1] - before) == (-sign if weight else 0)


@pytest.mark.parametrize(("high", "sign"), [(0, -1), (7, 1)])
def test_the_mode_says_whether_to_grow_or_to_shrink(sized, streams, high, sign):
    """All sizes are about equally likely, the smallest or the largest a little more: the mode is far from the mean."""
    strategy = TAS(samples=1, arch_weight_decay=0.0)
    held = sized(strategy, 0.5)
    s = held.state
    with torch.no_grad():
        s.policy.logits.zero_()[:, high] = 1e-3
    mode, before = usages(s)
    assert (mode < 0.95, mode > 1.05) == (sign == -1, sign == 1)
    (slope,) = torch.autograd.grad(before.log(), s.policy.logits)
    strategy.step(s, streams(held), Progress(0, 10, 10))
    torch.testing.assert_close(s.policy.logits.grad, strategy.cost_weight * sign * slope, rtol=1e-9, atol=1e-12)


def test_within_the_tolerance_the_cost_says_nothing(sized, streams):
    strategy = TAS(samples=1, arch_weight_decay=0.0, tolerance=0.5)
    held = sized(strategy, 0.5)
    assert 0.5 < usages(held.state)[0] < 1.5
    strategy.step(held.state, streams(held), Progress(0, 10, 10))
    assert not held.state.policy.logits.grad.any()


def test_validation_loss_and_cost_are_added(sized, streams):
    strategy = TAS(cost_weight=1.5)
    held = sized(strategy, 0.2)
    s = held.state
    mode, expected = usages(s)
    assert mode > 1.05
    (cost,) = torch.autograd.grad(1.5 * expected.log(), s.policy.logits)
    state = s.net.state_dict()
    weights = {name: value.clone() for name, value in state.items()}
    s.rng.manual_seed(5)
    strategy.step(s, streams(held), Progress(0, 10, 10))
    both = s.policy.logits.grad.clone()
    again = sized(TAS(cost_weight=0.0), 0.2)
    again.state.net.load_state_dict(weights)
    again.state.rng.manual_seed(5)
    TAS(cost_weight=0.0).step(again.state, streams(again), Progress(0, 10, 10))
    torch.testing.assert_close(both, again.state.policy.logits.grad + cost, rtol=1e-7, atol=1e-10)


def test_the_cost_loss_alone_brings_what_is_derived_to_the_budget():
    """Of 300 steps the last 100 are within the tolerance, or lie on both sides of it: they do not stay off it."""
    config = ResNetCifar(layers_count=20)
    (goal,) = goals = Budget.parse("macs<=0.5x").goals(config, (3, 32, 32), 10)
    strategy = TAS(arch_lr=0.1)
    s = strategy.init(Setup(config.supernet(3, 10), ToyTask(), config.space, goals=goals))
    costs = []
    for _ in range(300):
        usage = expected_usage(goals, soft(s.space, s.policy()))
        policy_step(s, strategy.charge(s, torch.zeros((), dtype=torch.float64), usage))
        costs.append(goal.exact(s.space.indices(s.policy.best())[None])[0] / goal.limit)
    within = [abs(cost - 1) <= 0.05 for cost in costs[200:]]
    assert any(within)
    assert all(within) or min(costs[200:]) < 1 < max(costs[200:])
    assert all(0.5 < cost < 1.5 for cost in costs[200:])


def test_the_temperature_falls_on_a_straight_line(temperatures):
    seen = temperatures(TAS(tau_start=4.0, tau_end=1.0), "several_sizes")
    assert seen == pytest.approx([4, 4, 3, 3, 2, 2, 1, 1])


@pytest.mark.parametrize("samples", [0, 9])
def test_it_samples_one_to_eight(samples):
    with pytest.raises(UserError, match="samples"):
        TAS(samples=samples)


def test_the_paper_setting():
    s = TAS()
    assert (s.paper.paper, s.arch_weight_decay, s.tau_start, s.tau_end) == (1e-3, 1e-3, 10.0, 0.1)
    assert (s.samples, s.cost_weight, s.tolerance) == (2, 2.0, 0.05)
    assert (s.filter_warmup, s.policy_warmup) == (0.0, 0.0)
