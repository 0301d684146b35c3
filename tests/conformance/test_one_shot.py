"""What every strategy must do. A row in `STRATEGIES` is all it takes to be tested here.

The toy task has a best architecture that is known: 4 decisions of 3 options, of which a blind guess gets 1.3 right.
Strategies that search sizes also run on ordered decisions, with a best architecture at the edge of a budget.
"""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from renascent.core.protocols import Goal, Loss, Setup, Supernet, WeightRule
from renascent.core.space import Integer, Space
from renascent.core.within import within
from renascent.costs.budget import Budget
from renascent.loops import _drive
from renascent.loops.run import Run, read_events
from renascent.loops.share import Scorer, share
from renascent.strategies import STRATEGIES
from renascent.tasks.toy import ToyTask
from renascent.testing import one_shot
from renascent.testing.claims import is_documented, survives_json
from renascent.testing.one_shot import SEEDS, SPACE, SUBSETS, Killed, Mortal, events_of, is_same, planted_in, search

QUICK = {
    "arch_lr": 0.1,  # the papers' 3e-4 is for ten thousands of steps, and here are 80
    "arch_weight_decay": 0.0,
    "controller_lr": 0.02,
    "controller_steps": 6,
    "controller_samples": 4,
    "hidden": 8,
    "layers": 1,
    "candidates": 200,  # of 81 architectures: one in twelve is missed
    "arch_lr_growth": 1.0,
    "policy_warmup": 0.25,  # what weights of a few steps say of an option misleads a policy that learns this fast
}
"""Used where a strategy has such a hyperparameter."""

EPOCHS = 10

SIZED = ("nes", "tas", "fbnetv2", "tunas")
"""Strategies that look at a budget."""

ORDERED = ("nes",)
"""Strategies to which the order of options means something, so that they owe nothing where there is none."""


def quick(kind):
    fields = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in QUICK.items() if name in fields})


@pytest.fixture(scope="module", params=STRATEGIES)
def kind(request):
    return STRATEGIES[request.param]


@pytest.fixture(scope="module")
def found(kind, tmp_path_factory):
    """Return what a whole search finds, for each seed."""
    return [search(quick(kind), tmp_path_factory.mktemp("run") / "r", seed=seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def once(kind, tmp_path_factory):
    """Return a search of one epoch."""
    return one_shot.short(quick(kind), tmp_path_factory.mktemp("short") / "r")


@pytest.fixture(scope="module")
def whole(kind, tmp_path_factory):
    """Return a search that nothing interrupts."""
    strategy = dataclasses.replace(quick(kind), **{"candidates": 7} if hasattr(kind, "candidates") else {})
    return one_shot.uninterrupted(strategy, tmp_path_factory.mktemp("whole") / "r")


def test_it_finds_what_was_planted(kind, found):
    if kind in [STRATEGIES[name] for name in ORDERED]:
        pytest.skip("this strategy searches sizes, and the channels of the toy task are not ordered")
    one_shot.finds_what_was_planted(found)


def test_derive_is_in_the_space_and_beats_the_random_mean(found):
    one_shot.stays_in_space(found)


def test_probabilities_sum_to_one_for_every_decision(kind, found):
    one_shot.has_probabilities(quick(kind), found)


# --- any of the options


PRUNING = {"dso-nas": {"sparsity": 0.1}, "bayesnas": {"shrinkage": 0.03}}
"""Strategies that prune, and how strongly in so few steps."""

TAKING = [name for name in STRATEGIES if getattr(STRATEGIES[name], "takes_subsets", True)]


def pruning(name):
    return dataclasses.replace(quick(STRATEGIES[name]), **PRUNING.get(name, {}))


@pytest.mark.parametrize("name", PRUNING)
def test_it_keeps_exactly_what_was_planted(name, tmp_path):
    """At least 7 of 8 decisions right: a blind guess of 8 subsets does that once in 300,000 times."""
    found = [search(pruning(name), tmp_path / str(seed), seed=seed, config=SUBSETS) for seed in SEEDS]
    pairs = [(f.arch, planted_in(seed)) for seed, f in zip(SEEDS, found, strict=True)]
    assert sum(arch[row] == (best[row],) for arch, best in pairs for row in best) >= 7
    for f in found:
        chances = pruning(name).probabilities(f.state)
        assert all(((p >= 0) & (p <= 1)).all() for p in chances.values())
        assert f.arch == {row: tuple(f"channel{k}" for k in range(3) if p[k] > 0.5) for row, p in chances.items()}


def test_who_takes_one_option_refuses_to_keep_several(kind, tmp_path):
    if getattr(kind, "takes_subsets", True):
        pytest.skip("it takes subsets")
    one_shot.refuses_subsets(quick(kind), tmp_path / "r")


@pytest.mark.parametrize("name", TAKING)
def test_of_subsets_every_option_has_a_chance_of_its_own(name, tmp_path):
    """And the search inside a budget keeps it, whatever it has learnt."""
    task, goals = ToyTask(count_each=64), Budget.parse("macs<=40").goals(SUBSETS, (3, 4, 4), 4)
    strategy, about = pruning(name), {"epochs": 2, "task": task, "batch": 32, "config": SUBSETS, "goals": goals}
    found = search(strategy, tmp_path / "r", **about)
    epoch, *_, derived = read_events(tmp_path / "r")
    chances = strategy.probabilities(found.state)
    assert list(chances) == list(SUBSETS.space.decisions)
    assert all(p.shape == (3,) and (p >= 0).all() and (p <= 1).all() for p in chances.values())
    assert set(epoch["entropy"]) == set(chances) and SUBSETS.space.parse(epoch["likeliest"])
    assert SUBSETS.space.parse(derived["arch"]) == found.arch
    assert 0 < sum(map(len, found.arch.values())) <= 2, "each reading costs 16 multiply-accumulates"


@pytest.mark.parametrize("bounds", ["macs<=57.6", "params<=72", "macs<=57.6,params<=72"])
@pytest.mark.parametrize("name", PRUNING)
def test_a_budget_of_three_tenths_is_kept(name, bounds, tmp_path):
    """Of the complete network, 12 readings of 16 multiply-accumulates and 20 parameters."""
    goals = Budget.parse(bounds).goals(SUBSETS, (3, 4, 4), 4)
    about = {"epochs": 1, "task": ToyTask(count_each=64), "batch": 32, "config": SUBSETS, "goals": goals}
    strategy = dataclasses.replace(pruning(name), **{next(iter(PRUNING[name])): 1e-3})
    found = search(strategy, tmp_path / "r", **about)
    row = SUBSETS.space.indices(found.arch)[None]
    assert all(goal.exact(row)[0] <= goal.limit for goal in goals)
    assert 0 < sum(map(len, found.arch.values())) <= 3
    kept = sum(map(len, strategy.derive(found.state, None).values()))
    assert kept > 3, "the budget took some away that the strategy would have kept"


# --- sizes, in a budget


class Sizes(Supernet):
    """Four sizes that change nothing but the loss: `SizeTask` reads the gates."""

    space = Space({f"size{k}": Integer.range(1, 6) for k in range(4)}, name="sizes")

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(48, 4)

    def forward(self, x, gates):
        return self.linear(x.flatten(1))

    def extract(self, arch):
        raise NotImplementedError


class SizeTask(ToyTask):
    """A toy task whose loss grows, and whose score falls, with the distance of every size from a planted one."""

    def __init__(self, seed):
        super().__init__(seed=seed, count_each=256)
        self.best = np.random.default_rng(seed).permutation([1, 2, 3, 4])

    def loss(self, net, batch, gates=None, *, smoothing=0.0):
        loss, _ = super().loss(net, batch, gates, smoothing=smoothing)
        away = sum(self._distance(gates[f"size{k}"], best) for k, best in enumerate(self.best))
        return Loss(loss + away, (1 - away.detach()).clamp_min(0))

    def _distance(self, gate, best):
        return sum(gate.weight[k] * float(((k - best) / 5) ** 2) for k in gate.active)


def goal_of(task):
    """Return a bound that the best architecture just keeps. The cost is the sum of sizes."""
    sizes = torch.arange(1.0, 7.0, dtype=torch.float64)
    return Goal(
        "units",
        float(sum(task.best + 1)),
        lambda gates: sum((gate.weight.double() * sizes).sum() for gate in gates.values()),
        lambda rows: (rows + 1).sum(1).astype(np.float64),
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SIZED)
def test_it_finds_the_planted_sizes_in_the_budget(name, seed, tmp_path):
    """Inside the budget, and among the best 5 in 100 there: two blind guesses manage that once in 400 times."""
    task = SizeTask(seed)
    goals = (goal_of(task),)
    strategy, space = quick(STRATEGIES[name]), Sizes.space
    torch.manual_seed(seed)
    setup = Setup(Sizes(), task, space, WeightRule(lr=0.1), seed, goals=goals)
    found = share(strategy, setup, epochs=EPOCHS, batch=32, run=Run.start(tmp_path / "r", {}))
    score = Scorer(found.state)
    # the mode alone, so that scoring does not do the strategy's work
    probabilities = {k: p.numpy() for k, p in strategy.probabilities(found.state).items()}
    arch = within(space, probabilities, goals, score, samples=0)
    rows = np.array(list(itertools.product(range(6), repeat=4)))
    inside = rows[goals[0].exact(rows) <= goals[0].limit]
    scores = 1 - (((inside - task.best) / 5) ** 2).sum(1)
    assert goals[0].exact(space.indices(arch)[None])[0] <= goals[0].limit
    assert score(arch) > np.quantile(scores, 0.95)


@pytest.mark.parametrize("saving", [1e9, -1.0], ids=["epochs", "steps"])
def test_killed_and_resumed_it_is_the_same(whole, tmp_path, saving):
    one_shot.resumes(whole, tmp_path / "r", saving)


STAGED = {"dso-nas": {"pretrain": 0.4}, "bayesnas": {"iterations": 2, "curvature_draws": 2}}
"""So that every stage is there in 12 steps: pre-training; plain, joint, measuring and pruned, twice."""


STOPS = (3, 4, 5, 6, 11)
"""Ahead of which steps: those at which the stage of one of them changes, and the last."""


@pytest.mark.parametrize("config", [SPACE, SUBSETS], ids=["choices", "subsets"])
@pytest.mark.parametrize("name", STAGED)
def test_killed_in_every_stage_and_at_its_change_it_is_the_same(name, config, tmp_path, monkeypatch):
    """Subsets in a budget; sums of curvature are part of the state."""
    monkeypatch.setattr(_drive, "CHECKPOINT_SECONDS", -1.0)
    goals = Budget.parse("macs<=57.6,params<=72").goals(SUBSETS, (3, 4, 4), 4) if config is SUBSETS else ()
    about = {"epochs": 3, "task": ToyTask(count_each=128), "batch": 32, "config": config, "goals": goals}
    strategy, summed = dataclasses.replace(pruning(name), **STAGED[name]), 0
    found = search(strategy, tmp_path / "whole", **about)
    for at in STOPS:
        with pytest.raises(Killed):
            search(Mortal(strategy, at), tmp_path / "r", resume=True, **about)
        summed += "curvature_sum" in Run(tmp_path / "r", {}).restore()["state"]["extra"]
    assert summed == (2 if name == "bayesnas" else 0)
    again = search(strategy, tmp_path / "r", resume=True, **about)
    is_same(again, found)
    assert events_of(tmp_path / "r") == events_of(tmp_path / "whole")
    one, two = again.state.extra, found.state.extra
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_hyperparameters_survive_json(kind):
    for strategy in (kind(), quick(kind)):
        survives_json(strategy)


def test_it_is_a_frozen_dataclass_that_keeps_the_protocol(kind):
    one_shot.keeps_protocol(kind())


def test_its_docstring_names_the_paper_and_every_hyperparameter(kind):
    is_documented(kind)


def test_the_seed_is_all_that_a_search_needs(once, tmp_path):
    one_shot.needs_its_seed_alone(once, tmp_path / "b")


def test_its_state_is_plain_values(kind, once):
    strategy = dataclasses.replace(quick(kind), **{"candidates": 3} if hasattr(kind, "candidates") else {})
    one_shot.keeps_all_in_its_state(strategy, once)
