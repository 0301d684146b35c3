"""The benchmark of sparse scales: its random networks, what it says of cells, and what it compares."""

import numpy as np
import pytest

from renascent.nets.cells.dso import DSO
from renascent.nets.cells.pyramid import PyramidTree


@pytest.fixture(scope="module")
def sparse(script):
    return script("sparse_cifar10")


def test_random_networks_have_the_macs_of_another_one_or_just_fewer(sparse):
    config = DSO(channels=4, blocks=(1, 1), levels=2)
    space = config.space
    wanted = space.arch({name: space.options(name)[:2] for name in space.decisions})
    macs = sparse.described(config, wanted, None)["macs"]
    drawn = [sparse.of_same_macs(config, wanted, np.random.default_rng(seed)) for seed in range(6)]
    found = [sparse.described(config, arch, None)["macs"] for arch in drawn]
    assert len(set(drawn)) > 3
    assert max(found) <= macs and np.mean(found) > 0.7 * macs


def test_cells_of_tree_a_are_chains_or_branch(sparse):
    config = PyramidTree(blocks=1, final_channels=68, tree="A")
    space = config.space
    kept = {"block0.1": ("conv_1x1",), "block0.1.1": ("sep_7x7",)}
    both = {**{name.replace("block0", "block1"): row for name, row in kept.items()}, "block1.2": ("sep_5x5",)}
    both["block1.2.1"] = ("avg_pool_3x3",)
    arch = space.arch({name: {**kept, **both}.get(name, ()) for name in space.decisions})
    assert sparse.cells_of(arch) == ["chain", "branching", "empty"]
    assert sparse.described(config, config.reference, "params<=1x")["usage"] == pytest.approx(1)


def test_a_method_is_compared_with_random_ones_and_seed_by_seed(sparse):
    def rows(*values, number="accuracy"):
        return {seed: {number: value} for seed, value in enumerate(values)}

    found = {"full": rows(60.0, 61.0), "random full": rows(70.0, 71.0, 70.5), "share": rows(65.0, 66.0)}
    found["random share"] = rows(60.0, 71.0)
    shown = sparse.shown("dso", None, found)
    assert shown == {"share: two errors below random": False, "full: two errors below random": True}
    table3 = {"both": rows(60.0, 62.0, 61.0), "no split": rows(59.0, 60.0)}
    assert sparse.shown("split", None, table3)["accuracy: both less no split"]["mean"] == 1.5
