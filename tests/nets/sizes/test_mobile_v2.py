"""MobileNet V2: what its decisions mean."""

import pytest
import torch

from renascent.costs import macs
from renascent.nets import SPACES
from renascent.nets.sizes.mobile_v2 import MobileNetV2


def test_the_decisions_are_those_of_the_paper():
    space = MobileNetV2().space
    middles = [n for n in space.decisions if n.endswith(".middle") or n == "stem"]
    shortcuts = [n for n in space.decisions if n.endswith(".out") or n == "last"]
    assert (len(middles), len(shortcuts), len(space.decisions)) == (17, 8, 27)
    assert space.decisions["depth"].options == tuple(range(9, 20))
    assert space.decisions["resolution"].options == tuple(range(96, 225))
    assert len(space.decisions["last"].options) == 27
    assert space.decisions["stem"].options[0] == 6 and space.decisions["stem"].options[-1] == 48
    repeats = {n: d.when for n, d in space.decisions.items() if d.when}
    assert len(repeats) == 10
    assert repeats["stage2.block2.middle"] == ("depth", tuple(range(10, 20)))
    assert repeats["stage6.block3.middle"] == ("depth", (19,))


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [
        (9, [1, 1, 1, 1, 1, 1, 1]),
        (10, [1, 2, 1, 1, 1, 1, 1]),
        (13, [1, 2, 3, 2, 1, 1, 1]),
        (18, [1, 2, 3, 4, 3, 2, 1]),
        (19, [1, 2, 3, 4, 3, 3, 1]),
    ],
)
def test_the_last_repeats_go_first(depth, blocks):
    config = SPACES["mobilenet-v2-cifar"](width=0.25)
    net = config.network(config.space.arch({**config.reference, "depth": depth}), 3, 10)
    assert [len(net.get_submodule(f"stage{k}").blocks) for k in range(1, 8)] == blocks
    assert net(torch.randn(2, 3, 16, 16)).shape == (2, 10)


def test_repeats_have_a_shortcut_and_first_blocks_none():
    net = SPACES["mobilenet-v2-cifar"](width=0.25)
    net = net.network(net.reference, 3, 10)
    for stage in range(1, 8):
        shortcuts = [block.shortcut for block in net.get_submodule(f"stage{stage}").blocks]
        assert shortcuts == [False, *[True] * (len(shortcuts) - 1)]
    block, x = net.stage3.blocks[1], torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(block(x), x + block.project(block.depthwise(block.expand(x))))


def test_the_small_one_keeps_the_map_of_small_images():
    config = SPACES["mobilenet-v2-cifar"]()
    net = config.network(config.reference, 3, 10)
    maps = [m.conv.stride for m in net.modules() if hasattr(m, "conv")].count((2, 2))
    assert maps == 3
    assert config.space.decisions["resolution"].options == (16, 20, 24, 28, 32)
    assert macs(net, (3, 32, 32)) == pytest.approx(23.7e6, rel=0.01)
