"""The weighted sum: values, both derivatives, and the memory layout."""

import pytest
import torch

from renascent.nets.cells.mix import accumulate, dot, laid_out_like


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
