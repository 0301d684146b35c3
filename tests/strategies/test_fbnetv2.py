"""FBNet-V2: its architecture step through a real network against masks written out."""

import pytest
import torch

from renascent.core.gates import Gate, gumbel_soft, soft
from renascent.core.protocols import Progress
from renascent.strategies._goals import expected_usage, log_power
from renascent.strategies.fbnetv2 import FBNetV2


def noisy_weights(logits, tau, seed):
    noise = torch.empty_like(logits).exponential_(generator=torch.Generator().manual_seed(seed))
    return ((logits.log_softmax(-1) - noise.log()) / tau).softmax(-1)


@pytest.mark.parametrize("budget", [None, 0.2, 0.95])
@pytest.mark.parametrize("exponent", [0.6, 0.0])
def test_the_arch_step_is_the_gradient_of_loss_times_a_power_of_log_cost(sized, streams, budget, exponent):
    strategy = FBNetV2(arch_every=1, policy_warmup=0.0, cost_exponent=exponent)
    held = sized(strategy, budget)
    s, tau = held.state, 5.0
    logits = s.policy.logits.detach().clone()
    # the weight step draws first; at a rate of zero it changes nothing
    object.__setattr__(s.setup.weights, "lr", 0.0)
    object.__setattr__(s.setup.weights, "lr_end", 0.0)
    s.rng.manual_seed(1)
    gumbel_soft(s.setup.space, logits, tau, s.rng)
    weights = torch.empty_like(logits).exponential_(generator=s.rng)
    w = ((logits.log_softmax(-1) - weights.log()) / tau).softmax(-1)
    leaf = w.clone().requires_grad_()
    gates = {name: Gate(row, tuple(range(8))) for name, row in zip(s.setup.space.decisions, leaf, strict=True)}
    loss = s.setup.task.loss(s.net, held.val, gates).loss
    (slope,) = torch.autograd.grad(loss, leaf)
    wanted = w * (slope - (slope * w).sum(-1, keepdim=True)) / tau
    if budget:
        usage = expected_usage(s.setup.goals, soft(s.setup.space, s.policy()))
        factor = log_power(usage, exponent)
        # with an exponent of 0 the factor is 1 and depends on nothing
        (cost,) = torch.autograd.grad(factor, s.policy.logits, allow_unused=True)
        wanted = wanted * factor.detach() + loss.detach() * cost
        assert bool(cost.any()) == (budget == 0.2 and exponent > 0)
    s.rng.manual_seed(1)
    metrics = strategy.step(s, streams(held), Progress(0, 10, 10))
    torch.testing.assert_close(metrics["val_loss"], loss.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(s.policy.logits.grad, wanted, rtol=1e-8, atol=1e-11)
    assert wanted.abs().max() > 1e-6


def test_masks_add_up(sized):
    """The slope along one size's weight is that of a mask of its first channels: stem only, the others certain."""
    held = sized(FBNetV2())
    s = held.state
    options = s.setup.space.decisions["stem"].options
    w = noisy_weights(s.policy.logits.detach(), 1.0, 0)[0].requires_grad_()
    last = {n: Gate(torch.eye(8, dtype=torch.float64)[7], (7,)) for n in s.setup.space.decisions}
    loss = s.setup.task.loss(s.net, held.val, {**last, "stem": Gate(w, tuple(range(8)))}).loss
    (found,) = torch.autograd.grad(loss, w)

    masks = torch.stack([(torch.arange(16) < size).double() for size in options])
    together = (w.detach() @ masks).requires_grad_()
    unit = s.net.net.stem
    plain = unit.norm.forward
    unit.norm.forward = lambda x: plain(x) * together[:, None, None]
    other = s.setup.task.loss(s.net, held.val, last).loss
    (along,) = torch.autograd.grad(other, together)
    torch.testing.assert_close(other, loss, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found, masks @ along, rtol=1e-8, atol=1e-12)


def test_the_temperature_falls_exponentially(temperatures):
    seen = temperatures(FBNetV2(arch_every=1, tau_start=8.0, tau_end=1.0, policy_warmup=0.0), "gumbel_soft")
    assert seen == pytest.approx([8, 8, 4, 4, 2, 2, 1, 1])


def test_every_size_is_computed(watched):
    strategy = FBNetV2(arch_every=1, policy_warmup=0.0)
    held = watched(strategy)
    strategy.step(held.state, held.data, Progress(0, 4, 4))
    assert [picks for picks, _, _ in held.seen] == [((0, 1, 2), (0, 1, 2))] * 2


def test_the_paper_setting():
    s = FBNetV2()
    assert (s.paper.paper, s.arch_weight_decay, s.tau_start, s.cost_exponent) == (1e-2, 5e-4, 5.0, 0.6)
    assert s.arch_every == 80 / 20  # images of weights and of logits, FBNet, arXiv:1812.03443, Sec. 4.1
