"""The unrolled gradient: against autograd through an explicit step, and against finite differences of real steps."""

import copy

import pytest
import torch
from torch.func import functional_call

from renascent.core.gates import soft
from renascent.core.protocols import Progress, WeightRule
from renascent.strategies.darts import DARTSSecondOrder, unrolled_gradient


def explicit(s, train, val, lr):
    """Differentiate L_val(w - lr (g + decay w + momentum buffer)) through everything at once."""
    task, rule, weights = s.setup.task, s.setup.weights, dict(s.net.named_parameters())
    loss = task.loss(s.net, train, soft(s.setup.space, s.policy())).loss
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    moved = {}
    for (name, w), g in zip(weights.items(), slopes, strict=True):
        buffer = s.optimiser.state[w].get("momentum_buffer", torch.zeros_like(w))
        moved[name] = w - lr * (g + rule.weight_decay * w + rule.momentum * buffer)
    gates = soft(s.setup.space, s.policy())
    out = task.loss(lambda x, g: functional_call(s.net, moved, (x, g)), val, gates).loss
    (gradient,) = torch.autograd.grad(out, [s.policy.logits])
    return gradient, out.detach()


def stepped(s, train, val, lr, logits):
    """Return the validation loss after torch's own optimiser took the step on a copy, without Nesterov or clipping."""
    net, rule, task = copy.deepcopy(s.net), s.setup.weights, s.setup.task
    optimiser = torch.optim.SGD(net.parameters(), lr=lr, momentum=rule.momentum, weight_decay=rule.weight_decay)
    for mine, theirs in zip(net.parameters(), s.net.parameters(), strict=True):
        optimiser.state[mine]["momentum_buffer"] = s.optimiser.state[theirs]["momentum_buffer"].clone()
    gates = soft(s.setup.space, logits)
    task.loss(net, train, gates).loss.backward()
    optimiser.step()
    with torch.no_grad():
        return float(task.loss(net, val, gates).loss)


def with_rule(held, rule):
    object.__setattr__(held.state.setup, "weights", rule)
    return held.state


@pytest.mark.parametrize("lr", [0.0, 0.025, 0.3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("buffers", [True, False])  # before the first step there are none
def test_it_is_the_gradient_through_the_explicit_step(cell, lr, momentum, buffers):
    held = cell(DARTSSecondOrder())
    s = with_rule(held, WeightRule(momentum=momentum, weight_decay=0.01))
    if not buffers:
        s.optimiser.state.clear()
    wanted, loss = explicit(s, held.train, held.val, lr)
    found, metrics = unrolled_gradient(s, held.train, held.val, lr)
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(metrics["val_loss"], loss, rtol=1e-12, atol=1e-12)


def test_it_is_the_slope_of_real_steps(cell):
    held = cell(DARTSSecondOrder())
    s, lr, step = with_rule(held, WeightRule(weight_decay=0.01)), 0.1, 1e-5
    logits = s.policy.logits.detach().clone()
    wanted = torch.zeros_like(logits)
    for place in range(logits.numel()):
        shift = torch.zeros_like(logits)
        shift.view(-1)[place] = step
        ahead, behind = (stepped(s, held.train, held.val, lr, logits + sign * shift) for sign in (1, -1))
        wanted.view(-1)[place] = (ahead - behind) / (2 * step)
    found, _ = unrolled_gradient(s, held.train, held.val, lr)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-8)


def test_the_second_order_term_matters_here(cell):
    held = cell(DARTSSecondOrder())
    s = held.state
    (first, _), (second, _) = (unrolled_gradient(s, held.train, held.val, lr) for lr in (0.0, 0.3))
    assert (second - first).norm() > 0.05 * first.norm()


def test_it_changes_nothing(cell):
    held = cell(DARTSSecondOrder())
    s = held.state
    before = copy.deepcopy(s.state_dict())
    unrolled_gradient(s, held.train, held.val, 0.1)
    after = s.state_dict()
    assert all(torch.equal(value, after["net"][name]) for name, value in before["net"].items())
    assert all(p.grad is None for p in [*s.net.parameters(), *s.policy.parameters()])
    for key, held_state in before["optimiser"]["state"].items():
        assert torch.equal(held_state["momentum_buffer"], after["optimiser"]["state"][key]["momentum_buffer"])


def test_a_step_uses_one_training_batch_for_both(cell, streams):
    strategy = DARTSSecondOrder()
    held = cell(strategy)
    s, log = held.state, []

    wanted, _ = unrolled_gradient(s, held.train, held.val, s.setup.weights.rate(0.5))
    weights = [p.detach().clone() for p in s.net.parameters()]
    strategy.step(s, streams(held, log), Progress(5, 11, 11))
    assert sorted(log) == ["train", "val"]
    torch.testing.assert_close(s.policy.logits.grad, wanted)
    assert not any(torch.equal(p, w) for p, w in zip(s.net.parameters(), weights, strict=True))
