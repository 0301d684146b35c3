"""The mixture of modules under a gate."""

import pytest
import torch
from torch import nn

from renascent.core.gates import Gate
from renascent.nets.cells.mixed import MixedOp
from renascent.nets.cells.ops import Zero


def test_the_sum_of_the_active_options_by_weight():
    mixed, x = MixedOp([nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)]), torch.randn(4, 3)
    one, _, three = mixed.options
    out = mixed(x, Gate(torch.tensor([0.3, 9.0, -0.5]), (0, 2)))
    torch.testing.assert_close(out, 0.3 * one(x) - 0.5 * three(x))


def test_options_that_are_not_active_are_not_computed_and_get_no_gradient():
    class Never(nn.Linear):
        def forward(self, x):
            raise AssertionError("computed")

    mixed = MixedOp([nn.Linear(3, 2), Never(3, 2)])
    mixed(torch.randn(4, 3), Gate(torch.tensor([1.0, 0.0]), (0,))).sum().backward()
    assert mixed.options[0].weight.grad is not None
    assert mixed.options[1].weight.grad is None


@pytest.mark.parametrize("training", [True, False])
def test_nothing_active_gives_zeros_of_the_outputs_shape(training):
    out = MixedOp([nn.Linear(3, 2)]).train(training)(torch.randn(4, 3), Gate(torch.ones(1), ()))
    assert torch.equal(out, torch.zeros(4, 2))


def test_weight_one_changes_no_bit():
    mixed, x = MixedOp([nn.Linear(3, 2), nn.ReLU()]), torch.randn(4, 3)
    assert torch.equal(mixed(x, Gate(torch.tensor([1.0, 0.0]), (0,))), mixed.options[0](x))


def test_what_is_certain_is_not_multiplied():
    mixed, x = MixedOp([nn.Identity(), nn.ReLU()]), torch.randn(4, 3)
    assert mixed(x, Gate(torch.tensor([1.0, 0.0]), (0,))) is x


def test_zero_is_not_computed():
    class Never(Zero):
        def forward(self, x):
            raise AssertionError("computed")

    x, weight = torch.randn(4, 3), torch.tensor([0.5, 0.5], requires_grad=True)
    mixed = MixedOp([Never(), nn.ReLU()])
    for gate in (Gate(weight, (0, 1)), Gate(weight, (1,), (0,))):
        out = mixed(x, gate)
        torch.testing.assert_close(out, 0.5 * x.relu())
        (slope,) = torch.autograd.grad(out.sum(), weight)
        assert slope.tolist() == [0.0, pytest.approx(float(x.relu().sum()))]


def test_zero_alone_leaves_no_graph():
    x = torch.randn(4, 3, requires_grad=True)
    out = MixedOp([Zero(), nn.Linear(3, 3)])(x, Gate(torch.tensor([1.0, 0.0]), (0,)))
    assert torch.equal(out, torch.zeros(4, 3))
    assert not out.requires_grad


def test_nothing_moves_the_statistics_of_no_option():
    mixed = MixedOp([nn.BatchNorm1d(3), nn.Dropout()]).train()
    before = torch.get_rng_state()
    mixed(torch.randn(4, 3, generator=torch.Generator()), Gate(torch.ones(2), ()))
    assert mixed.options[0].num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), before)
