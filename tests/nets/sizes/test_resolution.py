"""A network that resizes first: what it is given, its drop path, and when there is nothing to do."""

import torch
from torch import nn

from renascent.nets.sizes.resolution import Resizing, at_resolution, resize, resized


def test_the_network_sees_images_of_its_own_size() -> None:
    net = nn.Conv2d(2, 3, 3)
    x = torch.rand(2, 2, 8, 8)
    assert torch.equal(Resizing(net, 5)(x), net(resize(x, 5)))
    assert torch.equal(Resizing(net, 8)(x), net(x))


def test_only_an_architecture_with_a_resolution_needs_it() -> None:
    net = nn.Flatten()
    assert at_resolution(net, {"width": 8}) is net
    wrapped = at_resolution(net, {"resolution": 4})
    assert resized(wrapped) is net
    assert resized(net) is net


def test_drop_path_is_that_of_the_network() -> None:
    net = nn.Flatten()
    wrapped = Resizing(net, 4)
    assert not hasattr(wrapped, "drop_path")
    net.drop_path = 0.0
    wrapped.drop_path = 0.25
    assert net.drop_path == wrapped.drop_path == 0.25
