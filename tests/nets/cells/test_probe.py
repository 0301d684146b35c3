"""Probes against full autograd, where the probed options are active with weight zero."""

import pytest
import torch
from torch import nn

from renascent.core.gates import Gate
from renascent.nets.cells.mixed import MixedOp
from renascent.nets.cells.probe import probe


def mixture() -> tuple[MixedOp, torch.Tensor]:
    options = [nn.Conv2d(2, 3, 1), nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh()), nn.Conv2d(2, 3, 1)]
    return MixedOp(options), torch.randn(4, 2, 5, 5, requires_grad=True)


def gradients(mixed, x, gate):
    """Return the output, and the gradients of the gate's weight, of x and of the options' weights."""
    out = mixed(x, gate)
    leaves = [gate.weight, x, *mixed.parameters()]
    return out, torch.autograd.grad(out.sin().sum(), leaves, materialize_grads=True)


@pytest.mark.parametrize(("active", "probed"), [((1,), (0, 2)), ((0,), (2,)), ((), (0, 1, 2)), ((0, 2), (1,))])
def test_the_gradient_is_that_of_weight_zero(active, probed):
    mixed, x = mixture()
    weight = torch.tensor([0.7 if k in active else 0.0 for k in range(3)], requires_grad=True)
    out, (slope, to_x, *to_options) = gradients(mixed, x, Gate(weight, active, probed))
    everything = tuple(sorted(active + probed))
    full, (full_slope, full_to_x, *full_to_options) = gradients(mixed, x, Gate(weight, everything))
    torch.testing.assert_close(out, full, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slope, full_slope, rtol=1e-10, atol=1e-12)
    assert slope[list(probed)].abs().min() > 1e-3
    torch.testing.assert_close([to_x, *to_options], [full_to_x, *full_to_options], rtol=1e-10, atol=1e-12)


def test_an_option_that_is_neither_active_nor_probed_gets_nothing():
    mixed, x = mixture()
    weight = torch.tensor([0.7, 0.0, 0.0], requires_grad=True)
    _, (slope, *_) = gradients(mixed, x, Gate(weight, (0,), (2,)))
    assert slope[1] == 0


def test_probed_options_run_one_at_a_time_without_a_graph_and_only_in_the_backward_pass():
    seen = []

    def option(x):
        seen.append(torch.is_grad_enabled())
        return x * 2

    weight = torch.zeros(2, requires_grad=True)
    out = probe(torch.zeros(3), torch.ones(3, requires_grad=True), weight, {0: option, 1: option})
    assert seen == []
    out.sum().backward()
    assert seen == [False, False]
    assert weight.grad.tolist() == [6.0, 6.0]


def test_without_a_gradient_nothing_is_probed():
    out = torch.zeros(3)
    assert probe(out, torch.ones(3), torch.zeros(2), {0: torch.square}) is out
    assert probe(out, torch.ones(3), torch.zeros(2, requires_grad=True), {}) is out


def test_a_probe_is_differentiable_once():
    weight = torch.zeros(1, requires_grad=True)
    out = probe(torch.ones(3, requires_grad=True) ** 2, torch.ones(3), weight, {0: torch.square})
    (slope,) = torch.autograd.grad(out.pow(2).sum(), [weight], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


class Noisy(nn.Sequential):
    """What a user may put in: batch normalisation that keeps statistics, and dropout."""

    def __init__(self):
        super().__init__(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5))


def step(seed, probed):
    """Return the running statistics after a training step, its gradients, and what is drawn next."""
    torch.manual_seed(seed)
    layers = [MixedOp([Noisy(), Noisy(), Noisy()]) for _ in range(2)]
    weight = torch.tensor([0.0, 1.0, 0.0], requires_grad=True)
    gate, x = Gate(weight, (1,), probed), torch.randn(4, 2, 5, 5)
    out = layers[1](layers[0](x, gate)[:, :2], gate)
    out.square().sum().backward()
    buffers = [b for layer in layers for b in layer.buffers()]
    gradients = [p.grad for layer in layers for p in layer.options[1].parameters()]
    return [*buffers, *gradients, weight.grad[1], torch.rand(3), torch.get_rng_state()], weight.grad


@pytest.mark.parametrize("seed", range(3))
def test_statistics_and_dropout_of_a_step_are_those_without_probes_to_the_bit(seed):
    (alone, without), (seen, with_probes) = step(seed, ()), step(seed, (0, 2))
    assert all(torch.equal(a, b) for a, b in zip(alone, seen, strict=True))
    assert without.tolist()[::2] == [0.0, 0.0]
    assert with_probes.abs().min() > 1e-6


def test_what_is_put_back_does_not_disturb_a_graph_that_saved_it():
    option = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    weight = torch.zeros(1, requires_grad=True)
    x = torch.randn(2, 2, 3, 3)
    out = probe(option(x), x, weight, {0: option})
    out.square().sum().backward()
    assert option[1].num_batches_tracked == 1
    assert weight.grad.item() > 0
