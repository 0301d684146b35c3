"""The mixture of modules under a gate."""

import pytest
import torch
from torch import nn

from renascent.core.gates import Gate
from renascent.nets.cells.mixed import MixedOp


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
