"""What every cost must do, on every space: in whole units, never negative, additive where it says so."""

import numpy as np
import pytest
import torch

from renascent.costs import Additive, macs, macs_of, params, params_of
from renascent.gates import gumbel_hard, one_hot, option_counts, soft
from renascent.nets import SPACES, NatsTopology
from renascent.nets.toy import ToySpace

SHAPE = (3, 8, 8)

CONFIGS = {"nats-topology": NatsTopology(channels=4, cells=1, nodes=3), "toy": ToySpace(rows=4)}
"""Small enough to enumerate; a space without an entry is tested as it is by default."""

COSTS = {
    "macs": (lambda config, shape: macs_of(config, shape, 5), lambda net, shape: macs(net, shape)),
    "params": (lambda config, shape: params_of(config, shape[0], 5), lambda net, shape: params(net)),
}
"""Name, which is its unit -> (the cost of a space, how it is counted on one network)."""


@pytest.fixture(scope="module", params=[*SPACES, "toy"])
def config(request):
    return CONFIGS.get(request.param) or SPACES[request.param]()


@pytest.fixture(scope="module", params=COSTS)
def priced(request, config):
    """Return (configuration, its cost, how it is counted on an architecture)."""
    shape = (3, 4, 4) if isinstance(config, ToySpace) else SHAPE
    make, count = COSTS[request.param]
    return config, make(config, shape), lambda arch: count(config.network(arch, shape[0], 5), shape)


def sample(config, count=20):
    rng = np.random.default_rng(1)
    return [config.space.sample(rng) for _ in range(count)]


def logits(config, seed):
    counts = option_counts(config.space)
    values = torch.randn(len(counts), max(counts), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.masked_fill(torch.arange(max(counts)) >= torch.tensor(counts)[:, None], -torch.inf)


def test_one_hot_exact_and_counted_are_one_number(priced):
    config, cost, count = priced
    for arch in sample(config):
        wanted = count(arch)
        assert cost.exact(config.space.indices(arch)[None]).tolist() == [wanted]
        assert float(cost(one_hot(config.space, arch))) == wanted


def test_costs_are_whole_and_not_negative(priced):
    config, cost, _ = priced
    found = cost.exact(np.stack([config.space.indices(arch) for arch in sample(config, 200)]))
    assert (found >= 0).all()
    assert (found == np.round(found)).all()
    assert len(set(found)) > 1 or isinstance(config, ToySpace)


def test_an_additive_cost_is_the_sum_of_its_decisions(priced):
    config, cost, count = priced
    assert isinstance(cost, Additive)
    for arch, other in zip(sample(config)[:5], sample(config)[5:10], strict=True):
        changes = [count(config.space.arch({**arch, name: other[name]})) - count(arch) for name in arch]
        assert count(other) - count(arch) == sum(changes)


def test_the_expected_cost_is_the_mean_of_what_the_gates_mean(priced):
    config, cost, _ = priced
    values = logits(config, 0)
    gates = soft(config.space, values)
    archs = list(config.space)
    chances = torch.ones(len(archs), dtype=torch.float64)
    indices = np.stack([config.space.indices(arch) for arch in archs])
    for column, gate in enumerate(gates.values()):
        chances *= gate.weight[indices[:, column]]
    assert float(chances.sum()) == pytest.approx(1)
    assert float(cost(gates)) == pytest.approx(float(chances @ torch.from_numpy(cost.exact(indices))), rel=1e-12)


def test_a_sample_costs_what_its_architecture_does_and_has_a_gradient(priced):
    config, cost, count = priced
    values = logits(config, 2).requires_grad_()
    gates = gumbel_hard(config.space, values, 1.0, torch.Generator().manual_seed(3))
    picks = {n: d.options[gates[n].active[0]] for n, d in config.space.decisions.items()}
    found = cost(gates)
    assert float(found.detach()) == count(config.space.arch(picks))
    found.backward()
    assert torch.isfinite(values.grad).all()
