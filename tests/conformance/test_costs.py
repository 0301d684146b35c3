"""What every cost must do, on every space: in whole units, never negative, additive where it says so."""

import functools
import itertools

import numpy as np
import pytest
import torch

from renascent.core.gates import Gate, gumbel_hard
from renascent.core.space import Arch, Subset
from renascent.costs import COSTS, Additive, cost_of
from renascent.nets import SPACES
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.resolution import RESOLUTION, input_shape
from renascent.nets.sizes.space import SizedSpace
from renascent.nets.toy import ToySpace
from renascent.testing import spaces
from renascent.testing.spaces import COUNTS

SHAPE = (3, 8, 8)

CONFIGS = {
    "nats-topology": NatsTopology(channels=4, cells=1, nodes=3),
    "toy": ToySpace(rows=4),
    "toy of subsets": ToySpace(rows=4, several=True),
    "darts-cells": SPACES["darts-cells"](channels=4, layers_count=3, nodes=2),
    "darts-cells with fixed reduction": SPACES["darts-cells"](channels=4, layers_count=3, nodes=2, reduction="fixed"),
    "darts-cells of subsets": SPACES["darts-cells"](channels=4, layers_count=4, nodes=3, decisions="subset"),
    "dso": SPACES["dso"](channels=4, blocks=(1, 1), levels=2),
    "dso of shared blocks": SPACES["dso"](channels=4, blocks=(2, 1), levels=2, share=True),
    "fbnet": SPACES["fbnet"](width=0.125, blocks=(1, 2, 1, 1, 1, 1, 1)),
    "mbconv": SPACES["mbconv"](small=True, width=0.125, blocks=(2, 1, 1, 1, 2, 1)),
    "pyramid-tree of tree A": SPACES["pyramid-tree"](blocks=1, final_channels=72, tree="A"),
    "pyramid-tree": SPACES["pyramid-tree"](blocks=1, final_channels=72),
    "resnet20 with resolutions": SPACES["resnet20"](lowest=5, highest=10, resolution_step=1),
    "resnet20 of tied widths": SPACES["resnet20"](tied=True),
    "resnet18 for small images": SPACES["resnet18"](small=True, lowest=5, highest=10),
    "mobilenet-v1 for small images": SPACES["mobilenet-v1"](small=True, lowest=8, highest=8),
}
"""Small enough to build, or of settings of their own; a space without an entry is tested as it is by default."""

DARTS = [name for name in CONFIGS if name.startswith("darts-cells")]

FEW = {"resnet164": 1, "resnet50": 3, "fbnet": 1, "mbconv": 1, "pyramid-tree": 1} | dict.fromkeys(DARTS, 2)
"""How many architectures of a network of many layers are built."""


LONGER = {"resnet56", "resnet110"}
"""Resnet20 and resnet32 with more layers, of one class and of one kind of blocks: nothing else is in them."""

SPACE_OF = {name: CONFIGS.get(name) or SPACES[name]() for name in (SPACES.keys() | CONFIGS.keys()) - LONGER}

PAIRS = [(space, cost) for space, config in sorted(SPACE_OF.items()) for cost in COSTS if cost in config.costs]


def one_each(space):
    """Return whether every decision has one value of several, so that gates can mean a distribution."""
    return not any(isinstance(decision, Subset) for decision in SPACE_OF[space].space.decisions.values())


SUMS = [pair for pair in PAIRS if pair[1] != "activation_bytes" and one_each(pair[0])]
"""The peak of expectations is no expectation of peaks, and scales are no probabilities."""

ADDITIVE = [pair for pair in SUMS if not isinstance(SPACE_OF[pair[0]], SizedSpace) and pair[1] in COUNTS]


@pytest.fixture(params=PAIRS, ids="-".join)
def priced(request):
    """Return (configuration, its cost, how it is counted on an architecture or None, how many to count)."""
    space, name = request.param
    config, count, cost = SPACE_OF[space], COUNTS.get(name), cost_in(space, name)
    if count is None:
        return config, cost, None, 0
    return config, cost, lambda arch: count(built(config, arch), input_shape(arch, shape_in(space))), FEW.get(space, 6)


@functools.cache
def cost_in(space, name):
    """Return a cost, counted once for all tests."""
    return cost_of(name, SPACE_OF[space], shape_in(space), 5)


def shape_in(space):
    return (3, 4, 4) if isinstance(SPACE_OF[space], ToySpace) else SHAPE


def built(config, arch):
    with torch.device("meta"):
        return config.network(arch, 3, 5)


def sample(config, count=20):
    rng = np.random.default_rng(1)
    return [config.space.sample(rng) for _ in range(count)]


def logits(config, seed):
    counts = config.space.counts
    values = torch.randn(len(counts), max(counts), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.masked_fill(torch.arange(max(counts)) >= torch.tensor(counts)[:, None], -torch.inf)


def test_one_hot_exact_and_counted_are_one_number(priced):
    config, cost, count, few = priced
    for arch in sample(config, few if count else 20):
        spaces.prices_exactly(config, cost, arch, count and count(arch))


def test_costs_are_whole_and_not_negative(priced):
    config, cost, _, _ = priced
    archs = sample(config, 60)
    spaces.prices_in_whole_units(config, cost, archs)
    found = cost.exact(np.stack([config.space.indices(arch) for arch in archs]))
    assert len(set(found)) > 1 or isinstance(config, ToySpace)


def test_many_at_once_cost_what_each_does(priced):
    config, cost, _, _ = priced
    spaces.prices_many_as_each(config, cost, sample(config, 5))


@pytest.mark.parametrize("priced", ADDITIVE, ids="-".join, indirect=True)
def test_an_additive_cost_is_the_sum_of_its_decisions(priced):
    """Up to six decisions change."""
    config, cost, count, few = priced
    assert isinstance(cost, Additive)
    for arch, another in zip(sample(config)[:few], sample(config)[10 : 10 + few], strict=True):
        changed = list(arch)[:: -(-len(arch) // 6)]
        other = Arch({**arch, **{name: another[name] for name in changed}})
        changes = [count(Arch({**arch, name: other[name]})) - count(arch) for name in changed]
        assert count(other) - count(arch) == sum(changes)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("priced", SUMS, ids="-".join, indirect=True)
def test_the_expected_cost_is_the_mean_of_what_the_gates_mean(priced, seed):
    """Up to six decisions are open between up to three options each, all the others are decided."""
    config, cost, _, _ = priced
    rng = np.random.default_rng(seed)
    counts = config.space.counts
    depths = [k for k, name in enumerate(config.space.decisions) if name.startswith("depth") or name == RESOLUTION]
    opened = {*depths[seed % 2 :: 2], *rng.permutation(len(counts))[: 6 - len(depths[seed % 2 :: 2])].tolist()}
    supports = [
        rng.choice(count, size=min(count, 3 if k in opened else 1), replace=False) for k, count in enumerate(counts)
    ]
    probabilities = [rng.dirichlet(np.ones(len(support))) for support in supports]
    gates = {}
    for name, count, support, probability in zip(config.space.decisions, counts, supports, probabilities, strict=True):
        weight = torch.zeros(count, dtype=torch.float64)
        weight[support] = torch.from_numpy(probability)
        gates[name] = Gate(weight, tuple(sorted(support.tolist())))
    rows = np.array(list(itertools.product(*supports)))
    weights = np.array([np.prod(row) for row in itertools.product(*probabilities)])
    assert weights.sum() == pytest.approx(1)
    assert float(cost(gates)) == pytest.approx(float(weights @ cost.exact(rows)), rel=1e-12)


@pytest.mark.parametrize("priced", [pair for pair in PAIRS if one_each(pair[0])], ids="-".join, indirect=True)
def test_a_sample_costs_what_its_architecture_does_and_has_a_gradient(priced):
    config, cost, _, _ = priced
    values = logits(config, 2).requires_grad_()
    gates = gumbel_hard(config.space, values, 1.0, torch.Generator().manual_seed(3))
    picks = np.array([gate.active[0] for gate in gates.values()])
    found = cost(gates)
    assert float(found.detach()) == pytest.approx(float(cost.exact(picks[None])[0]), rel=1e-14)
    found.backward()
    assert torch.isfinite(values.grad).all()
