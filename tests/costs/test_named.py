"""Counted costs by name: of one architecture, of many, and expected under gates."""

from __future__ import annotations

import pytest
import torch

from renascent.core.bounds import COSTS
from renascent.core.errors import UserError
from renascent.core.gates import soft
from renascent.costs.named import cost_of
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet_cifar import ResNetCifar

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
