"""Tree A: its structure, the cell written out a second time, what is dead, and what it costs."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from renascent.core.errors import UserError
from renascent.core.gates import Gate, one_hot, scales
from renascent.core.space import Arch
from renascent.costs import cost_of
from renascent.nets.cells.listing import Placed, ran
from renascent.nets.cells.pyramid import PyramidTree
from renascent.nets.cells.tree_a import TREE
from renascent.nets.sizes.counted import memory_access_in
from tests.nets.conftest import one_less

TINY = PyramidTree(blocks=1, final_channels=72, tree="A")
SHAPE = (3, 8, 8)


def test_it_has_2_and_4_and_9_edges_and_9_paths():
    below = {node: [f"{node}.{k + 1}" for k in range(len(row))] for node, row in TREE.items()}
    leaves = [target for node in below for target in below[node] if target not in TREE]
    assert (len(TREE["1"]) + len(TREE["2"]), len(leaves)) == (4, 9)
    assert len(TREE) == 2 + 4
    space = PyramidTree(tree="A").space
    assert (len(space.decisions), sum(space.counts)) == (54 * 6, 54 * 13)
    assert list(space.decisions)[:3] == ["block0.1", "block0.2", "block0.1.1"]
    with pytest.raises(UserError, match="unknown tree 'B'"):
        PyramidTree(tree="B")


def operated(name, module, x):
    if name.startswith("avg"):
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    if name.startswith("max"):
        return F.max_pool2d(x, 3, 1, 1)
    norm, _, *convolutions = module
    x = F.batch_norm(x, None, None, norm.weight, norm.bias, training=True).relu()
    for conv in convolutions:
        size = conv.weight.shape[-1]
        x = F.conv2d(x, conv.weight, padding=size // 2, groups=len(conv.weight) if size > 1 else 1)
    return x


def written_out(cell, x, scale):
    """Compute the cell, each edge's scale on what it leads to."""
    total = 0
    for root in ("1", "2"):
        conv, slot = cell.edges[root]
        child = F.conv2d(x, conv.weight, stride=conv.stride, padding=1, groups=2)
        for k, option in enumerate(TREE[root]):
            node, (edge, below) = f"{root}.{k + 1}", slot.mixed.options[k]
            inner, parts = operated(option, edge, child), []
            for i, name in enumerate(TREE[node]):
                leaf = below.mixed.options[i]
                if node == "1.1":
                    parts.append(scale[node][i] * operated(name, leaf.inside, inner.chunk(2, 1)[i]))
                else:
                    parts.append(scale[node][i] * operated(name, leaf, inner))
            total = total + scale[root][k] * (torch.cat(parts, 1) if node == "1.1" else sum(parts))
    return total


def test_the_cell_is_the_tree_written_out(assert_alike):
    net = TINY.supernet(3, 5)
    cell, x = net.net.blocks[1].inside[4], torch.randn(2, 16, 6, 6, requires_grad=True)
    scale = {node: torch.randn(len(row), requires_grad=True) for node, row in TREE.items()}
    gates = {f"block1.{node}": Gate(row, tuple(range(len(row)))) for node, row in scale.items()}
    with net.context.active(gates):
        ours = cell(x)
    assert_alike(ours, written_out(cell, x, scale), [x, *scale.values(), *cell.parameters()])


def raw(rng, chance=0.5):
    """Return any edges, dead ones among them: option indices, scales of one, and an architecture."""
    space = TINY.space
    there = (rng.random((len(space.decisions), 3)) < chance) & (np.arange(3) < np.array(space.counts)[:, None])
    rows = zip(space.decisions, there, strict=True)
    arch = Arch({name: tuple(o for o, t in zip(space.options(name), row, strict=False) if t) for name, row in rows})
    return (there << np.arange(3)).sum(1), torch.from_numpy(there).double(), arch


def test_dead_edges_change_nothing_and_a_block_that_keeps_none_is_its_shortcut():
    net, rng, x, dead = TINY.supernet(3, 5), np.random.default_rng(0), torch.randn(2, *SHAPE), 0
    for _ in range(10):
        _, values, arch = raw(rng)
        alive = TINY.space.arch(arch)
        dead += sum(len(arch[name]) - len(alive[name]) for name in arch)
        out = net(x, scales(TINY.space, values))
        assert torch.equal(out, net(x, one_hot(TINY.space, alive)))
        torch.testing.assert_close(net.extract(alive).train()(x), out, rtol=1e-10, atol=1e-10)
    assert dead > 20
    nothing = TINY.space.arch(dict.fromkeys(TINY.space.decisions, ()))
    plain = TINY.network(nothing, 3, 5)
    x = torch.randn(2, 16, 6, 6)
    out = plain.blocks[0](x, 0.0)
    assert torch.equal(out[:, :16], x)
    assert not out[:, 16:].any()
    assert not list(plain.blocks.parameters())


def test_costs_are_those_of_the_networks_built_and_never_rise_when_an_edge_goes():
    rng = np.random.default_rng(1)
    cost = cost_of("memory_access_bytes", TINY, SHAPE, 5)
    for _ in range(4):
        row, values, arch = raw(rng)
        placed = Placed(TINY.space.arch(arch))  # a normalisation belongs to the edge that brought it
        layers = ran(placed, lambda place: TINY.build(place, torch.nn.BatchNorm2d, 3, 5), SHAPE)
        wanted = sum(memory_access_in(layer) for _, layer in layers)
        assert cost.exact(row[None]).tolist() == [wanted] == [float(cost(scales(TINY.space, values)))]
    rows = np.stack([raw(rng, 0.7)[0] for _ in range(1000)])
    less = one_less(rows, rng)
    for name in TINY.costs:
        before, after = (cost_of(name, TINY, SHAPE, 5).exact(each) for each in (rows, less))
        assert (after <= before).all()
        assert (after < before).sum() > 300


def test_it_is_drawn_a_block_a_line_and_the_reference_is_all_of_it():
    assert TINY.reference == TINY.space.arch({name: TINY.space.options(name) for name in TINY.space.decisions})
    arch = dict.fromkeys(TINY.space.decisions, ()) | {"block1.1": ("max_pool_3x3",), "block1.1.2": ("sep_3x3",)}
    lines = TINY.draw(TINY.space.arch(arch)).splitlines()
    assert [line.split()[0] for line in lines] == ["block0", "block1", "block2"]
    assert lines[1].split()[1:] == ["1:max3", "2:-", "1.1:-", "1.2:sep3", "2.1:-", "2.2:-"]
    assert dataclasses.replace(TINY, tree="full").reference != TINY.reference
