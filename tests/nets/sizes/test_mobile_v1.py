"""MobileNet V1: what its decisions mean."""

import torch

from renascent.nets import SPACES
from renascent.nets.sizes.mobile_v1 import MobileNetV1


def test_the_decisions_are_the_resolution_and_13_widths():
    config = SPACES["mobilenet-v1"]()
    assert len(config.space.decisions) == 14
    assert config.space.decisions["resolution"].options == tuple(range(96, 225))
    widths = config.space.decisions["block13.out"].options
    assert len(widths) == 51 and widths[0] == 102 and widths[-1] == 1638 and 1024 in widths
    narrow = config.network(config.space.at(0), 3, 10)
    assert narrow.stem.conv.weight.shape[0] == 32 and narrow.blocks[0].pointwise.conv.weight.shape[0] == 6


def test_it_runs_on_small_images():
    config = MobileNetV1(small=True, width=0.25, lowest=32, highest=32)
    assert "resolution" not in config.space.decisions
    assert config.network(config.reference, 1, 10)(torch.randn(2, 1, 8, 8)).shape == (2, 10)
