"""What every multi-trial strategy in the name table has to keep, before any test of its own."""

import copy
import dataclasses
import json
import math

import numpy as np
import pytest

from renascent.cli.commands.listing import papers
from renascent.core.errors import UserError
from renascent.core.space import Choice, Integer, Real, Space
from renascent.loops.trials import Simulated, trials
from renascent.strategies.trials import MULTITRIAL
from renascent.strategies.trials.protocol import Outcome
from renascent.strategies.trials.random import RandomSearch

SPACE = Space(
    {"one": Choice(("only",)), "w": Integer((8, 16, 32, 64)), **{f"d{k}": Choice(tuple("vwxyz")) for k in range(4)}}
)

every = pytest.mark.parametrize("name", MULTITRIAL)


def planted(proposal, seed):
    """Score how many decisions are those of a hidden best, with a little noise; one second an epoch."""
    right = sum(pick == best for pick, best in zip(proposal.picks, (0, 2, 3, 1, 4, 0), strict=True))
    return Outcome(right + 0.3 * float(np.random.default_rng(seed).standard_normal()), float(proposal.epochs or 12))


def run(strategy, count, seed=0, workers=1):
    return list(trials(strategy, SPACE, Simulated(planted, workers), count=count, seed=seed))


@every
def test_proposals_are_of_the_space(name):
    for trial in run(MULTITRIAL[name](), 40, workers=3):
        picks = zip(trial.proposal.picks, SPACE.counts, strict=True)
        assert all(type(pick) is int and 0 <= pick < count for pick, count in picks)
        json.dumps(trial.proposal)


@every
def test_asking_changes_nothing(name):
    strategy = MULTITRIAL[name]()
    state = strategy.init(SPACE)
    for number in range(30):
        before = copy.deepcopy(state)
        asked = [strategy.ask(state, np.random.default_rng(number), []) for _ in range(2)]
        assert asked[0] == asked[1]
        assert repr(before) == repr(state)
        after = strategy.tell(state, asked[0], planted(asked[0], number))
        assert repr(before) == repr(state)  # telling gives a new state, and leaves the old one
        state = after


@every
def test_the_same_seed_repeats_and_another_does_not(name):
    strategy = MULTITRIAL[name]()
    assert run(strategy, 25, seed=4) == run(strategy, 25, seed=4)
    assert run(strategy, 25, seed=4) != run(strategy, 25, seed=5)


@pytest.mark.parametrize("name", [name for name in MULTITRIAL if name != "random"])
def test_not_below_random_search(name):
    """Forty runs of 200 full trainings, paired by seed, on a planted best of 2,500 architectures."""

    def best(strategy):
        settings = {"min_epochs": 12} if name == "bohb" and not isinstance(strategy, RandomSearch) else {}
        chosen = dataclasses.replace(strategy, **settings)
        return np.array([max(planted(t.proposal, 0).score for t in run(chosen, 200, seed)) for seed in range(40)])

    gap = best(MULTITRIAL[name]()) - best(RandomSearch())
    assert gap.mean() > 2 * gap.std() / math.sqrt(len(gap))


@every
def test_a_failed_trial_is_survived(name):
    strategy = MULTITRIAL[name]()
    state = strategy.init(SPACE)
    for number in range(40):
        proposal = strategy.ask(state, np.random.default_rng(number), [])
        failed = Outcome(-math.inf, 1.0) if number % 3 else planted(proposal, number)
        state = strategy.tell(state, proposal, failed)
    assert strategy.ask(state, np.random.default_rng(0), []).picks


@every
def test_hyperparameters_survive_json(name):
    strategy = MULTITRIAL[name]()
    assert type(strategy)(**json.loads(json.dumps(dataclasses.asdict(strategy)))) == strategy


@every
def test_the_docstring_names_its_paper(name):
    assert papers(MULTITRIAL.places[name][0])


@every
def test_a_space_that_trials_cannot_search(name):
    for space in (
        Space({"lr": Real(0.0, 1.0)}),
        Space({"a": Choice(("x", "y")), "b": Choice(("p", "q"), when=("a", ("x",)))}),
    ):
        with pytest.raises(UserError, match="cannot be searched by trials"):
            MULTITRIAL[name]().init(space)
