"""ResNets for CIFAR: what their decisions mean."""

import torch

from renascent.costs import params
from renascent.nets import SPACES
from renascent.nets.sizes.resnet_cifar import ResNetCifar


def test_the_space_of_resnet164_is_that_of_the_paper():
    space = SPACES["resnet164"]().space
    depths = [d for name, d in space.decisions.items() if name.startswith("depth")]
    widths = [d for name, d in space.decisions.items() if not name.startswith("depth")]
    assert ResNetCifar(layers_count=164, depths=False).space.size == 8**163
    assert [d.options for d in depths] == [tuple(range(1, 19))] * 3
    assert len(widths) == 163 and {len(d.options) for d in widths} == {8}


def test_widths_are_shares_and_depths_drop_the_last_blocks():
    config = SPACES["resnet20"]()
    assert config.space.decisions["stage3.block1.conv1"].options == (19, 25, 32, 38, 44, 51, 57, 64)
    arch = config.space.arch({**config.reference, "depth2": 2})
    net = config.network(arch, 3, 10)
    assert [len(stage.blocks) for stage in (net.stage1, net.stage2, net.stage3)] == [3, 2, 3]
    assert arch["stage2.block3.conv1"] == config.space.decisions["stage2.block3.conv1"].options[0]
    assert "stage2.block3.conv1" not in config.space.active(arch)


def test_tied_widths_are_one_for_all_that_is_added():
    space = SPACES["resnet20"](tied=True).space
    assert [n for n in space.decisions if "out" in n or n == "stem"] == ["stem", "stage2.out", "stage3.out"]
    assert len(space.decisions) == 3 + 3 + 9


def test_additions_pad_with_zeros_and_the_wider_goes_on():
    config = SPACES["resnet20"](depths=False)
    arch = config.space.arch({**config.reference, "stage1.block1.conv2": 4, "stage1.block2.conv2": 9})
    net = config.network(arch, 3, 10)
    x = net.stem(torch.randn(2, 3, 8, 8))
    block = net.stage1.blocks[0]
    inner, out = block.conv2(block.conv1(x)), block(x)
    torch.testing.assert_close(out[:, :4], (inner + x[:, :4]).relu())
    torch.testing.assert_close(out[:, 4:], x[:, 4:])
    assert params(net) < params(config.network(config.reference, 3, 10))


def test_the_resolution_is_a_decision_where_it_is_asked_for():
    assert "resolution" not in SPACES["resnet20"]().space.decisions
    config = SPACES["resnet20"](lowest=16)
    assert config.space.decisions["resolution"].options == (16, 20, 24, 28, 32)
    assert config.reference["resolution"] == 32
