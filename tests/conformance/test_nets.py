"""What every search space must do. A row in `SPACES` is all it takes to be tested here."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from renascent.core.gates import all_paths, one_hot, several_sizes, soft
from renascent.core.optimiser import WeightRule
from renascent.costs import cost_of, macs, params
from renascent.nets import SPACES
from renascent.nets.sizes.resolution import RESOLUTION, input_shape, resize
from renascent.nets.sizes.space import SizedSpace
from renascent.nets.toy import ToySpace

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
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        return config.supernet(shape[0], CLASSES)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.fixture(params=CONFIGS)
def given(request):
    """Return (configuration, supernet in float64, inputs, architectures)."""
    config, shape = CONFIGS[request.param]
    net = built(request.param)
    net.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        rng = np.random.default_rng(0)
        archs = [config.space.sample(rng) for _ in range(FEW.get(request.param, 4))]
        yield config, net, torch.randn(3, *shape), archs
    finally:
        torch.set_default_dtype(torch.float32)


def seen(arch, x):
    """Return the images as a network of this architecture takes them."""
    return resize(x, arch[RESOLUTION]) if RESOLUTION in arch else x


def region(net, gates, name, p):
    """Return which entries of a parameter take part, a mask of its shape."""
    part = net.crops(gates).get(name, ())
    if isinstance(part, torch.Tensor):
        return part
    mask = torch.zeros(p.shape, dtype=torch.bool)
    mask[part] = True
    return mask


def test_it_is_a_frozen_dataclass_whose_space_can_be_written(given):
    config, _, _, archs = given
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
        config.channels = None
    assert type(config)(**dataclasses.asdict(config)) == config
    assert config.space == config.space
    assert config.space.name
    for arch in archs:
        assert config.space.parse(config.space.format(arch)) == arch
        assert isinstance(config.draw(arch), str)


def test_extract_is_the_supernet_at_one_hot_gates(given):
    config, net, x, archs = given
    if not getattr(net, "inherits_weights", True):
        pytest.skip("this network interpolates, so that an architecture has no weights of its own in it")
    for arch in archs:
        plain = net.extract(arch).train()
        torch.testing.assert_close(plain(seen(arch, x)), net(x, one_hot(config.space, arch)), rtol=1e-9, atol=1e-9)


def test_extract_has_the_structure_of_the_built_network(given):
    config, net, x, archs = given
    for arch in archs[:5]:
        extracted = net.extract(arch)
        built = config.network(arch, x.shape[1], CLASSES)
        shapes = [{key: value.shape for key, value in n.state_dict().items()} for n in (extracted, built)]
        assert shapes[0] == shapes[1]
        assert {p.dtype for p in extracted.parameters()} == {x.dtype}


def test_pruning_keeps_the_function(given):
    config, _, x, archs = given
    for arch in archs[:3]:
        whole, pruned = (config.network(arch, x.shape[1], CLASSES, prune=prune) for prune in (False, True))
        pruned.load_state_dict({key: whole.state_dict()[key] for key in pruned.state_dict()})
        images = seen(arch, x)
        for training in (True, False):
            outs = [net.train(training)(images) for net in (pruned, whole)]
            torch.testing.assert_close(*outs, rtol=1e-10, atol=1e-10)


def test_expected_costs_of_one_hot_gates_are_counted_costs(given):
    config, net, x, archs = given
    shape = tuple(x.shape[1:])
    expected_macs, expected_params = (cost_of(name, config, shape, CLASSES) for name in ("macs", "params"))
    for arch in archs:
        gates, plain = one_hot(config.space, arch), net.extract(arch)
        assert float(expected_macs(gates)) == macs(plain, input_shape(arch, shape))
        assert float(expected_params(gates)) == params(plain)


def test_the_gradient_reaches_what_is_active_only(given):
    """Weights that one architecture lacks and the network holds get no gradient, not one of zero."""
    config, net, x, archs = given
    for arch in archs:
        net.zero_grad(set_to_none=True)
        gates = one_hot(config.space, arch)
        net(x, gates).pow(2).sum().backward()
        learning = {name: p for name, p in net.named_parameters() if p.grad is not None}
        regions = {name: region(net, gates, name, p) for name, p in learning.items()}
        # a plain network may have more: what is chosen but unreachable, or a norm's scale that a supernet leaves out
        assert 0 < sum(int(r.sum()) for r in regions.values()) <= params(net.extract(arch))
        assert all(p.grad.abs().sum() > 0 for p in learning.values() if p.dim() == 4)
        assert all(not p.grad[~regions[name]].any() for name, p in learning.items())


def test_a_weight_step_is_the_step_of_the_extracted_network(given):
    """And moves nothing else by a bit, neither value nor momentum."""
    config, net, x, archs = given
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
                (plain, own, plain(seen(arch, x)), None),
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


def scores(config, seed=None):
    counts = config.space.counts
    logits = torch.zeros(len(counts), max(counts))
    if seed is not None:
        logits.normal_(generator=torch.Generator().manual_seed(seed))
    return logits.masked_fill(torch.arange(max(counts)) >= torch.tensor(counts)[:, None], -torch.inf).requires_grad_()


def undecided(config):
    """Return which decisions soft gates must reach: all but the resolution, which is computed one at a time."""
    counts = zip(config.space.decisions, config.space.counts, strict=True)
    return torch.tensor([name != RESOLUTION and count > 1 for name, count in counts])


def test_soft_gates_pass_a_gradient_to_every_decision(given):
    config, net, x, _ = given
    logits = scores(config)
    net(x, soft(config.space, logits)).pow(2).sum().backward()
    assert (logits.grad.abs().sum(1) > 0)[undecided(config)].all()


def test_two_sampled_sizes_pass_a_gradient_to_both(given):
    config, net, x, _ = given
    if not isinstance(config, SizedSpace):
        pytest.skip("its options have no sizes")
    logits = scores(config, seed=1)
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


def test_probed_options_get_the_gradient_of_active_ones_at_weight_zero(given):
    """ProxylessNAS's exact form, arXiv:1812.00332, Appendix D: against all options computed at the gate's values."""
    config, net, x, _ = given
    if isinstance(config, SizedSpace):
        pytest.skip("its sizes are computed at once")
    logits = scores(config, seed=3)
    gates = all_paths(config.space, logits, torch.Generator().manual_seed(4))
    whole = {n: dataclasses.replace(g, active=tuple(range(len(g.weight))), probe=()) for n, g in gates.items()}
    outs = [net(x, each) for each in (gates, whole)]
    torch.testing.assert_close(*outs, rtol=1e-10, atol=1e-10)
    found, wanted = (torch.autograd.grad(out.pow(2).mean(), logits, retain_graph=True)[0] for out in outs)
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-12)
    assert (wanted.abs().sum(1) > 0).any()


def test_export_reproduces_the_network(given):
    _, net, x, archs = given
    plain, images = net.extract(archs[0]).eval(), seen(archs[0], x)
    exported = torch.export.export(plain, (images,)).module()
    torch.testing.assert_close(exported(images), plain(images), rtol=1e-9, atol=1e-9)


def test_gates_it_has_no_decision_for_are_passed_over(given):
    config, net, x, archs = given
    gates = one_hot(config.space, archs[0])
    more = {**gates, "augmentation": next(iter(gates.values()))}
    assert torch.equal(net(x, more), net(x, gates))
