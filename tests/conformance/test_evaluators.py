"""What every evaluator has to keep: outcomes that repeat, in the stated units, at the asked number of epochs."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.table import Table
from renascent.bench.tabular import Tabular
from renascent.loops.fit import Fit
from renascent.loops.trained import Trained
from renascent.loops.trials import RealTime, Simulated, trials
from renascent.nets.toy import ToySpace
from renascent.strategies.trials.protocol import Outcome, Proposal
from renascent.strategies.trials.random import RandomSearch
from renascent.tasks.toy import ToyTask

SPACE = ToySpace().space


def tabular():
    archs = np.array(list(np.ndindex(*SPACE.counts)))
    rng = np.random.default_rng(0)
    columns = {
        Column("val_accuracy", "toy", 2, seeds=(0, 1), at=(1, 2)): 100 * rng.random((len(archs), 2, 2)),
        Column("seconds_per_epoch", "toy"): 1 + rng.random(len(archs)),
    }
    problem = Problem("toy", "val_accuracy:toy:2", "seconds_per_epoch:toy", "val_accuracy:toy:2")
    return Tabular(Table.of("toy", SPACE, archs, columns, [problem]), "toy")


EVALUATORS = {
    "tabular": tabular,
    "trained": lambda: Trained(ToySpace(), ToyTask(count_each=16), Fit(epochs=2, batch=16)),
}

every = pytest.mark.parametrize("evaluate", [pytest.param(make(), id=name) for name, make in EVALUATORS.items()])


@every
def test_outcomes_repeat_and_have_their_units(evaluate):
    for picks in ((0, 0, 0, 0), (1, 0, 1, 0)):
        first, again = (evaluate(Proposal(picks), 5) for _ in range(2))
        assert isinstance(first, Outcome)
        assert first.score == again.score
        assert first.metrics == again.metrics
        assert 0 <= first.score <= 100
        assert 0 <= first.seconds < math.inf
        assert first.feasible


@every
def test_the_seed_makes_another_training(evaluate):
    scores = {evaluate(Proposal((0, 0, 0, 0), epochs=1), seed).score for seed in range(4)}
    assert len(scores) > 1


@every
def test_both_clocks_take_it(evaluate):
    done = list(trials(RandomSearch(), SPACE, Simulated(evaluate), count=2))
    with ThreadPoolExecutor(1) as pool:
        real = list(trials(RandomSearch(), SPACE, RealTime(evaluate, pool, 1), count=2))
    assert [t.proposal for t in done] == [t.proposal for t in real]
    assert [t.outcome.score for t in done] == [t.outcome.score for t in real]
    assert done[-1].ended == pytest.approx(sum(t.outcome.seconds for t in done))
