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
