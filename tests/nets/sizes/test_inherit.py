"""First-k inheritance: the slices themselves, and the same function where nothing but zeros is left out."""

import pytest
import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.nets.sizes.inherit import first_k


def net(width: int, inner: int) -> nn.Sequential:
    """A network with a depthwise convolution, so that channels are groups too."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, groups=width, bias=False),
        nn.Conv2d(width, inner, 1),
        nn.BatchNorm2d(inner),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(inner, 5),
    ).double()


def test_a_network_whose_further_channels_are_zeros_is_the_same_function() -> None:
    torch.manual_seed(0)
    wide, slim = net(8, 6).eval(), net(5, 4).eval()
    with torch.no_grad():
        for layer in wide:
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2.0)
        for first, kept in ((0, 5), (1, 5), (3, 5), (4, 4), (5, 4)):
            for p in wide[first].parameters():
                p[kept:] = 0.0
        for norm, kept in ((1, 5), (5, 4)):
            wide[norm].running_mean[kept:] = 0.0
    x = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    first_k(slim, wide.state_dict())
    torch.testing.assert_close(slim(x), wide(x), rtol=1e-12, atol=1e-12)
    first_k(wide, net(8, 6).state_dict())
    assert not torch.allclose(slim(x), wide(x))


def test_as_far_as_both_reach_and_the_rest_stays() -> None:
    torch.manual_seed(0)
    given, mine = nn.Linear(5, 2), nn.Linear(3, 4)
    before = mine.weight.detach().clone()
    first_k(mine, given.state_dict())
    assert torch.equal(mine.weight[:2], given.weight[:, :3])
    assert torch.equal(mine.weight[2:], before[2:])
    assert torch.equal(mine.bias[:2], given.bias)


def test_other_names_stay_and_precision_is_that_of_the_network() -> None:
    torch.manual_seed(0)
    given, mine = nn.Sequential(nn.Linear(2, 2)).double(), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).float()
    before = mine[1].weight.detach().clone()
    first_k(mine, given.state_dict())
    assert torch.equal(mine[0].weight, given[0].weight.float())
    assert torch.equal(mine[1].weight, before)
    assert mine[0].weight.dtype == torch.float32
    assert mine[0].weight.requires_grad


def test_networks_that_have_nothing_to_do_with_each_other() -> None:
    with pytest.raises(UserError, match="Linear has no weight of a name that the network to inherit from has"):
        first_k(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)).state_dict())
    with pytest.raises(UserError, match=r"'weight' has the shape \(2, 2\), and \(2, 2, 1, 1\) in the network"):
        first_k(nn.Linear(2, 2), nn.Conv2d(2, 2, 1).state_dict())
