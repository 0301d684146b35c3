"""How widths come together: against the papers' formulas, element by element."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from renascent.core.gates import Gate, certain
from renascent.nets.sizes.mixture import (
    interpolated,
    interpolated_rows,
    mask,
    padded,
    padded_sum,
    stretch,
    stretching,
)

PAIRS = [(1, 1), (1, 4), (2, 3), (3, 7), (5, 8), (8, 8), (11, 16), (16, 40), (63, 64)]


@pytest.mark.parametrize(("narrow", "wide"), PAIRS)
def test_stretching_is_adaptive_average_pooling_over_channels(narrow, wide):
    x = torch.randn(2, narrow, 3, 2)
    pooled = functional.adaptive_avg_pool3d(x[:, None], (wide, 3, 2))[:, 0]
    torch.testing.assert_close(stretch(x, wide), pooled, rtol=1e-12, atol=1e-12)
    # TAS, Sec. 3.1: channel i is the mean of channels floor(i C / C') to ceil((i + 1) C / C') - 1
    for i in range(wide):
        window = x[:, math.floor(i * narrow / wide) : math.ceil((i + 1) * narrow / wide)]
        torch.testing.assert_close(pooled[:, i], window.mean(1), rtol=1e-12, atol=1e-12)
    assert stretching(narrow, wide).sum(1).tolist() == pytest.approx([1] * wide)


OPTIONS = (2, 3, 5, 8)


def gate(*active, seed=0, blend="interpolate"):
    weight = torch.rand(len(OPTIONS), generator=torch.Generator().manual_seed(seed))
    kept = torch.zeros(len(OPTIONS))
    kept[list(active)] = weight[list(active)] / weight[list(active)].sum()
    return Gate(kept.requires_grad_(), active, blend=blend)


def written(x, g):
    """TAS, Eq. 5, one width after the other."""
    wide = max(OPTIONS[k] for k in g.active)
    total = torch.zeros_like(x)
    for k in g.active:
        for i in range(wide):
            first, last = i * OPTIONS[k] // wide, math.ceil((i + 1) * OPTIONS[k] / wide)
            total[:, i] = total[:, i] + g.weight[k] * x[:, first:last].mean(1)
    return total


@pytest.mark.parametrize("active", [a for n in (1, 2, 3, 4) for a in itertools.combinations(range(4), n)])
def test_interpolation_is_the_written_sum_with_its_gradients(assert_alike, active):
    g = gate(*active)
    wide = OPTIONS[max(active)]
    x = torch.randn(3, wide, 2, 2, requires_grad=True)
    ours = interpolated(x, g, OPTIONS)
    assert_alike(ours, written(x, g), (x, g.weight), 1e-12)
    rows = interpolated_rows(x[0].flatten(1), g, OPTIONS)
    torch.testing.assert_close(rows, ours[0].flatten(1), rtol=1e-12, atol=1e-12)


def test_a_mask_is_the_sum_of_the_masks_of_the_active_widths():
    g = gate(0, 2, 3, blend="sum")
    wanted = sum(g.weight[k] * (torch.arange(8) < OPTIONS[k]) for k in (0, 2, 3))
    torch.testing.assert_close(mask(g, OPTIONS, 8), wanted)
    (found,) = torch.autograd.grad(mask(g, OPTIONS, 8).sum(), g.weight)
    assert found.tolist() == [2, 0, 5, 8]


def test_sums_pad_the_narrower_with_zeros():
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    for out in (padded_sum(a, b), padded_sum(b, a)):
        assert torch.equal(out[:, :3], a + b[:, :3]) and torch.equal(out[:, 3:], b[:, 3:])
    assert padded(a, 3) is a


def test_certain_needs_one_active_option_without_gradient():
    one = torch.tensor([0.0, 1.0])
    assert certain(Gate(one, (1,)))
    assert not certain(Gate(one, (0, 1)))
    assert not certain(Gate(one.clone().requires_grad_(), (1,)))
    assert not certain(Gate(torch.tensor([0.0, 0.5]), (1,)))
