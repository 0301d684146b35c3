"""Channels of a trained network in order: it computes the same, and the strongest come first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.nets.adapt import adapt
from renascent.nets.sizes.mobile_v1 import MobileNetV1
from renascent.nets.sizes.resnet import ResNetImages
from renascent.nets.sizes.resnet_cifar import ResNetCifar

CONFIGS = {
    "resnet8": ResNetCifar(layers_count=8),
    "mobilenet-v1": MobileNetV1(small=True, width=0.1),
    "resnet50": ResNetImages(layers_count=50, small=True, width=0.05),
}


def trained(config):
    """Build the reference as if it were trained: no normalisation, and no filter, is like another."""
    torch.manual_seed(0)
    net = config.network(config.reference, 3, 5).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_ranked_network_computes_the_same(name):
    config = CONFIGS[name]
    net, x = trained(config), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    found = config.ranked(net.state_dict(), 3, 5)
    other = config.network(config.reference, 3, 5).double().eval()
    other.load_state_dict(found.state)
    # what ranks the channels runs in single precision, as the network is built
    torch.testing.assert_close(other(x), net(x), rtol=1e-4, atol=1e-5)
    assert any(
        not torch.equal(found.state[key].double(), value.float().double()) for key, value in net.state_dict().items()
    )
    widths = {name for name in config.space.decisions if not name.startswith("depth") and name != "resolution"}
    assert set(found.strengths) == {name for name in widths if config.reference[name] > 1}
    for width, strengths in found.strengths.items():
        assert len(strengths) == config.reference[width]
        assert (np.diff(strengths) <= 0).all()
        assert strengths.mean() == pytest.approx(1)


def test_strengths_are_relative_squared_norms_of_all_weights_of_a_channel():
    config = CONFIGS["resnet8"]
    net = trained(config)
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    found = config.ranked(net.state_dict(), 3, 5)
    made, reads = (state[f"stage2.blocks.0.conv{k}.conv.weight"] for k in (1, 2))
    inner = (made**2).sum((1, 2, 3)) + (reads**2).sum((0, 2, 3))
    expected = np.sort(inner / inner.mean())[::-1]
    np.testing.assert_allclose(found.strengths["stage2.block1.conv1"], expected, rtol=1e-6)
    added = ["stem.conv.weight", "stage1.blocks.0.conv2.conv.weight"]
    read = ["stage1.blocks.0.conv1.conv.weight", "stage2.blocks.0.conv1.conv.weight"]
    stream = sum((state[n] ** 2).sum((1, 2, 3)) for n in added)
    stream = stream + sum((state[n] ** 2).sum((0, 2, 3)) for n in (*read, "stage2.blocks.0.shortcut.conv.weight"))
    order = np.argsort(-stream)
    for name in ("stem", "stage1.block1.conv2"):  # what is added goes together
        np.testing.assert_allclose(found.strengths[name], (stream / stream.mean())[order], rtol=1e-6)
    np.testing.assert_allclose(found.state["stem.conv.weight"].numpy(), state["stem.conv.weight"][order], rtol=1e-6)


def test_a_model_of_ones_own_is_ranked_by_the_same_norms():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 5))
    first, last = (net[k].weight.detach().double().numpy() for k in (0, 3))
    norms = (first**2).sum((1, 2, 3)) + (last.reshape(5, 16, 36) ** 2).sum((0, 2))
    found = adapt(net, (3, 8, 8)).ranked(None, 3, 5)
    np.testing.assert_allclose(found.strengths["0"], np.sort(norms / norms.mean())[::-1])
    with pytest.raises(UserError, match="order is given, and without a search the strongest are kept"):
        adapt(net, (3, 8, 8), order="given").ranked(None, 3, 5)


def test_weights_of_another_network_are_refused():
    config = CONFIGS["resnet8"]
    state = trained(config).state_dict()
    with pytest.raises(
        UserError, match=r"'classifier\.linear\.weight' of the trained network is missing or of another"
    ):
        config.ranked(state, 3, 7)
    with pytest.raises(UserError, match=r"'stem\.conv\.weight' of the trained network is missing"):
        config.ranked({}, 3, 5)
