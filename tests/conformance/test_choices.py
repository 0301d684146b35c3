"""ProxylessNAS and the DARTS family on spaces of operations with rules and chains: what they find is in the space.

And inside a budget, and found again, bit for bit, by a search that dies in the middle.
"""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from renascent.core.gates import one_hot
from renascent.core.protocols import Goal, Setup, WeightRule
from renascent.costs import cost_of
from renascent.loops import _drive
from renascent.loops.run import Run
from renascent.loops.share import share
from renascent.nets import SPACES
from renascent.strategies import STRATEGIES
from renascent.strategies.proxyless import Proxyless
from renascent.tasks.toy import ToyTask
from renascent.testing.one_shot import Killed, Mortal, events_of

CONFIGS = {
    "darts-cells": SPACES["darts-cells"](channels=4, layers_count=3, nodes=2),
    "mbconv": SPACES["mbconv"](small=True, width=0.125, blocks=(2, 1, 1, 1, 1, 1)),
}
EXACT = "proxyless of all paths"
TRIED = {
    "darts-cells": ("gdas", "enas"),
    "mbconv": ("rsps", EXACT, "proxyless-reinforce"),
}
"""One of each kind; all are killed on the space of `test_one_shot.py`."""
QUICK = {"candidates": 5, "samples": 2, "controller_steps": 2, "controller_samples": 2, "hidden": 8, "layers": 1}
BOUNDS = {"macs": 0.5, "params": 0.6}
"""Cost -> how far between the least and the most of some samples its limit is."""


@functools.cache
def goals_of(config):
    rng, found = np.random.default_rng(0), []
    rows = np.stack([config.space.indices(config.space.sample(rng)) for _ in range(50)])
    for name, part in BOUNDS.items():
        cost = cost_of(name, config, (3, 4, 4), 4)
        each = cost.exact(rows)
        limit = float(each.min() + part * (each.max() - each.min()))
        found.append(Goal(name, limit, cost, cost.exact, (cost.base, cost.table)))
    return tuple(found)


def strategy_of(name):
    if name == EXACT:
        return Proxyless(paths=0)
    fields = {field.name for field in dataclasses.fields(STRATEGIES[name])}
    return STRATEGIES[name](**{key: value for key, value in QUICK.items() if key in fields})


def run(strategy, config, folder, goals=(), resume=False):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        task = ToyTask(count_each=32)
        setup = Setup(config.supernet(3, 4), task, config.space, WeightRule(lr=0.1), 0, goals)
        about = {"epochs": 1, "batch": 16, "run": Run.start(folder, {}, resume=resume)}
        return share(strategy, setup, **about)


@pytest.mark.parametrize(("space", "name"), [(space, name) for space, names in TRIED.items() for name in names])
def test_killed_and_resumed_it_finds_the_same_legal_architecture_inside_the_budget(space, name, tmp_path, monkeypatch):
    monkeypatch.setattr(_drive, "CHECKPOINT_SECONDS", -1.0)
    config, strategy = CONFIGS[space], strategy_of(name)
    goals = goals_of(config)
    found = run(strategy, config, tmp_path / "whole", goals)
    assert config.space.arch(found.arch) == found.arch
    rows = config.space.indices(found.arch)[None]
    assert config.space.legal(rows).all()
    assert all(goal.exact(rows)[0] <= goal.limit for goal in goals)
    with pytest.raises(Killed):
        run(Mortal(strategy, 1), config, tmp_path / "r", goals)
    again = run(strategy, config, tmp_path / "r", goals, resume=True)
    assert (again.arch, again.score) == (found.arch, found.score)
    assert events_of(tmp_path / "r") == events_of(tmp_path / "whole")
    x = torch.randn(2, 3, 4, 4)
    gates = one_hot(config.space, found.arch)
    assert torch.equal(again.state.net(x, gates), found.state.net(x, gates))
