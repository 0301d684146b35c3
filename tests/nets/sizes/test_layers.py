"""Quantities of layers: random numbers against enumeration of what they can be."""

import itertools

import numpy as np
import pytest
import torch

from renascent.core.gates import gumbel_hard, one_hot, soft
from renascent.core.space import Integer, Space
from renascent.nets.sizes.layers import (
    Layer,
    RandomWidth,
    chosen,
    columns,
    largest_active,
    present,
    product,
    spreads,
    strided,
    widest,
)


def spread(*values, seed=0):
    probabilities = torch.rand(len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return RandomWidth(np.array(values), (probabilities / probabilities.sum()).requires_grad_())


def outcomes(*numbers):
    """Return (chance, value of each) for independent random numbers."""
    rows = [list(zip(n.probabilities.tolist(), n.values.tolist(), strict=True)) for n in numbers]
    for row in itertools.product(*rows):
        yield np.prod([probability for probability, _ in row]), *(value for _, value in row)


def test_the_mean_of_a_product_takes_one_draw_together_and_others_apart():
    a, b = spread(2, 3, 7), spread(1, 4, seed=1)
    tied = RandomWidth(a.values * 10 + 1, a.probabilities)
    wanted = sum(p * 5 * x * (10 * x + 1) * y * y for p, x, y in outcomes(a, b))
    assert product(5, a, tied, b, b).item() == pytest.approx(wanted, rel=1e-12)
    assert product(2, np.array([3, 4]), 5).tolist() == [30, 40]


def test_the_widest_of_random_widths_has_the_mean_of_maxima():
    a, b, c = spread(2, 3, 7), spread(1, 3, 9, seed=1), spread(4, 5, seed=2)
    found = widest(a, b, 3, c, b)
    assert found.probabilities.sum().item() == pytest.approx(1)
    assert found.mean().item() == pytest.approx(sum(p * max(x, y, 3, z) for p, x, y, z in outcomes(a, b, c)), rel=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found.mean(), a.probabilities)[0],
        torch.tensor([sum(p * max(x, y, 3, z) for p, y, z in outcomes(b, c)) for x in (2, 3, 7)]),
    )
    assert widest(a, a) is a
    same = widest(a, RandomWidth(np.array([3, 3, 1]), a.probabilities))
    assert same.values.tolist() == [3, 3, 7]
    assert widest(np.array([1, 5]), np.array([2, 2]), 3).tolist() == [3, 5]


def test_chosen_of_a_random_width_is_a_mixture():
    depth, a, b = spread(1, 2, 3), spread(2, 9, seed=1), spread(4, 9, seed=2)
    found = chosen(depth, {1: a, 2: b, 3: 7})
    wanted = sum(p * {1: x, 2: y, 3: 7}[d] ** 2 for p, d, x, y in outcomes(depth, a, b))
    assert product(found, found).item() == pytest.approx(wanted, rel=1e-12)
    assert chosen(np.array([2, 1]), {1: 5, 2: np.array([6, 7])}).tolist() == [6, 5]
    assert chosen(2, {1: 5, 2: 6}) == 6
    assert chosen(depth, {1: a, 2: a, 3: a}) is a


def test_maps_shrink_by_strides_rounded_up():
    a = spread(5, 6, 7)
    assert strided(a, 2).values.tolist() == [3, 3, 4] and strided(a, 2).probabilities is a.probabilities
    assert strided(a, 1) is a
    layer = Layer(name="x", kind="conv", inputs=1, outputs=1, kernel=3, stride=2, size=(a, 9))
    assert layer.size_out[1] == 5
    assert layer.size_out[0].values.tolist() == [
        torch.nn.Conv2d(1, 1, 3, 2, 1)(torch.zeros(1, 1, n, n)).shape[-1] for n in (5, 6, 7)
    ]


def test_presence_is_the_probability_of_enough_depth():
    depth = spread(1, 2, 3)
    assert present(depth, 2).item() == pytest.approx(depth.probabilities[1:].sum().item())
    assert present(np.array([1, 2]), 2).tolist() == [False, True]
    assert present(3, 2) is True


SPACE = Space({"depth": Integer((1, 2)), "width": Integer((8, 16, 32), when=("depth", (2,)))})


def test_gates_are_read_as_numbers_where_nothing_is_open():
    assert spreads(SPACE, one_hot(SPACE, SPACE.arch({"depth": 2, "width": 16}))) == {"depth": 2, "width": 16}
    assert spreads(SPACE, one_hot(SPACE, SPACE.arch({"depth": 1}))) == {"depth": 1, "width": 8}
    logits = torch.zeros(2, 3, requires_grad=True)
    logits = logits.masked_fill(torch.tensor([[False, False, True], [False] * 3]), -torch.inf)
    found = spreads(SPACE, soft(SPACE, logits))
    assert found["width"].values.tolist() == [8, 16, 32] and found["width"].probabilities.dtype == torch.float64
    # a sample has a gradient, so it stays random although one option alone is open
    hard = spreads(SPACE, gumbel_hard(SPACE, logits, 1.0, torch.Generator().manual_seed(0)))
    assert isinstance(hard["depth"], RandomWidth) and hard["depth"].probabilities.requires_grad


def test_columns_and_the_largest_active():
    rows = np.array([[0, 0], [1, 2]])
    assert {k: v.tolist() for k, v in columns(SPACE, rows).items()} == {"depth": [1, 2], "width": [8, 32]}
    gates = one_hot(SPACE, SPACE.arch({"depth": 1}))
    assert largest_active(SPACE, gates) == {"depth": 1, "width": 8}


@pytest.mark.parametrize(
    ("kind", "norm", "wanted"),
    [
        ("conv", True, {"x.conv.weight": (4, 3), "x.norm.weight": (4,), "x.norm.bias": (4,)}),
        ("conv", False, {"x.conv.weight": (4, 3)}),
        ("depthwise", True, {"x.conv.weight": (4, 1), "x.norm.weight": (4,), "x.norm.bias": (4,)}),
        ("norm", True, {"x.norm.weight": (4,), "x.norm.bias": (4,)}),
        ("linear", True, {"x.weight": (4, 3), "x.bias": (4,)}),
        ("pool", True, {}),
        ("add", True, {}),
    ],
)
def test_layers_name_their_parameters(kind, norm, wanted):
    assert Layer(name="x", kind=kind, inputs=3, outputs=4, size=(2, 2), norm=norm).shapes() == wanted
