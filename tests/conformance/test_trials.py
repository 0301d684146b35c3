"""What every multi-trial strategy in the name table has to keep, before any test of its own."""

import dataclasses

import pytest

from renascent.strategies.trials import MULTITRIAL
from renascent.testing import trials
from renascent.testing.claims import is_documented, is_frozen, survives_json

every = pytest.mark.parametrize("name", MULTITRIAL)


@every
def test_proposals_are_of_the_space(name):
    trials.proposes_of_the_space(MULTITRIAL[name]())


@every
def test_asking_changes_nothing(name):
    trials.asks_without_a_change(MULTITRIAL[name]())


@every
def test_the_same_seed_repeats_and_another_does_not(name):
    trials.repeats(MULTITRIAL[name]())


@pytest.mark.parametrize("name", [name for name in MULTITRIAL if name != "random"])
def test_not_below_random_search(name):
    settings = {"min_epochs": 12} if name == "bohb" else {}
    trials.beats_random_search(dataclasses.replace(MULTITRIAL[name](), **settings))


@every
def test_a_failed_trial_is_survived(name):
    trials.survives_failures(MULTITRIAL[name]())


@every
def test_hyperparameters_are_frozen_and_survive_json(name):
    is_frozen(MULTITRIAL[name]())
    survives_json(MULTITRIAL[name]())


@every
def test_the_docstring_names_its_paper(name):
    is_documented(MULTITRIAL[name])


@every
def test_a_space_that_trials_cannot_search(name):
    trials.refuses_what_it_cannot_search(MULTITRIAL[name]())
