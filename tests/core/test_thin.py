"""The fewest weakest edges to remove for a budget, against trying every number of them."""

import numpy as np
import pytest
import torch

from renascent.core.errors import BudgetError, UserError
from renascent.core.protocols import Goal, Setup, State
from renascent.core.space import Choice, Space, Subset
from renascent.core.thin import random_thin, refuse_cut, thin
from renascent.costs.budget import Budget, feasible
from renascent.costs.counts import cost_of
from renascent.costs.latency.fitted import fitted_latency
from renascent.loops.derive import derived
from renascent.nets.cells.dso import DSO
from renascent.nets.toy import ToySpace
from renascent.results.baselines import sample_feasible
from renascent.tasks.toy import ToyTask

CONFIG, SHAPE = ToySpace(several=True), (3, 4, 4)


def goals(text, config=CONFIG, shape=SHAPE):
    return Budget.parse(text).goals(config, shape, 4)


def cost(goal, row):
    return float(goal.exact(np.asarray(row)[None])[0])


def test_costs_of_subsets_are_those_of_their_networks():
    counted = [cost_of(name, CONFIG, SHAPE, 4) for name in ("params", "macs")]
    each = [4 * 4 + 4, 4 * 4]  # a linear map of 4 features to 4 classes, with a bias
    rng = np.random.default_rng(0)
    for _ in range(20):
        arch = CONFIG.space.sample(rng)
        kept = sum(len(value) for value in arch.values())
        found = [price.exact(CONFIG.space.indices(arch)[None]).tolist() for price in counted]
        assert found == [[kept * per] for per in each]


@pytest.mark.parametrize("seed", range(20))
def test_the_fewest_weakest_edges_go(seed):
    """Every number of removed edges is tried, in an order written out anew, on blocks with dead parts."""
    config, rng = DSO(channels=4, blocks=(1,), levels=2), np.random.default_rng(seed)
    space, shape = config.space, (3, 8, 8)
    (goal,) = goals(f"macs<={rng.uniform(0.05, 1.0)}x", config, shape)
    strengths = {name: rng.integers(0, 4, size=len(space.options(name))) for name in space.decisions}
    row = np.array([rng.integers(0, 2 ** len(space.options(name))) for name in space.decisions])
    left = [(name, k) for name in space.decisions for k in range(len(space.options(name)))]
    left = [(name, k) for name, k in left if row[list(space.decisions).index(name)] >> k & 1]
    smallest = cost(goal, np.zeros_like(row))
    if smallest > goal.limit:
        with pytest.raises(BudgetError):
            thin(space, [goal], strengths, row)
        return

    def arch_of(edges):
        return space.arch({n: [o for k, o in enumerate(space.options(n)) if (n, k) in edges] for n in space.decisions})

    while cost(goal, space.indices(arch_of(left))) > goal.limit:
        least = min(strengths[name][k] for name, k in left)
        left.remove([(name, k) for name, k in left if strengths[name][k] == least][-1])
    assert space.from_indices(thin(space, [goal], strengths, row)) == arch_of(left)


@pytest.mark.parametrize("name", ["macs", "params"])
def test_costs_never_rise_when_an_edge_goes(name):
    rng = np.random.default_rng(0)
    price = cost_of(name, CONFIG, SHAPE, 4)
    rows = np.array([[rng.integers(0, 8) for _ in range(4)] for _ in range(1000)])
    fewer = rows & ~(1 << rng.integers(0, 3, size=rows.shape))
    assert (price.exact(fewer) <= price.exact(rows)).all()


def test_of_equally_strong_edges_the_last_go_first():
    space = CONFIG.space
    (goal,) = goals("params<=100")  # five readings of 20
    even = {name: np.ones(3) for name in space.decisions}
    row = thin(space, [goal], even, np.full(4, 7))
    assert row.tolist() == [0b111, 0b011, 0, 0]


def test_random_rivals_use_the_budget_and_keep_other_decisions_legal():
    config = CONFIG
    (goal,) = goals("params<=110")
    rng = np.random.default_rng(0)
    rows = [config.space.indices(sample_feasible(config.space, [goal], rng)) for _ in range(200)]
    assert {cost(goal, row) for row in rows} == {100.0}
    kept = np.array([[[row >> k & 1 for k in range(3)] for row in one] for one in rows]).mean(0)
    assert (abs(kept - 5 / 12) < 4 * (5 / 12 * 7 / 12 / 200) ** 0.5).all(), "every edge is as likely as any other"

    mixed = Space({"op": Choice(("dear", "cheap")), "edges": Subset(("a", "b"))})
    bound = Goal("units", 2.0, float, lambda rows: 5.0 * (rows[:, 0] == 0) + np.bitwise_count(rows[:, 1]))
    found = [mixed.from_indices(random_thin(mixed, [bound], rng)) for _ in range(20)]
    assert set(found) == {mixed.arch({"op": "cheap", "edges": ("a", "b")})}


def test_what_a_space_of_subsets_can_cost():
    (row,) = feasible(CONFIG, goals("params<=100"))
    assert (row.smallest, row.reference, row.largest) == (0.0, None, 240.0)
    config, rng = DSO(channels=4, blocks=(1, 1), levels=2), np.random.default_rng(0)
    (row,) = feasible(config, goals("macs<=0.5x", config, (3, 8, 8)))
    exact = cost_of("macs", config, (3, 8, 8), 4).exact
    seen = exact(np.stack([config.space.indices(config.space.sample(rng)) for _ in range(100)]))
    assert row.smallest < seen.min() and seen.max() <= row.largest == row.reference
    with pytest.raises(BudgetError, match="the least is"):
        feasible(config, goals("macs<=10", config, (3, 8, 8)))


def test_a_latency_is_fitted_to_subsets_of_all_sizes():
    seen = []

    def milliseconds(net, shape):
        seen.append(len(net.readings))
        return 1.0 + len(net.readings)

    found = fitted_latency(CONFIG, SHAPE, 4, networks=12, milliseconds=milliseconds)
    assert min(seen) == 0 and max(seen) == 12 and len(set(seen)) > 5
    assert found.exact(np.array([[7, 7, 0, 1]])).tolist() == pytest.approx([8.0])


class Strong:
    """A strategy that keeps all of what it found strong."""

    def __init__(self, strengths):
        self.found = {name: torch.tensor(row) for name, row in strengths.items()}

    def derive(self, s, score):
        return s.space.discretise({name: row.numpy() for name, row in self.found.items()})

    def strengths(self, s):
        return self.found


def state(goals=()):
    task = ToyTask()
    torch.manual_seed(0)
    net = CONFIG.supernet(3, task.classes)
    return State(Setup(net, task, CONFIG.space, goals=goals), None, torch.Generator(), None)


def test_what_a_strategy_derives_is_thinned_by_its_strengths():
    bound = goals("params<=60")
    strategy = Strong({"row0": [0.5, 0.0, 0.1], "row1": [0.4, 0.0, 0.0], "row2": [0.0, 0.3, 0.0], "row3": [0.2, 0, 0]})
    arch, corrected = derived(strategy, state(bound), lambda arch: 1.0, bound)
    assert arch == {"row0": ("channel0",), "row1": ("channel0",), "row2": ("channel1",), "row3": ()}
    assert not corrected
    worse, corrected = derived(strategy, state(bound), lambda a: float(a != arch), bound)
    assert corrected and worse != arch and cost(bound[0], CONFIG.space.indices(worse)) <= 60


def test_an_input_cut_from_its_output_is_refused_in_one_line():
    bound = goals("params<=10")
    with pytest.raises(UserError, match="no path from input to output is left: give a smaller `sparsity` or"):
        derived(Strong({f"row{k}": [1.0, 0.0, 0.0] for k in range(4)}), state(bound), lambda arch: 1.0, bound)
    net = state().net
    refuse_cut(net, CONFIG.space.arch({"row0": ("channel0",), "row1": (), "row2": (), "row3": ()}))
    whole = DSO(channels=4, blocks=(1,), levels=1)
    refuse_cut(whole.supernet(3, 4), whole.space.arch(dict.fromkeys(whole.space.decisions, ())))
