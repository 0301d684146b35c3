"""What every search space must do. A row in `SPACES` is all it takes to be tested here."""

import dataclasses
import functools

import pytest
import torch

from renascent.core.gates import one_hot, several_sizes
from renascent.core.optimiser import WeightRule
from renascent.nets import SPACES
from renascent.nets.sizes.resolution import RESOLUTION
from renascent.nets.sizes.space import SizedSpace
from renascent.nets.toy import ToySpace
from renascent.testing import spaces

SMALL = {"channels": 4, "cells": 1, "width": 0.125}
"""Used where a space has such a parameter: the smallest that still has everything."""

SMALLEST = {
    "darts-cells": {"layers_count": 3, "nodes": 2},
    "dso": {"blocks": (1, 1), "levels": 2},
    "fbnet": {"blocks": (1, 2, 1, 1, 1, 1, 1)},
    "mbconv": {"small": True, "blocks": (2, 1, 1, 1, 1, 1)},
    "pyramid-tree": {"blocks": 1, "final_channels": 68},
}
"""Space -> the same, for parameters that mean something else elsewhere."""

RESOLUTIONS = {"lowest": 6, "highest": 10, "resolution_step": 2}
"""Used where the resolution is a decision."""

SHAPE = (3, 8, 8)
CLASSES = 5

FEW = {"resnet164": 2, "resnet50": 2}
"""How many architectures of a network of many layers are tried."""


def small(name):
    kind = SPACES[name]
    whole = kind()
    fields = {field.name for field in dataclasses.fields(whole)}
    changes = {name: value for name, value in SMALL.items() if name in fields}
    changes |= SMALLEST.get(name, {}) | (RESOLUTIONS if RESOLUTION in whole.space.decisions else {})
    return kind(**changes)


LONGER = {"resnet56", "resnet110"}
"""Resnet20 and resnet32 with more layers, of one class and of one kind of blocks: nothing else is in them."""

CONFIGS = {name: (small(name), SHAPE) for name in SPACES if name not in LONGER}
CONFIGS["the example of a space of your own"] = (ToySpace(), (3, 4, 4))
CONFIGS["that space, of subsets"] = (ToySpace(several=True), (3, 4, 4))
CONFIGS["darts-cells with fixed reduction"] = (dataclasses.replace(small("darts-cells"), reduction="fixed"), SHAPE)
CONFIGS["darts-cells of subsets"] = (dataclasses.replace(small("darts-cells"), decisions="subset"), SHAPE)
CONFIGS["pyramid-tree of tree A"] = (dataclasses.replace(small("pyramid-tree"), tree="A"), SHAPE)
CONFIGS["dso of shared blocks"] = (SPACES["dso"](channels=4, blocks=(2, 1), levels=2, share=True), SHAPE)
CONFIGS["resnet20 with resolutions"] = (SPACES["resnet20"](**RESOLUTIONS), (1, 8, 8))
CONFIGS["resnet20 of tied widths"] = (SPACES["resnet20"](tied=True), (1, 8, 8))
CONFIGS["resnet20 of depths only"] = (SPACES["resnet20"](widths=False), SHAPE)
CONFIGS["resnet20 of widths only"] = (SPACES["resnet20"](depths=False), SHAPE)
CONFIGS["resnet18 for small images"] = (SPACES["resnet18"](small=True, width=0.125), SHAPE)


@functools.cache
def built(name):
    """Return the supernet in float64: some are large, and no test changes one."""
    config, shape = CONFIGS[name]
    with spaces.in_float64():
        return spaces.supernet_of(config, shape, CLASSES)


@pytest.fixture(params=CONFIGS)
def case(request):
    config, shape = CONFIGS[request.param]
    with spaces.in_float64():
        yield spaces.case_of(config, built(request.param), shape, CLASSES, FEW.get(request.param, 4))


@pytest.mark.parametrize("check", spaces.CHECKS, ids=lambda check: check.__name__)
def test_what_every_space_keeps(case, check):
    check(case)


def test_a_weight_step_is_the_step_of_the_extracted_network(case):
    """And moves nothing else by a bit, neither value nor momentum."""
    config, net, x, archs = case.config, case.net, case.x, case.archs
    if not isinstance(config, SizedSpace):
        pytest.skip("its options share no weights")
    rule = WeightRule(lr=0.1, clip=0.5, weight_decay=0.01)
    shared, before = rule.optimiser(net), {k: v.clone() for k, v in net.state_dict().items()}
    try:
        for arch, fraction in zip(archs[:2], (0.0, 0.5), strict=True):
            gates = one_hot(config.space, arch)
            plain = net.extract(arch).train()
            own = rule.optimiser(plain)
            held = {f"net.{n}": p for n, p in plain.named_parameters()}
            parameters, moments = dict(net.named_parameters()), {}
            for name, p in parameters.items():
                moments[name] = shared.state[p].get("momentum_buffer", torch.zeros_like(p)).clone()
            for name, q in held.items():
                own.state[q]["momentum_buffer"] = moments[name][tuple(map(slice, q.shape))].clone()
            values = {name: p.detach().clone() for name, p in parameters.items()}
            for network, optimiser, out, inside in (
                (net, shared, net(x, gates), net.crops(gates)),
                (plain, own, plain(case.seen(arch)), None),
            ):
                network.zero_grad(set_to_none=True)
                out.pow(2).mean().backward()
                rule.apply(optimiser, fraction, inside)
            for name, p in parameters.items():
                moment = shared.state[p].get("momentum_buffer", torch.zeros_like(p))
                outside = torch.ones(p.shape, dtype=torch.bool)
                if name in held:
                    crop = tuple(map(slice, held[name].shape))
                    outside[crop] = False
                    torch.testing.assert_close(p[crop], held[name], rtol=1e-8, atol=1e-10)
                    other = own.state[held[name]]["momentum_buffer"]
                    torch.testing.assert_close(moment[crop], other, rtol=1e-8, atol=1e-10)
                assert torch.equal(p[outside], values[name][outside])
                assert torch.equal(moment[outside], moments[name][outside])
    finally:
        net.load_state_dict(before)


def undecided(config):
    """Return which decisions soft gates must reach: all but the resolution, which is computed one at a time."""
    counts = zip(config.space.decisions, config.space.counts, strict=True)
    return torch.tensor([name != RESOLUTION and count > 1 for name, count in counts])


def test_two_sampled_sizes_pass_a_gradient_to_both(case):
    config, net, x = case.config, case.net, case.x
    if not isinstance(config, SizedSpace):
        pytest.skip("its options have no sizes")
    logits = spaces.scores(config, seed=1)
    gates = several_sizes(config.space, logits, 1.0, torch.Generator().manual_seed(2))
    open_ = {name: gate for name, gate in gates.items() if name != RESOLUTION}
    for name in gates.keys() - open_.keys():
        largest = max(gates[name].active)
        weight = torch.nn.functional.one_hot(torch.tensor(largest), len(gates[name].weight)).double()
        open_[name] = dataclasses.replace(gates[name], weight=weight, active=(largest,))
    net(x, open_).pow(2).sum().backward()
    reached = torch.tensor([len(gates[name].active) > 1 for name in config.space.decisions]) & undecided(config)
    # what lies behind a shallower stage, or in the deeper one's part, may be out of reach
    always = torch.tensor([d.when is None for d in config.space.decisions.values()])
    assert (logits.grad.abs().sum(1) > 0)[reached & always].all()
