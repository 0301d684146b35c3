"""DSO-NAS and BayesNAS on spaces of subsets, and on the cells of DARTS by choice."""

import pytest
import torch

from renascent.core.protocols import Goal
from renascent.loops import derive
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.dso import DSO
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.cells.pyramid import PyramidTree
from renascent.strategies._scales import joining
from renascent.strategies.bayesnas import BayesNAS
from renascent.strategies.dsonas import DSONAS

STRONGER = {
    ("bayesnas", "dso-share"): BayesNAS(shrinkage=0.2, warmup=0.1),  # groups of two places, of twice the gradient
    ("bayesnas", "tree A"): BayesNAS(shrinkage=0.2, warmup=0.1),
    ("dso-nas", "dso-share"): DSONAS(sparsity=1.0, pretrain=0.1),
}
"""Where so few steps prune nothing else."""

SMALL = {"channels": 4, "layers_count": 3, "nodes": 2, "operations": ("none", "skip_connect", "max_pool_3x3")}

SPACES = {
    "dso": DSO(channels=4, blocks=(1,), levels=2),
    "dso-share": DSO(channels=4, blocks=(1, 1), levels=1, share=True),
    "darts-subset": DartsCells(**SMALL, decisions="subset"),
    "darts-choice": DartsCells(**SMALL),
    "tree A": PyramidTree(blocks=1, final_channels=68, tree="A"),
    "nats-topology": NatsTopology(channels=4, cells=1),
}

BOUNDED = ("dso", "darts-subset")
"""Those that are searched in a budget."""

STRATEGIES = {
    "dso-nas": DSONAS(sparsity=0.5, pretrain=0.1),
    "dso-nas-memory": DSONAS(sparsity=1.5, adaptive="memory_access", pretrain=0.1),
    "bayesnas": BayesNAS(shrinkage=0.07, warmup=0.1),
}


@pytest.mark.parametrize(
    ("name", "space"),
    [
        *(("dso-nas", space) for space in SPACES if space not in ("tree A", "nats-topology", *BOUNDED)),
        *(("bayesnas", space) for space in SPACES if space not in BOUNDED),
        ("dso-nas-memory", "dso"),
    ],
)
def test_a_search_finds_an_architecture_that_is_alive(name, space, digits_search):
    strategy, config = STRONGER.get((name, space), STRATEGIES[name]), SPACES[space]
    found = digits_search(strategy, config, epochs=2)
    on = {"dso-nas": lambda e: e["scales"] != 0, "bayesnas": lambda e: e["kept"]}[name.removesuffix("-memory")]
    assert int(on(found.state.extra).sum()) < sum(config.space.counts)
    check(strategy, config, found)


def check(strategy, config, found):
    """Check that what a search found is alive and runs."""
    assert config.space.arch(found.arch) == found.arch
    assert list(strategy.probabilities(found.state)) == list(config.space.decisions)
    net = config.network(found.arch, 1, 3)
    assert net.eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize("space", SPACES)
def test_with_all_on_only_what_connects_nothing_joins_nothing(space):
    net = SPACES[space].supernet(1, 3)
    on = torch.tensor([[k < n for k in range(max(net.space.counts))] for n in net.space.counts])
    wanted = on.clone()
    for row, name in zip(wanted, net.space.decisions, strict=True):
        for k, option in enumerate(net.space.options(name)):
            row[k] &= option != "none"
    assert torch.equal(joining(net, on), wanted)


@pytest.mark.parametrize("space", ["dso", "darts-subset", "tree A"])
def test_what_is_on_and_joins_is_what_the_space_calls_alive(space):
    net = SPACES[space].supernet(1, 3)
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        on = torch.rand(len(net.space.counts), max(net.space.counts), generator=rng) < 0.3
        alive = joining(net, on) & on
        values = {
            name: tuple(o for o, x in zip(net.space.options(name), row.tolist(), strict=False) if x)
            for name, row in zip(net.space.decisions, on, strict=True)
        }
        arch = net.space.arch(values)
        for row, name in zip(alive, net.space.decisions, strict=True):
            assert arch[name] == tuple(o for o, x in zip(net.space.options(name), row.tolist(), strict=False) if x)


@pytest.mark.parametrize("space", BOUNDED)
@pytest.mark.parametrize("name", ["dso-nas", "bayesnas"])
def test_a_budget_is_kept_by_the_strongest(name, space, digits_search, monkeypatch):
    monkeypatch.setattr(derive, "RANDOM", 4)
    config = SPACES[space]
    cost = config.cost("macs", (1, 8, 8), 3)
    row = config.space.indices(config.space.arch({n: config.space.options(n) for n in config.space.decisions}))
    base = config.space.indices(config.space.arch(dict.fromkeys(config.space.decisions, ())))
    least, most = cost.exact(base[None])[0], cost.exact(row[None])[0]
    goal = Goal("macs", float(least + 0.6 * (most - least)), cost, cost.exact)
    gentle = {"dso-nas": DSONAS(pretrain=0.1), "bayesnas": BayesNAS(warmup=0.1)}[name]
    found = digits_search(gentle, config, epochs=1, goals=(goal,))
    check(gentle, config, found)
    assert cost.exact(config.space.indices(found.arch)[None])[0] <= goal.limit
    assert any(found.arch.values())
