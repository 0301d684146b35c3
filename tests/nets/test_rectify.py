"""ReLU that keeps its input, and pooling that keeps a stand-in: values, derivatives, and what is saved."""

import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

from renascent.nets.pool import pool
from renascent.nets.rectify import rectify


def saved(run):
    kept = []
    with saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        run()
    return [t.data_ptr() for t in kept]


def test_rectify_is_a_relu_that_saves_its_input():
    x = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    assert torch.equal(rectify(x), F.relu(x))
    (ours,), (theirs,) = (torch.autograd.grad(f(x).square().sum(), x) for f in (rectify, F.relu))
    assert torch.equal(ours, theirs)
    assert saved(lambda: rectify(x)) == [x.data_ptr()]


def test_pool_equals_the_module_and_differentiates_twice():
    x = torch.randn(2, 3, 4, 5, dtype=torch.double, requires_grad=True)
    assert torch.equal(pool(x), torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)(x))
    assert torch.autograd.gradcheck(pool, (x,))
    assert torch.autograd.gradgradcheck(lambda x: pool(x).square(), (x,))


def test_pool_saves_its_stand_in_only():
    x, other = torch.randn(1, 1, 4, 4, requires_grad=True), torch.full((1, 1, 4, 4), torch.nan)
    (plain,) = torch.autograd.grad(pool(x).square().sum(), x)
    (stood,) = torch.autograd.grad(pool(x, other).square().sum(), x)
    assert torch.equal(plain, stood)
    assert saved(lambda: pool(x, other)) == [other.data_ptr()]
