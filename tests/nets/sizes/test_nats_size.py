"""The size space of NATS-Bench: counts of the authors' logs, and the network's parts by hand."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from renascent.core.codecs import nats_topology as topology
from renascent.core.gates import Gate, one_hot, soft
from renascent.costs import cost_of, macs, params
from renascent.nets.sizes.nats_size import CONVOLUTIONS, NatsSize

NAS = Path(os.environ.get("RENASCENT_DATA", "data")) / "nas"
LOGS, TABLE = NAS / "nats_official_logs_sample.json", NAS / "nb201.npz"

DATASETS = {"cifar10": 32, "cifar100": 32, "ImageNet16-120": 16}
"""Data -> side of an image in pixels."""


def needs(path):
    return pytest.mark.skipif(not path.exists(), reason=f"{path} is not here: point RENASCENT_DATA at its folder")


@needs(LOGS)
@pytest.mark.parametrize("index", [0, 11, 284])
def test_the_counts_are_those_of_the_authors_logs(index):
    """They count the classifier's bias as one multiply-accumulate a class; we do not."""
    found = json.loads(LOGS.read_text())["sss"][str(index)]["90"]
    space = NatsSize().space
    assert space.format(space.at(index)) == found["arch_str"]
    for run in found["runs"]:
        if run["dataset"] in DATASETS:
            side, classes = DATASETS[run["dataset"]], run["arch_config"]["class_num"]
            net = NatsSize().network(space.at(index), 3, classes)
            assert params(net) == round(run["params_m"] * 1e6)
            assert macs(net, (3, side, side)) + classes == round(run["flop_m"] * 1e6)


@needs(TABLE)
def test_the_cell_is_the_best_on_cifar_100():
    with np.load(TABLE, allow_pickle=False) as held:
        best = int(held["acc200_c100_test"].argmax())
    arch = topology.official_arch(best)
    convs = {(int(edge[0]), int(edge[2])) for edge in arch if arch[edge] == "nor_conv_3x3"}
    assert convs == set(CONVOLUTIONS) and arch["0-3"] == "skip_connect" and best == 9930


def conv(unit, x, stride=1, padding=1):
    """Return what a unit computes without its activation."""
    out = functional.conv2d(x, unit.conv.weight, None, stride, padding)
    return functional.batch_norm(out, None, None, training=True)


def test_a_cell_by_hand():
    net = NatsSize().network(NatsSize().space.parse("8:16:24:16:16"), 3, 10)
    cell, x = net.parts[2], torch.randn(3, 16, 4, 4)
    first = conv(cell.conv01, x.relu()).relu()
    second = (conv(cell.conv02, x.relu()) + conv(cell.conv12, first)).relu()
    skip = conv(cell.skip.unit, x, padding=0)
    torch.testing.assert_close(cell(x), skip + conv(cell.conv13, first) + conv(cell.conv23, second))
    # widths that are equal need no convolution
    assert len(list(net.parts[4].skip.parameters())) == 0
    assert len(list(net.parts[0].skip.parameters())) == 0


def test_a_residual_block_by_hand():
    net = NatsSize().network(NatsSize().space.at(300), 3, 10)
    block, x = net.parts[1], torch.randn(3, 8, 5, 5)
    out = conv(block.conv_b, conv(block.conv_a, x.relu(), stride=2).relu())
    short = functional.conv2d(functional.avg_pool2d(x, 2, ceil_mode=True), block.shortcut.conv.weight)
    torch.testing.assert_close(block(x), short + out)


def test_the_skip_of_equal_widths_is_nothing_in_the_shared_network_too():
    net = NatsSize().supernet(3, 10)
    x, space = torch.randn(4, 3, 8, 8), NatsSize().space
    for text, used in (("8:16:16:24:24", []), ("8:16:24:24:16", [2, 4]), ("8:16:24:24:24", [2])):
        net.zero_grad(set_to_none=True)
        net(x, one_hot(space, space.parse(text))).sum().backward()
        assert [k for k in (2, 4) if net.net.parts[k].skip.unit.conv.weight.grad is not None] == used


def test_crops_with_two_active_widths_list_the_skip():
    """Also where the widest of both are equal: the skip then pads and mixes through its convolution."""
    config = NatsSize()
    net, space = config.supernet(3, 10), config.space
    gates = dict(one_hot(space, space.parse("8:16:40:16:16")))
    for name, active in (("width-1", (1, 4)), ("width-2", (2, 4))):
        gates[name] = Gate(torch.eye(8)[list(active)].mean(0), active)
    net(torch.randn(4, 3, 8, 8), gates).sum().backward()
    crops = net.crops(gates)
    used = {name: p.grad for name, p in net.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert "net.parts.2.skip.unit.conv.weight" in used
    for name, grad in used.items():
        outside = grad.clone()
        outside[crops[name]] = 0
        assert not outside.any()


def test_the_reference_is_the_widest():
    config = NatsSize()
    assert config.space.format(config.reference) == "64:64:64:64:64"
    assert float(cost_of("params", config, (3, 8, 8), 10)(soft(config.space, torch.zeros(5, 8)))) > 0
