"""Counted costs by name: of one architecture, of many, and expected under gates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from renascent.core.bounds import COSTS
from renascent.core.errors import UserError
from renascent.core.gates import one_hot, soft
from renascent.costs import macs, params
from renascent.costs.named import cost_of
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.sizes.resolution import input_shape

SHAPE, CLASSES = (3, 16, 16), 7
CONFIGS = {
    "topology": NatsTopology(channels=4, cells=1, nodes=3),
    "sizes": NatsSize(),
    "resnet": ResNetCifar(layers_count=14, lowest=8, highest=16),
}


def named(kind):
    return COSTS if kind != "topology" else COSTS[:2]


@pytest.mark.parametrize("kind", CONFIGS)
def test_macs_and_params_are_those_counted_on_the_plain_network(kind):
    config, rng = CONFIGS[kind], np.random.default_rng(0)
    archs = [config.space.sample(rng) for _ in range(4)]
    rows = np.stack([config.space.indices(arch) for arch in archs])
    nets = [config.network(arch, SHAPE[0], CLASSES) for arch in archs]
    counted = [macs(net, input_shape(arch, SHAPE)) for net, arch in zip(nets, archs, strict=True)]
    assert cost_of("macs", config, SHAPE, CLASSES).exact(rows).tolist() == counted
    assert cost_of("params", config, SHAPE, CLASSES).exact(rows).tolist() == [params(net) for net in nets]


@pytest.mark.parametrize("kind", CONFIGS)
def test_expected_is_exact_where_gates_are_one_hot_and_has_a_gradient_where_they_are_soft(kind):
    config, rng = CONFIGS[kind], np.random.default_rng(1)
    space = config.space
    for name in named(kind):
        cost = cost_of(name, config, SHAPE, CLASSES)
        for _ in range(3):
            arch = space.sample(rng)
            expected = cost(one_hot(space, arch))
            assert expected.dtype == torch.float64
            assert float(expected) == cost.exact(space.indices(arch)[None])[0]
        counts = [len(d.options) for d in space.decisions.values()]
        logits = torch.zeros(len(counts), max(counts), dtype=torch.float64)
        for row, count in zip(logits, counts, strict=True):
            row[count:] = -torch.inf
        logits.requires_grad_()
        cost(soft(space, logits)).backward()
        moves = [bool(row[:count].abs().max() > 0) for row, count in zip(logits.grad, counts, strict=True) if count > 1]
        # a peak is of some layers only, and parameters know no resolution
        still = {"activation_bytes": len(moves) - 1, "params": int("resolution" in space.decisions)}
        assert moves.count(False) <= still.get(name, 0)


def test_names_that_are_not_there_are_refused():
    with pytest.raises(UserError, match=r"unknown cost 'flops': .*known: macs, params"):
        cost_of("flops", CONFIGS["sizes"], SHAPE, CLASSES)
    with pytest.raises(UserError, match="activation_bytes is known for spaces of sizes only, not for"):
        cost_of("activation_bytes", CONFIGS["topology"], SHAPE, CLASSES)
