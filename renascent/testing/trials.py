"""What every strategy that asks and tells has to keep."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np

from renascent.core.errors import UserError
from renascent.core.space import Choice, Integer, Real, Space
from renascent.loops.trials import Simulated, Trial, trials
from renascent.strategies.trials.protocol import Outcome, Proposal, Trials
from renascent.strategies.trials.random import RandomSearch
from renascent.testing.claims import claim, is_documented, is_frozen, survives_json

SPACE = Space(
    {"one": Choice(("only",)), "w": Integer((8, 16, 32, 64)), **{f"d{k}": Choice(tuple("vwxyz")) for k in range(4)}}
)

BEST = (0, 2, 3, 1, 4, 0)
"""The hidden best of 2,500 architectures."""

UNSEARCHABLE = (
    Space({"lr": Real(0.0, 1.0)}),
    Space({"a": Choice(("x", "y")), "b": Choice(("p", "q"), when=("a", ("x",)))}),
)
"""Spaces that trials cannot search."""


def check(strategy: Trials[Any], *, better: bool = True) -> None:
    """Check all of it. better: whether it has to be above random search."""
    missing = [name for name in ("init", "ask", "tell") if not hasattr(strategy, name)]
    claim(not missing, f"{type(strategy).__name__} is no strategy: it lacks {', '.join(missing)}")
    is_frozen(strategy)
    survives_json(strategy)
    is_documented(type(strategy))
    proposes_of_the_space(strategy)
    asks_without_a_change(strategy)
    repeats(strategy)
    survives_failures(strategy)
    refuses_what_it_cannot_search(strategy)
    if better:
        beats_random_search(strategy)


def planted(proposal: Proposal, seed: int) -> Outcome:
    """Score how many decisions are those of the hidden best, with a little noise; one second an epoch."""
    right = sum(pick == best for pick, best in zip(proposal.picks, BEST, strict=True))
    return Outcome(right + 0.3 * float(np.random.default_rng(seed).standard_normal()), float(proposal.epochs or 12))


def run(strategy: Trials[Any], count: int, seed: int = 0, workers: int = 1) -> list[Trial]:
    """Return so many trials."""
    return list(trials(strategy, SPACE, Simulated(planted, workers), count=count, seed=seed))


def proposes_of_the_space(strategy: Trials[Any]) -> None:
    """Check that proposals are of the space, and plain values."""
    for trial in run(strategy, 40, workers=3):
        picks = zip(trial.proposal.picks, SPACE.counts, strict=True)
        fits = all(type(pick) is int and 0 <= pick < count for pick, count in picks)
        claim(fits, f"{trial.proposal.picks} are no option indices of the space, plain numbers below {SPACE.counts}")
        json.dumps(trial.proposal)


def asks_without_a_change(strategy: Trials[Any]) -> None:
    """Check that asking changes nothing, and telling gives a new state and leaves the old one."""
    state = strategy.init(SPACE)
    for number in range(30):
        before = copy.deepcopy(state)
        one, two = (strategy.ask(state, np.random.default_rng(number), []) for _ in range(2))
        claim(one == two, "asked twice with the same random numbers, it proposes two things")
        claim(repr(before) == repr(state), "asking changes the state")
        after = strategy.tell(state, one, planted(one, number))
        claim(repr(before) == repr(state), "telling changes the state that it is told to: return a new one")
        state = after


def repeats(strategy: Trials[Any]) -> None:
    """Check that the same seed repeats a search, and another does not."""
    first = run(strategy, 25, seed=4)
    claim(first == run(strategy, 25, seed=4), "the same seed makes another search: draw from `rng` alone")
    claim(first != run(strategy, 25, seed=5), "another seed makes the same search")


def beats_random_search(strategy: Trials[Any], *, runs: int = 40, count: int = 200) -> None:
    """Check that `runs` of `count` full trainings, paired by seed, are above random search."""

    def best(each: Trials[Any]) -> Any:
        return np.array([max(planted(t.proposal, 0).score for t in run(each, count, seed)) for seed in range(runs)])

    gap = best(strategy) - best(RandomSearch())
    mean, error = gap.mean(), gap.std() / math.sqrt(len(gap))
    claim(mean > 2 * error, f"its best is {mean:.3f} +- {error:.3f} above random search's: no more than chance")


def survives_failures(strategy: Trials[Any]) -> None:
    """Check that it goes on after trials that fail, two of three."""
    state = strategy.init(SPACE)
    for number in range(40):
        proposal = strategy.ask(state, np.random.default_rng(number), [])
        failed = Outcome(-math.inf, 1.0) if number % 3 else planted(proposal, number)
        state = strategy.tell(state, proposal, failed)
    claim(strategy.ask(state, np.random.default_rng(0), []).picks, "after trials that failed it proposes nothing")


def refuses_what_it_cannot_search(strategy: Trials[Any]) -> None:
    """Check that it refuses real numbers and conditions in one line, as `option_counts` does."""
    for space in UNSEARCHABLE:
        try:
            strategy.init(space)
        except UserError as e:
            claim("cannot be searched by trials" in str(e), f"it refuses {space.decisions} by another line: {e}")
            continue
        raise AssertionError(f"it takes {space.decisions}: begin `init` with option_counts(space), which refuses them")
