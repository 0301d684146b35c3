"""The recursion of the thesis against layers' own squared Jacobians, the exact last layer, and what it misses."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from renascent.core.curvature import weighted_factor
from renascent.core.errors import UserError
from renascent.core.recursion import recursive_curvature, squared
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.mix import accumulate
from renascent.nets.cells.norm import scaled_norm
from renascent.nets.cells.probe import probe


def hessian_diagonal(loss, parameter):
    (slope,) = torch.autograd.grad(loss, parameter, create_graph=True)
    rows = [
        torch.autograd.grad(one, parameter, retain_graph=True)[0].flatten()[k] for k, one in enumerate(slope.flatten())
    ]
    return torch.stack(rows).view_as(parameter)


def small():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 3, 3, padding=1, groups=3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(27, 4),
    )
    return net.double().eval(), torch.randn(5, 2, 6, 6, dtype=torch.float64), torch.arange(5) % 4


def test_it_is_exact_for_the_last_layer_and_falls_short_before(capsys):
    net, x, y = small()
    named = {name: p for name, p in net.named_parameters() if p.dim() > 1}
    found = dict(zip(named, recursive_curvature(lambda: net(x), list(named.values())), strict=True))
    truth = {name: hessian_diagonal(F.cross_entropy(net(x), y), p) for name, p in named.items()}
    torch.testing.assert_close(found["7.weight"], truth["7.weight"], rtol=1e-9, atol=1e-15)
    ratios = {name: float(found[name].sum() / truth[name].sum()) for name in named}
    with capsys.disabled():
        print("\nrecursion over truth:", {name: round(ratio, 3) for name, ratio in ratios.items()})
    assert ratios["0.weight"] != pytest.approx(1, abs=0.05)


def test_its_ratio_to_the_truth_in_cells_of_darts(capsys):
    """Against the Gauss-Newton diagonal, class by class and image by image."""
    config = DartsCells(channels=2, layers_count=3, nodes=1)
    arch = config.space.parse("normal=|sep_conv_3x3~0|dil_conv_3x3~1|,reduce=|max_pool_3x3~0|sep_conv_3x3~1|")
    torch.manual_seed(0)
    net, x = config.network(arch, 1, 3).double().eval(), torch.randn(4, 1, 8, 8, dtype=torch.float64)
    named = {name: p for name, p in net.named_parameters() if p.dim() > 1}
    logits, truth = net(x), {name: torch.zeros(()) for name in named}
    for weights in torch.eye(logits.numel(), dtype=torch.float64).view(-1, *logits.shape):
        slopes = torch.autograd.grad(
            logits, list(named.values()), weighted_factor(logits, weights), retain_graph=True, materialize_grads=True
        )
        truth = {name: truth[name] + slope.square() / len(x) for name, slope in zip(named, slopes, strict=True)}
    found = dict(zip(named, recursive_curvature(lambda: net(x), list(named.values())), strict=True))
    torch.testing.assert_close(found["classifier.weight"], truth["classifier.weight"], rtol=1e-9, atol=1e-15)
    with capsys.disabled():
        for name in named:
            print(f"\n{name}: recursion over truth {float(found[name].sum() / truth[name].sum()):.3f}", end="")
    assert all(bool((each >= 0).all()) for each in found.values())


def test_it_is_exact_for_one_linear_layer():
    torch.manual_seed(0)
    net, x, y = nn.Linear(6, 3).double(), torch.randn(8, 6, dtype=torch.float64), torch.arange(8) % 3
    found = recursive_curvature(lambda: net(x), list(net.parameters()))
    for one, p in zip(found, net.parameters(), strict=True):
        torch.testing.assert_close(one, hessian_diagonal(F.cross_entropy(net(x), y), p), rtol=1e-9, atol=1e-15)


LAYERS = {
    "convolution": lambda x, w: F.conv2d(x, w[:8].view(2, 2, 1, 2), w[8:10], padding=1, stride=2),
    "depthwise": lambda x, w: F.conv2d(x, w[:8].view(2, 1, 2, 2), groups=2),
    "linear": lambda x, w: F.linear(x, w[:8].view(2, 4), w[8:10]),
    "scale": lambda x, w: w[0] * x,
    "quotient and difference": lambda x, w: x / 3 - w[0],
    "mean": lambda x, w: (w[0] * x).mean((2, 3)),
    "normalisation": lambda x, w: F.batch_norm(x, MEAN, VAR, w[:2], w[2:4]),
    "average": lambda x, w: F.avg_pool2d(w[0] * x, 3, 1, 1, count_include_pad=False),
    "average of what is there": lambda x, w: F.avg_pool2d(w[0] * x, 3, 2, ceil_mode=True),
    "average with padding": lambda x, w: F.avg_pool2d(w[0] * x, 2, 2, 1),
}

MEAN, VAR = torch.tensor([0.3, -0.2]).double(), torch.tensor([0.5, 2.0]).double()


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_carries_squared_jacobians(name):
    """To what it reads (J^2)^T h, and to its weights likewise: of a filter, summed over positions and images."""
    torch.manual_seed(1)
    layer, x, w = LAYERS[name], torch.randn(2, 2, 4, 4).double(), torch.randn(10).double()
    out = layer(x, w)
    h = torch.rand_like(out)
    x_, w_ = x.clone().requires_grad_(), w.clone().requires_grad_()
    with squared():
        carried = layer(x_, w_)
    torch.testing.assert_close(carried, out, rtol=1e-12, atol=1e-12)
    jacobians = torch.autograd.functional.jacobian(layer, (x, w))
    found = torch.autograd.grad(carried, (x_, w_), h)
    for k, (slope, jacobian) in enumerate(zip(found, jacobians, strict=True)):
        if k == 1 and name.startswith(("average", "mean")):
            continue  # its weight scales what is averaged: two layers, of which each is squared for itself
        wanted = (h.flatten() @ jacobian.reshape(h.numel(), -1) ** 2).view_as(slope)
        torch.testing.assert_close(slope, wanted, rtol=1e-9, atol=1e-12)


def test_what_has_a_backward_pass_of_its_own_carries_them_too():
    """A weighted sum, a probe, and normalisation by statistics of the batch, taken as held."""
    rng = torch.Generator().manual_seed(0)
    x, y, h = (torch.randn(2, 2, 3, 3, dtype=torch.float64, generator=rng) for _ in range(3))
    w = torch.tensor([0.7, 0.0, -1.2], dtype=torch.float64)
    x_, y_, w_ = (each.clone().requires_grad_() for each in (x, y, w))
    with squared():
        summed = probe(accumulate(y_, x_, w_[0]), x_, w_, {1: torch.square})
        normed = scaled_norm(x_, w_[:2], w_[1:])
    torch.testing.assert_close(summed, y + 0.7 * x)
    found = torch.autograd.grad(summed, (x_, y_, w_), h)
    wanted = h * 0.7**2, h, torch.stack([(h * x**2).sum(), (h * x**4).sum(), torch.tensor(0.0)])
    torch.testing.assert_close(found, wanted)
    deviation = (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    z = (x - x.mean((0, 2, 3), keepdim=True)) / deviation
    torch.testing.assert_close(normed, z * w[:2, None, None] + w[1:, None, None])
    of_x, of_w = torch.autograd.grad(normed, (x_, w_), h)
    torch.testing.assert_close(of_x, h * (w[:2, None, None] / deviation) ** 2)
    scale, shift = (h * z**2).sum((0, 2, 3)), h.sum((0, 2, 3))
    torch.testing.assert_close(of_w, torch.stack([scale[0], scale[1] + shift[0], shift[1]]))


def test_what_has_no_rule_is_named():
    x = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(UserError, match="'gelu' has no rule"):
        recursive_curvature(lambda: F.gelu(x), [x])

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            return a * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    with pytest.raises(UserError, match="'Own' has no rule"):
        recursive_curvature(lambda: Own.apply(x), [x])
