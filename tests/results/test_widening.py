"""The widest network inside a budget: found by trying all."""

import numpy as np
import pytest
import torch

from renascent.core.errors import UserError
from renascent.costs import cost_of, macs, params
from renascent.nets import SPACES
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.dso import DSO
from renascent.results.widening import widened

SHAPE = (3, 8, 8)


def test_it_is_the_widest_of_all_that_keep_both_bounds() -> None:
    config = DSO(channels=2, blocks=(1, 1), levels=1)
    arch = config.space.sample(np.random.default_rng(0))
    sizes = {}
    for channels in range(1, 25):
        with torch.device("meta"):
            net = DSO(channels=channels, blocks=(1, 1), levels=1).network(arch, 3, 5)
        sizes[channels] = params(net), macs(net, SHAPE)
    wanted = max(c for c, (p, m) in sizes.items() if p <= 2000 and m <= 40_000)
    assert 3 < wanted < 24
    assert widened(config, arch, SHAPE, 5, "params<=2000,macs<=40k") == DSO(channels=wanted, blocks=(1, 1), levels=1)
    limit, _ = sizes[wanted]
    assert widened(config, arch, SHAPE, 5, f"params<={limit}").channels == wanted
    assert widened(config, arch, SHAPE, 5, f"params<={limit - 1}").channels == wanted - 1
    moved = [cost_of("memory_access_bytes", DSO(channels=c, blocks=(1, 1), levels=1), SHAPE, 5) for c in (7, 8)]
    row = config.space.indices(arch)[None]
    most = moved[0].exact(row)[0]
    assert most < moved[1].exact(row)[0]
    assert widened(config, arch, SHAPE, 5, f"memory_access_bytes<={most}").channels == 7


def test_channels_that_a_space_cannot_have_are_passed_over() -> None:
    config = DartsCells(layers_count=3, nodes=1, reduction="fixed", channels=4)
    arch = config.space.arch(dict.fromkeys(config.space.decisions, "skip_connect"))
    assert widened(config, arch, SHAPE, 5, "params<=40k").channels % 4 == 0


def test_a_space_without_channels_is_refused() -> None:
    config = SPACES["fbnet"]()
    with pytest.raises(UserError, match="'fbnet' has no channels to set"):
        widened(config, config.space.sample(np.random.default_rng(0)), (3, 32, 32), 5, "params<=1M")
