"""Counted costs: by hand, against the benchmark's own table, and by name."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from renascent.core.bounds import COSTS
from renascent.core.codecs.nats_topology import official_order
from renascent.core.errors import UserError
from renascent.core.gates import gumbel_hard, soft
from renascent.core.space import Choice, Integer, Space
from renascent.costs import Additive, cost_of, macs, params
from renascent.costs.counts import additive
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet_cifar import ResNetCifar

TABLE = Path(os.environ.get("RENASCENT_DATA", "data")) / "nas" / "nb201.npz"


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    if not TABLE.exists():
        pytest.skip(f"the benchmark's table {TABLE} is not here: point RENASCENT_DATA at the folder of nas/nb201.npz")
    with np.load(TABLE, allow_pickle=False) as held:
        return {key: held[key] for key in held.files if key.startswith(("params_m", "flops_m"))}


# --- the same networks as the benchmark's authors


@pytest.mark.parametrize(("name", "classes", "side"), [("c10", 10, 32), ("in16", 120, 16)])
def test_costs_of_all_cells_are_the_benchmarks_but_for_the_bias_it_counts(name, classes, side, table):
    """The authors count the addition of the classifier's bias as one more operation a class; we do not."""
    for cost, stored, more in (("params", "params_m", 0), ("macs", "flops_m", classes)):
        ours = cost_of(cost, NatsTopology(), (3, side, side), classes).exact(official_order())
        assert np.array_equal(np.round(table[f"{stored}_{name}"] * 1e6), ours + more)


def test_a_cell_by_hand():
    """C = 2, N = 1, two nodes, one 3x3 convolution an edge, 4x4 images of one channel, 5 classes."""
    config = NatsTopology(channels=2, cells=1, nodes=2)
    net = config.network(config.space.arch({"0-1": "nor_conv_3x3"}), 1, 5)
    maps = {2: 16, 4: 4, 8: 1}  # channels -> pixels
    cells = sum(c * c * 9 * pixels for c, pixels in maps.items())
    down = sum((c * c // 2 * 9 + c * c * 9 + c * c // 2) * maps[c] for c in (4, 8))
    assert macs(net, (1, 4, 4)) == 1 * 2 * 9 * 16 + cells + down + 8 * 5
    weights = 1 * 2 * 9 + sum(c * c * 9 for c in maps) + sum(c * c // 2 * 9 + c * c * 9 + c * c // 2 for c in (4, 8))
    norms = 2 * (2 + sum(maps) + 2 * 4 + 2 * 8 + 8)
    assert params(net) == weights + norms + 8 * 5 + 5


# --- macs and params of modules


@pytest.mark.parametrize(
    ("net", "shape", "wanted"),
    [
        (nn.Conv2d(3, 8, 3, padding=1, bias=False), (3, 5, 7), 3 * 8 * 9 * 5 * 7),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 8, 8), 3 * 8 * 9 * 4 * 4),
        (nn.Conv2d(6, 6, 5, padding=2, groups=6), (6, 4, 4), 6 * 25 * 16),
        (nn.Conv2d(4, 8, 1, groups=2), (4, 3, 3), 4 * 8 // 2 * 9),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 7)), (3, 2, 2), 12 * 7),
        (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.AvgPool2d(2)), (3, 4, 4), 0),
    ],
)
def test_macs_by_hand(net, shape, wanted):
    assert macs(net, shape) == wanted


def test_counting_leaves_the_network_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    macs(net, (1, 4, 4))
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_params_counts_a_shared_tensor_once():
    layer = nn.Linear(3, 3)
    assert params(nn.Sequential(layer, layer)) == 12


# --- expected costs


def test_the_gradient_of_the_cost_is_its_table():
    space = Space({"a": Choice(("x", "y", "z")), "b": Integer((1, 2)), "c": Choice(("p", "q"))})
    cost = Additive(space, 12345.0, np.array([[3e7, 5e7, 1e8], [7e6, 2e7, 0], [1, 8e7, 0]]))
    logits = torch.tensor([[0, 0, 0], [0, 0, -torch.inf], [0, 0, -torch.inf]], dtype=torch.float64)
    gates = gumbel_hard(space, logits.requires_grad_(), 1.0, torch.Generator().manual_seed(0))
    slopes = torch.autograd.grad(cost(gates), [gate.weight for gate in gates.values()])
    for slope, row in zip(slopes, cost.table, strict=True):
        assert slope.tolist() == row[: len(slope)].tolist()


def test_additive_agrees_with_what_it_counted():
    space = Space({"a": Choice(("x", "y", "z")), "b": Integer((1, 2, 5))})
    worth = {"x": 3, "y": 0, "z": 10}

    def count(arch):
        return 7 + worth[arch["a"]] + 2 * arch["b"]

    cost = additive(space, count)
    assert [cost.exact(space.indices(arch)[None])[0] for arch in space] == [count(arch) for arch in space]


# --- by name

SHAPE, CLASSES = (3, 16, 16), 7
CONFIGS = {
    "topology": NatsTopology(channels=4, cells=1, nodes=3),
    "sizes": NatsSize(),
    "resnet": ResNetCifar(layers_count=14, lowest=8, highest=16),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_expected_has_a_gradient_where_gates_are_soft(kind):
    config = CONFIGS[kind]
    space = config.space
    for name in COSTS if kind != "topology" else COSTS[:2]:
        padded = torch.arange(max(space.counts)) >= torch.tensor(space.counts)[:, None]
        logits = torch.zeros(padded.shape, dtype=torch.float64).masked_fill(padded, -torch.inf).requires_grad_()
        cost_of(name, config, SHAPE, CLASSES)(soft(space, logits)).backward()
        moves = [bool(row[:n].abs().max() > 0) for row, n in zip(logits.grad, space.counts, strict=True) if n > 1]
        # a peak is of some layers only, and parameters know no resolution
        still = {"activation_bytes": len(moves) - 1, "params": int("resolution" in space.decisions)}
        assert moves.count(False) <= still.get(name, 0)


def test_names_that_are_not_there_are_refused():
    with pytest.raises(UserError, match=r"unknown cost 'flops': .*known: macs, params"):
        cost_of("flops", CONFIGS["sizes"], SHAPE, CLASSES)
    with pytest.raises(UserError, match="activation_bytes is known for spaces of sizes only, not for"):
        cost_of("activation_bytes", CONFIGS["topology"], SHAPE, CLASSES)
