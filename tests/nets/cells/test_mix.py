"""The weighted sum: values, both derivatives, and the memory layout."""

import pytest
import torch

from renascent.core.recursion import squared
from renascent.nets.cells import mix
from renascent.nets.cells.mix import accumulate, dot, laid_out_like, weighted_sums


@pytest.mark.parametrize("with_total", [True, False])
@pytest.mark.parametrize("with_weight", [True, False])
def test_values(with_total, with_weight):
    total = torch.randn(2, 3, 4, 4) if with_total else None
    part, weight = torch.randn(2, 3, 4, 4), torch.tensor(0.7) if with_weight else None
    wanted = part * (0.7 if with_weight else 1) + (total if with_total else 0)
    torch.testing.assert_close(accumulate(total, part, weight), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("with_total", [True, False])
def test_both_derivatives_against_finite_differences(with_total):
    total = torch.randn(2, 2, 3, 3, requires_grad=True) if with_total else None
    part, weight = torch.randn(2, 2, 3, 3, requires_grad=True), torch.randn((), requires_grad=True)
    assert torch.autograd.gradcheck(accumulate, (total, part, weight))
    assert torch.autograd.gradgradcheck(accumulate, (total, part, weight))


@pytest.mark.parametrize("needs", [(True, False, False), (False, True, False), (False, False, True)])
def test_one_gradient_alone(needs):
    tensors = (torch.randn(2, 2, 3, 3), torch.randn(2, 2, 3, 3), torch.randn(()))
    total, part, weight = (t.requires_grad_(need) for t, need in zip(tensors, needs, strict=True))
    toward = torch.randn(2, 2, 3, 3)
    leaf = next(t for t in (total, part, weight) if t.requires_grad)
    (found,) = torch.autograd.grad((accumulate(total, part, weight) * toward).sum(), [leaf])
    (wanted,) = torch.autograd.grad(((total + part * weight) * toward).sum(), [leaf])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("layouts", [(a, b) for a in (False, True) for b in (False, True)])
def test_dot_in_any_layout(layouts):
    a, b = (
        torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        for last in layouts
    )
    torch.testing.assert_close(dot(a, b), (a * b).sum(), rtol=1e-12, atol=1e-12)
    assert torch.equal(laid_out_like(a, b), b)
    assert laid_out_like(a, b).stride() == a.stride()


LAYOUTS = (torch.contiguous_format, torch.channels_last)


def three(layout):
    maps = [torch.randn(2, 3, 4, 5).contiguous(memory_format=layout).requires_grad_() for _ in range(3)]
    return maps, torch.randn(2, 3, requires_grad=True), [torch.randn(2, 3, 4, 5) for _ in range(2)]


def one_by_one(maps, weights):
    return tuple(sum(w * x for w, x in zip(row, maps, strict=True)) for row in weights)


@pytest.mark.parametrize("piece", [7, 1000])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_several_sums_are_those_of_one_map_after_another(monkeypatch, layout, piece):
    """In pieces that do not come out even too; values, slopes of maps and of weights, and the layout."""
    monkeypatch.setattr(mix, "PIECE", piece)
    maps, weights, toward = three(layout)
    found, wanted = weighted_sums(maps, weights), one_by_one(maps, weights)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert all(out.is_contiguous(memory_format=layout) for out in found)
    slopes = [torch.autograd.grad(outs, [*maps, weights], toward) for outs in (found, wanted)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("learns", ["maps", "weights"])
def test_several_sums_give_slopes_to_what_asks_for_them(learns):
    maps, weights, toward = three(torch.channels_last)
    for x in [weights] if learns == "maps" else maps:
        x.requires_grad_(False)
    asked = [x for x in (*maps, weights) if x.requires_grad]
    slopes = [torch.autograd.grad(f(maps, weights), asked, toward) for f in (weighted_sums, one_by_one)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)


def test_several_sums_carry_squared_jacobians():
    maps, weights, toward = three(torch.contiguous_format)
    with squared():
        found = weighted_sums(maps, weights)
    torch.testing.assert_close(found, one_by_one(maps, weights))
    slopes = torch.autograd.grad(found, [*maps, weights], toward)
    h = torch.stack(toward)
    torch.testing.assert_close(torch.stack(slopes[:3]), torch.einsum("sk,s...->k...", weights**2, h))
    torch.testing.assert_close(slopes[3], torch.einsum("s...,k...->sk", h, torch.stack(maps) ** 2))
