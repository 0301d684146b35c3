"""The weight step and the architecture step, against the update rules written out."""

import math

import pytest
import torch

from renascent.core.gates import one_hot, soft
from renascent.core.protocols import Progress, WeightRule
from renascent.strategies._bilevel import (
    apply_gradients,
    arch_step,
    frozen,
    gradients,
    policy_step,
    weight_step,
)
from renascent.strategies.darts import DARTS
from renascent.strategies.rsps import RSPS


def snapshot(net):
    return {name: p.detach().clone() for name, p in net.named_parameters()}


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_weight_step_is_nesterov_sgd_with_decay_clip_and_cosine(cell, clip):
    held = cell(DARTS())
    s = held.state
    rule = WeightRule(lr=0.1, lr_end=0.02, momentum=0.8, weight_decay=0.03, clip=clip)
    object.__setattr__(s.setup, "weights", rule)
    (group,) = s.optimiser.param_groups
    group.update(momentum=0.8, weight_decay=0.03)
    before = snapshot(s.net)
    buffers = {name: s.optimiser.state[p]["momentum_buffer"].clone() for name, p in s.net.named_parameters()}
    gates = soft(s.setup.space, s.policy().detach())
    loss = s.setup.task.loss(s.net, held.train, gates).loss
    slopes = torch.autograd.grad(loss, list(s.net.parameters()))
    norm = math.sqrt(sum(float(g.pow(2).sum()) for g in slopes))
    factor = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
    metrics = weight_step(s, held.train, gates, Progress(30, 101, 10))
    assert float(metrics["train_loss"]) == float(loss.detach())
    rate = 0.02 + 0.08 * (1 + math.cos(math.pi * 0.3)) / 2
    for (name, p), g in zip(s.net.named_parameters(), slopes, strict=True):
        d = g * factor + 0.03 * before[name]
        buffer = 0.8 * buffers[name] + d
        torch.testing.assert_close(p, before[name] - rate * (d + 0.8 * buffer), rtol=1e-9, atol=1e-12)


def test_weight_step_leaves_what_took_no_part(watched):
    held = watched(RSPS())
    s, data = held.state, held.data
    arch = s.setup.space.at(0)
    for _ in range(3):  # momentum on every weight
        for other in s.setup.space:
            weight_step(s, data.train.next(), one_hot(s.setup.space, other), Progress(0, 10, 10))
    before = snapshot(s.net)
    weight_step(s, data.train.next(), one_hot(s.setup.space, arch), Progress(0, 10, 10))
    moved = {name for name, p in s.net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {f"rows.row{k}.options.0.linear.{part}" for k in (0, 1) for part in ("weight", "bias")}


def test_arch_step_learns_and_leaves_the_weights_bit_identical(cell):
    held = cell(DARTS())
    s = held.state
    before, logits = snapshot(s.net), s.policy.logits.detach().clone()
    requires, grads = [], []
    s.net.register_forward_hook(lambda m, given, out: requires.append([p.requires_grad for p in m.parameters()]))
    metrics = arch_step(s, held.val, soft(s.setup.space, s.policy()))
    grads = [p.grad for p in s.net.parameters()]
    assert not any(requires[0])
    assert grads == [None] * len(grads)
    assert all(p.requires_grad for p in s.net.parameters())
    assert all(torch.equal(p, before[name]) for name, p in s.net.named_parameters())
    assert not torch.equal(s.policy.logits, logits)
    assert not any(value.requires_grad for value in metrics.values())


def test_arch_step_saves_nothing_for_weight_gradients(cell):
    """The inputs of a convolution are saved for its weight's gradient only: frozen weights must save fewer."""
    held = cell(DARTS())
    s = held.state
    first = s.net.stem[0].weight

    def saved(run):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()) or t, lambda t: t):
            run()
        return kept

    free = saved(lambda: s.setup.task.loss(s.net, held.val, soft(s.setup.space, s.policy())))
    with frozen(s.net):
        bound = saved(lambda: s.setup.task.loss(s.net, held.val, soft(s.setup.space, s.policy())))
    x = held.val[0]
    assert x.data_ptr() in free
    assert x.data_ptr() not in bound
    assert first.requires_grad
    assert len(bound) < len(free)


def test_frozen_is_undone_after_an_error_and_keeps_what_was_frozen(cell):
    net = cell(RSPS()).state.net
    net.classifier.bias.requires_grad_(False)

    def fail():
        with frozen(net):
            assert not any(p.requires_grad for p in net.parameters())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == ["classifier.bias"]


def test_gradients_are_zero_where_nothing_depends(cell):
    s = cell(DARTS()).state
    parameters = list(s.policy.parameters())
    (zero,) = gradients(torch.tensor(1.0), parameters)
    assert torch.equal(zero, torch.zeros_like(parameters[0]))
    other = torch.ones(2, requires_grad=True)
    (zero,) = gradients(other.sum(), parameters)
    assert torch.equal(zero, torch.zeros_like(parameters[0]))


def test_apply_gradients_is_one_step_of_the_optimiser(cell):
    s = cell(DARTS(arch_lr=0.1, arch_weight_decay=0.2)).state
    before = s.policy.logits.detach().clone()
    gradient = torch.randn_like(before)
    apply_gradients(s, [gradient])
    g = gradient + 0.2 * before
    # the first step of Adam: both moments corrected to g and g squared
    torch.testing.assert_close(s.policy.logits.detach(), before - 0.1 * g / (g.abs() + 1e-8))


def test_the_policy_learns_by_the_papers_adam(cell):
    (group,) = cell(DARTS(arch_lr=3e-4, arch_weight_decay=1e-3)).state.policy_optimiser.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"], group["eps"]) == (3e-4, (0.5, 0.999), 1e-3, 1e-8)


def test_a_weight_step_gives_the_policy_no_gradient(cell):
    held = cell(DARTS())
    s = held.state
    weight_step(s, held.train, soft(s.space, s.policy()), Progress(0, 10, 10))
    assert s.policy.logits.grad is None


@pytest.mark.parametrize("norm", [None, 1e-4])
def test_policy_step_sets_the_rate_and_clips(cell, norm):
    s = cell(DARTS(arch_lr=0.1)).state
    policy_step(s, s.policy.logits.pow(2).sum(), lr=0.02, clip=norm)
    assert [group["lr"] for group in s.policy_optimiser.param_groups] == [0.02]
    found = float(s.policy.logits.grad.norm())
    assert found == pytest.approx(1e-4, rel=1e-3) if norm else found > 1
