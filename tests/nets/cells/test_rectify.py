"""ReLU that keeps its input: values, derivatives, and what is saved."""

import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

from renascent.nets.cells.maps import rectify


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
