"""Optuna's samplers as strategies, and tables as its objectives."""

import numpy as np
import pytest

from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.table import Table
from renascent.bench.tabular import Constraint
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.errors import UserError
from renascent.core.space import Choice, Integer, Real, Space
from renascent.loops.trials import Simulated, trials
from renascent.strategies.trials.protocol import Outcome

optuna = pytest.importorskip("optuna", reason="the extra renascent[optuna] is not installed")

from renascent.bench.optuna import OptunaSampler, objective, suggest  # noqa: E402

SPACE = Space({"op": Choice(("a", "b", "c")), "w": Integer((8, 16, 32))})


def evaluate(proposal, seed):
    return Outcome(-float((proposal.picks[0] - 1) ** 2 + (proposal.picks[1] - 2) ** 2), 1.0)


def run(name, workers=1, count=25, seed=0):
    return list(trials(OptunaSampler(sampler=name), SPACE, Simulated(evaluate, workers), count=count, seed=seed))


@pytest.mark.parametrize("name", ["TPESampler", "RandomSampler", "NSGAIISampler"])
def test_any_sampler_proposes_and_repeats(name):
    found = run(name)
    assert all(0 <= pick < 3 for t in found for pick in t.proposal.picks)
    assert len({t.proposal.picks for t in found}) > 3
    assert run(name) == found


def test_a_model_finds_the_best():
    assert max(run("TPESampler", count=40), key=lambda t: t.outcome.score).proposal.picks == (1, 2)


def test_trials_under_way_are_known_to_it():
    assert len(run("TPESampler", workers=4)) == 25


def test_asking_changes_nothing():
    strategy = OptunaSampler()
    state = strategy.init(SPACE)
    for number in range(15):
        asked = [strategy.ask(state, np.random.default_rng(number), []) for _ in range(2)]
        assert asked[0] == asked[1]
        state = strategy.tell(state, asked[0], evaluate(asked[0], 0) if number % 4 else Outcome(-np.inf, 1.0))
    assert len(state.trials) == 15
    assert sum(score is None for _, score in state.trials) == 4


def test_samplers_that_cannot_be_had():
    with pytest.raises(UserError, match="did you mean 'TPESampler'"):
        OptunaSampler(sampler="TPSampler").init(SPACE)
    with pytest.raises(UserError, match="cannot be made of a seed alone"):
        OptunaSampler(sampler="GridSampler").init(SPACE)


# --- the other way


def table():
    space = topology_space(2, ("none", "skip", "conv"))
    columns = {
        Column("val_accuracy", "d", 3, at=(1, 2, 3)): np.array([[1.0, 2, 3], [10, 20, 30], [5, 6, 7]]),
        Column("seconds_per_epoch", "d"): np.array([1.0, 2.0, 3.0]),
    }
    problem = Problem("d", "val_accuracy:d:3", "seconds_per_epoch:d", "val_accuracy:d:3")
    return Table.of("t", space, [[0], [1], [2]], columns, [problem])


def study(**settings):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0), **settings)


def test_a_table_as_an_objective():
    found = study()
    found.optimize(objective(table(), "d"), n_trials=20)
    assert found.best_value == 30
    assert found.best_trial.user_attrs == {"arch": "|skip~0|", "seconds": 6.0}
    assert found.best_trial.intermediate_values == {1: 10, 2: 20, 3: 30}


def test_pruners_see_every_epoch():
    found = study(pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=0))
    found.optimize(objective(table(), "d"), n_trials=30)
    pruned = [t for t in found.trials if t.state == optuna.trial.TrialState.PRUNED]
    assert pruned
    assert all(t.user_attrs["seconds"] < 9 for t in pruned)


def test_constraints_prune():
    found = study()
    found.optimize(objective(table(), "d", [Constraint.parse("seconds_per_epoch<=1")]), n_trials=20)
    assert {t.user_attrs["arch"] for t in found.trials if t.value is not None} == {"|none~0|"}


def test_suggestions_follow_conditions():
    space = Space(
        {"depth": Integer((1, 2, 3)), "op": Choice(("x", "y"), when=("depth", (2, 3))), "w": Integer((1, 2, 5))}
    )
    seen = set()

    def judge(trial):
        arch = suggest(trial, space)
        assert ("op" in trial.params) == (arch["depth"] > 1)
        seen.add(arch)
        return 0.0

    study().optimize(judge, n_trials=60)
    assert seen == set(space)
    with pytest.raises(UserError, match="cannot be suggested"):
        suggest(optuna.trial.FixedTrial({}), Space({"lr": Real(0.0, 1.0)}))
