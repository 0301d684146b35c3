"""Curvature by one signed backward pass, against the Hessian by double backward, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from renascent.core.curvature import Recorded, gather, gathered, signed_factor, squared_slopes, weighted_factor
from renascent.core.errors import UserError

BATCH, CLASSES = 5, 4


class Scaled(nn.Module):
    """Convolution, ReLU, normalisation, max pooling, depthwise convolution, linear; three scales, each used once."""

    def __init__(self):
        super().__init__()
        self.conv, self.depthwise = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.norm, self.linear = nn.BatchNorm2d(4), nn.Linear(4 * 9, CLASSES)
        self.scales = nn.Parameter(torch.tensor([0.7, 1.2, -0.4]))

    def forward(self, x):
        s = self.scales
        x = self.norm(F.relu(self.conv(x) * s[0]))
        x = F.max_pool2d(x, 2)
        x = s[1] * self.depthwise(x) + s[2] * x
        return self.linear(x.flatten(1))


@pytest.fixture(scope="module")
def held():
    """Return a network with its statistics held, a batch, and the logits."""
    torch.manual_seed(0)
    net = Scaled().double().eval()
    net.norm.running_mean.uniform_(-0.2, 0.2)
    net.norm.running_var.uniform_(0.5, 2)
    x, y = torch.randn(BATCH, 2, 6, 6, dtype=torch.float64), torch.arange(BATCH) % CLASSES
    return net, x, y, net(x)


def jacobian(logits, parameter):
    """Return d logits / d parameter, (batch, classes, *parameter)."""
    rows = [torch.autograd.grad(one, parameter, retain_graph=True)[0] for one in logits.flatten()]
    return torch.stack(rows).view(*logits.shape, *parameter.shape)


def hessian_diagonal(loss, parameter):
    (slope,) = torch.autograd.grad(loss, parameter, create_graph=True)
    rows = [
        torch.autograd.grad(one, parameter, retain_graph=True)[0].flatten()[k] for k, one in enumerate(slope.flatten())
    ]
    return torch.stack(rows).view_as(parameter)


def expected(logits, parameter):
    """Return the expectation over signs, class by class and image by image."""
    total = torch.zeros_like(parameter)
    for image in range(len(logits)):
        for c in range(logits.shape[1]):
            weights = torch.zeros_like(logits)
            weights[image, c] = 1
            (slope,) = torch.autograd.grad(logits, parameter, weighted_factor(logits, weights), retain_graph=True)
            total += slope.square()
    return total / len(logits)


@pytest.mark.parametrize("name", ["scales", "conv.weight", "depthwise.weight", "linear.weight"])
def test_its_expectation_is_the_hessian_s_diagonal(held, name):
    net, x, y, logits = held
    parameter = net.get_parameter(name)
    truth = hessian_diagonal(F.cross_entropy(net(x), y), parameter)
    assert float(truth.abs().max()) > 0
    torch.testing.assert_close(expected(logits, parameter), truth, rtol=1e-9, atol=1e-15)


def test_draws_have_that_mean(held):
    """3,000 draws, within 4 standard errors for every scale; the factor is the function's own."""
    net, _, _, logits = held
    rng, rows = torch.Generator().manual_seed(1), jacobian(logits, net.scales)
    slopes = torch.stack([torch.einsum("bc,bcs->s", signed_factor(logits, rng), rows) for _ in range(3000)])
    draws, truth = slopes.square() / len(logits), expected(logits, net.scales)
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - truth).abs() < 4 * error).all()
    assert ((draws.std(0) / truth) < 2).all()
    # and a backward pass gives the same as the Jacobian does
    for k in range(5):
        (one,) = squared_slopes(logits, [net.scales], torch.Generator().manual_seed(k))
        factor = signed_factor(logits, torch.Generator().manual_seed(k))
        torch.testing.assert_close(one, torch.einsum("bc,bcs->s", factor, rows).square() / len(logits))


def test_a_factor_has_the_covariance_of_the_softmax():
    logits = torch.randn(1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p = logits.softmax(-1)[0]
    factors = torch.cat([weighted_factor(logits, row[None]) for row in torch.eye(3, dtype=torch.float64)])
    torch.testing.assert_close(factors.T @ factors, torch.diag(p) - p[:, None] * p, rtol=1e-12, atol=1e-15)
    drawn = signed_factor(logits.expand(4, 3), torch.Generator().manual_seed(0))
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    every = signs @ factors
    assert all(bool(torch.isclose(every, row, rtol=1e-12, atol=1e-15).all(1).any()) for row in drawn)


def test_a_scale_used_twice_on_a_path_has_another_curvature(held, capsys):
    """Gauss-Newton leaves out the slope of the loss times the second derivative of the logits: s^2 has one."""
    net, x, y, _ = held
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)

    def run():
        inner = F.relu(net.conv(x) * scale)
        return net.linear((F.max_pool2d(inner, 2) * scale).flatten(1))

    exact, found = float(hessian_diagonal(F.cross_entropy(run(), y), scale)), float(expected(run(), scale))
    with capsys.disabled():
        print(f"\na scale used at two chained places: Gauss-Newton {found:.4f}, Hessian {exact:.4f}")
    assert found >= 0
    assert abs(found - exact) > 1e-3 * abs(exact)


def test_hutchinson_s_estimate_agrees(held):
    """The mean of z * Hz over random signs z, within 4 standard errors of the expectation."""
    net, x, y, logits = held
    parameter = net.depthwise.weight
    (slope,) = torch.autograd.grad(F.cross_entropy(net(x), y), parameter, create_graph=True)
    rng, draws = torch.Generator().manual_seed(0), []
    for _ in range(400):
        z = 2.0 * torch.randint(2, parameter.shape, generator=rng).double() - 1
        draws.append(z * torch.autograd.grad(slope, parameter, z, retain_graph=True)[0])
    found, truth = torch.stack(draws), expected(logits, parameter)
    assert ((found.mean(0) - truth).abs() < 4.5 * found.std(0) / len(found) ** 0.5 + 1e-12).all()


def test_draws_are_summed_and_their_mean_taken_once(held):
    net, _, _, logits = held
    rng, extra, rows = torch.Generator().manual_seed(0), {}, []
    for _ in range(7):
        (draw,) = squared_slopes(logits, [net.scales], rng)
        gather(extra, draw)
        rows.append(draw)
    assert int(extra["curvature_draws"]) == 7
    torch.testing.assert_close(gathered(extra), torch.stack(rows).mean(0))
    assert extra == {}


def test_it_recalls_the_logits_that_a_loss_was_made_of(held):
    net, x, _, logits = held
    recorded = Recorded(net)
    assert recorded(x) is recorded.logits
    assert torch.equal(recorded.logits, logits)


def test_nothing_that_takes_part_has_no_curvature():
    (found,) = squared_slopes(torch.zeros(2, 3), [torch.ones(2)], torch.Generator())
    assert found.tolist() == [0.0, 0.0]


def test_what_is_no_classification_is_one_line():
    with pytest.raises(UserError, match=r"curvature is that of a classification.*\(2, 3, 4\)") as e:
        squared_slopes(torch.zeros(2, 3, 4), [], torch.Generator())
    assert "\n" not in str(e.value)
