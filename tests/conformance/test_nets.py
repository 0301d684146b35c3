"""What every search space must do. A row in `SPACES` is all it takes to be tested here."""

import dataclasses

import numpy as np
import pytest
import torch

from renascent.costs import macs, macs_of, params, params_of
from renascent.gates import one_hot, soft
from renascent.nets import SPACES
from renascent.nets.toy import ToySpace

SMALL = {"channels": 4, "cells": 1}
"""Used where a space has such a parameter: the smallest that still has everything."""

SHAPE = (3, 8, 8)
CLASSES = 5


def small(kind):
    fields = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in SMALL.items() if name in fields})


CONFIGS = {name: (small(kind), SHAPE) for name, kind in SPACES.items()}
CONFIGS["the example of a space of your own"] = (ToySpace(), (3, 4, 4))


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def given(request):
    """Return (configuration, supernet in float64, inputs, architectures)."""
    config, shape = request.param
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        rng = np.random.default_rng(0)
        archs = [config.space.sample(rng) for _ in range(20)]
        yield config, config.supernet(shape[0], CLASSES), torch.randn(3, *shape), archs
    finally:
        torch.set_default_dtype(torch.float32)


def test_it_is_a_frozen_dataclass_whose_space_can_be_written(given):
    config, _, _, archs = given
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, None)
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
        torch.testing.assert_close(plain(x), net(x, one_hot(config.space, arch)), rtol=1e-10, atol=1e-10)


def test_what_is_extracted_is_what_is_built(given):
    config, net, x, archs = given
    for arch in archs[:5]:
        extracted = net.extract(arch)
        built = config.network(arch, x.shape[1], CLASSES)
        shapes = [{key: value.shape for key, value in n.state_dict().items()} for n in (extracted, built)]
        assert shapes[0] == shapes[1]
        assert {p.dtype for p in extracted.parameters()} == {x.dtype}


def test_pruning_keeps_the_function(given):
    config, _, x, archs = given
    for arch in archs[:5]:
        whole, pruned = (config.network(arch, x.shape[1], CLASSES, prune=prune) for prune in (False, True))
        pruned.load_state_dict({key: whole.state_dict()[key] for key in pruned.state_dict()})
        for training in (True, False):
            torch.testing.assert_close(pruned.train(training)(x), whole.train(training)(x), rtol=1e-10, atol=1e-10)


def test_expected_costs_of_one_hot_gates_are_counted_costs(given):
    config, net, x, archs = given
    shape = tuple(x.shape[1:])
    expected_macs, expected_params = macs_of(config, shape, CLASSES), params_of(config, shape[0], CLASSES)
    for arch in archs:
        gates, plain = one_hot(config.space, arch), net.extract(arch)
        assert float(expected_macs(gates)) == macs(plain, shape)
        assert float(expected_params(gates)) == params(plain)


def test_the_gradient_reaches_what_is_active_only(given):
    """Weights that one architecture lacks and the network holds get no gradient, not one of zero."""
    config, net, x, archs = given
    for arch in archs:
        net.zero_grad(set_to_none=True)
        net(x, one_hot(config.space, arch)).pow(2).sum().backward()
        learning = sum(p.numel() for p in net.parameters() if p.grad is not None)
        # a plain network may have more: what is chosen but unreachable, or a norm's scale that a supernet leaves out
        assert 0 < learning <= params(net.extract(arch))
        assert all(p.grad.abs().sum() > 0 for p in net.parameters() if p.grad is not None and p.dim() == 4)


def test_soft_gates_pass_a_gradient_to_every_decision(given):
    config, net, x, _ = given
    counts = [len(d.options) for d in config.space.decisions.values()]
    logits = torch.zeros(len(counts), max(counts))
    logits[torch.arange(max(counts)) >= torch.tensor(counts)[:, None]] = -torch.inf
    logits.requires_grad_()
    net(x, soft(config.space, logits)).pow(2).sum().backward()
    assert (logits.grad.abs().sum(1) > 0).all()


def test_what_is_exported_runs_the_same(given):
    _, net, x, archs = given
    plain = net.extract(archs[0]).eval()
    exported = torch.export.export(plain, (x,)).module()
    torch.testing.assert_close(exported(x), plain(x), rtol=1e-9, atol=1e-9)


def test_gates_it_has_no_decision_for_are_passed_over(given):
    config, net, x, archs = given
    gates = one_hot(config.space, archs[0])
    more = {**gates, "augmentation": next(iter(gates.values()))}
    assert torch.equal(net(x, more), net(x, gates))
