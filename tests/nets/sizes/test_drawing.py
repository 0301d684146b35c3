"""Sizes in text: what matters is there, what does not is left out, and many decisions stay readable."""

from __future__ import annotations

import numpy as np
import pytest

from renascent.core.space import Integer, Space
from renascent.costs.scaling import is_size_space
from renascent.nets import SPACES
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.sizes.space import LINES, draw_sizes


def test_draw_sizes_omits_decisions_of_dropped_blocks() -> None:
    config = ResNetCifar(layers_count=14)
    whole = config.reference
    arch = config.space.arch({**whole, "depth2": 1})
    lines = {line.split()[0]: line for line in config.draw(arch).splitlines()}
    assert set(whole) - set(lines) == {"stage2.block2.conv1", "stage2.block2.conv2"}
    assert lines["depth2"].split()[1:4] == ["1", "of", "2"]
    assert lines["depth2"].count("#") == 10


def test_a_wider_one_than_the_reference_is_at_most_one_and_a_half_bars() -> None:
    space = Space({"width": Integer((8, 12, 400))})
    filled = [draw_sizes(space, {"width": 8}, space.arch({"width": w})).count("#") for w in (8, 12, 400)]
    assert filled == [20, 30, 30]


@pytest.mark.parametrize("name", SPACES)
def test_no_space_is_drawn_in_more_lines_than_its_blocks_have(name: str) -> None:
    config = SPACES[name]()
    for seed in range(3):
        arch = config.space.sample(np.random.default_rng(seed))
        lines = config.draw(arch).splitlines()
        assert len(lines) <= 60
        assert max(map(len, lines)) <= 120
    if not is_size_space(config):
        return
    reference = config.reference
    active = config.space.active(reference)
    drawn = config.draw(reference)
    if len(active) > LINES:
        assert drawn.count(" of ") == len(active)
