"""What budgets add to losses and take from rewards, against the formulas written out."""

import math

import numpy as np
import pytest
import torch

from renascent.core.gates import one_hot, soft
from renascent.core.protocols import Goal
from renascent.core.space import Integer, Space
from renascent.strategies._goals import costs, exact_usage, expected_usage, log_power, piecewise

SPACE = Space({"a": Integer((2, 4, 6)), "b": Integer((1, 3))})
VALUES = (torch.tensor([2.0, 4.0, 6.0], dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64))


def product(limit):
    """Return a goal whose cost is the product of both sizes."""

    def cost(gates):
        (x, y) = ((g.weight.double() * v).sum() for g, v in zip(gates.values(), VALUES, strict=True))
        return x * y

    def exact(rows):
        return VALUES[0].numpy()[rows[:, 0]] * VALUES[1].numpy()[rows[:, 1]]

    return Goal("macs", limit, cost, exact)


def logits():
    return torch.tensor([[0.3, -0.2, 0.5], [0.1, 0.4, -torch.inf]], dtype=torch.float64, requires_grad=True)


def test_usage_is_cost_over_limit():
    goals = (product(8.0), product(16.0))
    arch = SPACE.arch({"a": 4, "b": 3})
    expected = expected_usage(goals, one_hot(SPACE, arch))
    assert expected.tolist() == [1.5, 0.75]
    assert expected.dtype == torch.float64
    rows = np.array([[1, 1], [0, 0]])
    assert exact_usage(goals, rows).tolist() == [[1.5, 0.75], [0.25, 0.125]]
    assert exact_usage((), rows).shape == (2, 0)
    assert costs(goals[:1], expected[:1]) == {"cost_macs": 12.0}


@pytest.mark.parametrize(
    ("derived", "sign"),
    [(2.0, 1), (1.051, 1), (1.049, 0), (1.0, 0), (0.951, 0), (0.949, -1), (0.1, -1)],
)
@pytest.mark.parametrize("expected", [0.3, 1.0, 3.0])
def test_the_cost_that_would_be_derived_gives_the_sign_and_the_expected_cost_the_gradient(derived, sign, expected):
    """Above the budget it falls along log E[R], below it rises, inside it stands still, whatever is expected."""
    values = logits()
    cost = product(1.0).cost(soft(SPACE, values))
    goal = product(float(cost.detach()) / expected)
    found = piecewise(expected_usage((goal,), soft(SPACE, values)), torch.tensor([derived], dtype=torch.float64), 0.05)
    assert float(found.detach()) == pytest.approx(sign * math.log(expected), abs=1e-12)
    (slope,) = torch.autograd.grad(found, values)
    (wanted,) = torch.autograd.grad(cost.log(), values)
    torch.testing.assert_close(slope, sign * wanted, rtol=1e-12, atol=1e-14)
    assert wanted[:, :2].abs().min() > 1e-3


def test_several_goals_are_added():
    usage = torch.tensor([2.0, 0.5, 4.0], dtype=torch.float64)
    derived = torch.tensor([1.5, 0.3, 1.0], dtype=torch.float64)
    assert float(piecewise(usage, derived, 0.05)) == pytest.approx(math.log(2) - math.log(0.5))
    assert float(piecewise(usage[:0], derived[:0], 0.05)) == 0


@pytest.mark.parametrize(("usage", "factor"), [(3.0, (1 + math.log(3)) ** 0.6), (1.0, 1.0), (0.2, 1.0)])
def test_log_power_is_the_paper_s_with_cost_in_units_of_limit_over_e(usage, factor):
    assert float(log_power(torch.tensor([usage], dtype=torch.float64), 0.6)) == pytest.approx(factor)
    if usage >= 1:
        assert factor == pytest.approx(math.log(usage * math.e) ** 0.6)


def test_log_power_gradient():
    usage = torch.tensor([2.0, 0.7, 1.3], dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(log_power(usage, 0.6), usage)
    a, b = 1 + math.log(2), 1 + math.log(1.3)
    assert found.tolist() == pytest.approx([0.6 * a**-0.4 / 2 * b**0.6, 0.0, 0.6 * b**-0.4 / 1.3 * a**0.6], rel=1e-12)
    assert float(log_power(torch.zeros(0), 0.6)) == 1
    assert float(log_power(usage.detach(), 0.0)) == 1
