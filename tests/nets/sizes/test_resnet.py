"""ResNets for large images: what their decisions mean."""

import pytest
import torch

from renascent.nets import SPACES
from renascent.nets.sizes.resnet import ResNetImages


@pytest.mark.parametrize(("name", "middles"), [("resnet50", 16), ("resnet18", 8)])
def test_the_decisions_are_four_stages_and_the_inside_of_each_block(name, middles):
    config = SPACES[name]()
    names = list(config.space.decisions)
    assert sum(n.endswith(".middle") for n in names) == middles and sum(n.endswith(".out") for n in names) == 4
    assert len(names) == middles + 4
    assert all(len(d.options) == 51 and config.reference[n] in d.options for n, d in config.space.decisions.items())


def test_the_inner_widths_of_a_bottleneck_are_one_and_its_3x3_strides():
    config = SPACES["resnet50"]()
    net = config.network(config.space.arch({**config.reference, "stage2.block1.middle": 70}), 3, 10)
    block = net.stage2[0]
    assert [tuple(unit.conv.weight.shape[:2]) for unit in (block.conv1, block.conv2, block.conv3)] == [
        (70, 256), (70, 70), (512, 70),
    ]  # fmt: skip
    assert [unit.conv.stride for unit in (block.conv1, block.conv2, block.shortcut)] == [(1, 1), (2, 2), (2, 2)]


def test_without_bottlenecks_the_stem_is_as_wide_as_the_first_stage():
    config = SPACES["resnet18"]()
    net = config.network(config.space.arch({**config.reference, "stage1.out": 31}), 3, 10)
    assert net.stem.conv.weight.shape[0] == 31 and net.stage1[0].shortcut is None
    fixed = SPACES["resnet50"]()
    assert fixed.network(fixed.space.at(0), 3, 10).stem.conv.weight.shape[0] == 64


def test_small_images_and_resolutions():
    config = ResNetImages(layers_count=18, small=True, width=0.125, lowest=8, highest=16, resolution_step=4)
    net = config.network(config.reference, 1, 10)
    assert net.pool(net.stem(torch.randn(2, 1, 8, 8))).shape == (2, 8, 8, 8)
    assert config.space.decisions["resolution"].options == (8, 12, 16)
