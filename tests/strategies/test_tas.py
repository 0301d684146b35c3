"""TAS: its architecture step through a real network against the formula of the paper, and its cost loss."""

import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.gates import Gate, soft
from renascent.core.protocols import Progress
from renascent.strategies._bilevel import arch_step
from renascent.strategies._goals import expected_usage, piecewise
from renascent.strategies.tas import TAS


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


@pytest.mark.parametrize(("budget", "sign"), [(0.2, -1), (0.95, 1)])
@pytest.mark.parametrize("weight", [2.0, 0.0])
def test_the_cost_loss_moves_the_expected_cost_to_the_budget(sized, streams, budget, sign, weight):
    """With one sampled size the validation loss says nothing, so that the gradient is the cost's alone."""
    strategy = TAS(samples=1, cost_weight=weight, arch_weight_decay=0.0)
    held = sized(strategy, budget)
    s = held.state

    def usage():
        return expected_usage(s.setup.goals, soft(s.setup.space, s.policy()))

    before = usage()
    (wanted,) = torch.autograd.grad(weight * piecewise(before, 0.05), s.policy.logits)
    metrics = strategy.step(s, streams(held), Progress(0, 10, 10))
    torch.testing.assert_close(s.policy.logits.grad, wanted, rtol=1e-9, atol=1e-12)
    assert float(metrics["cost_macs"]) == pytest.approx(float(before.detach()) * s.setup.goals[0].limit)
    assert torch.sign(usage() - before) == (sign if weight else 0)


def test_within_the_tolerance_the_cost_says_nothing(sized, streams):
    strategy = TAS(samples=1, arch_weight_decay=0.0, tolerance=0.5)
    held = sized(strategy, 0.5)
    strategy.step(held.state, streams(held), Progress(0, 10, 10))
    assert not held.state.policy.logits.grad.any()


def test_validation_loss_and_cost_are_added(sized, streams):
    strategy = TAS(cost_weight=1.5)
    held = sized(strategy, 0.2)
    s = held.state
    (cost,) = torch.autograd.grad(
        1.5 * piecewise(expected_usage(s.setup.goals, soft(s.setup.space, s.policy())), 0.05), s.policy.logits
    )
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


def test_the_temperature_falls_on_a_straight_line(temperatures):
    seen = temperatures(TAS(tau_start=4.0, tau_end=1.0), "several_sizes")
    assert seen == pytest.approx([4, 4, 3, 3, 2, 2, 1, 1])


@pytest.mark.parametrize("samples", [0, 9])
def test_it_samples_one_to_eight(samples):
    with pytest.raises(UserError, match="samples"):
        TAS(samples=samples)


def test_the_paper_setting():
    s = TAS()
    assert (s.arch_lr, s.arch_weight_decay, s.tau_start, s.tau_end) == (1e-3, 1e-3, 10.0, 0.1)
    assert (s.samples, s.cost_weight, s.tolerance) == (2, 2.0, 0.05)
    assert (s.filter_warmup, s.policy_warmup) == (0.0, 0.0)
