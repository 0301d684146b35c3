"""Which architecture a search over shared weights ends with: the strategy's own; in a budget the best likely one."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from renascent.core.outside import check_returned
from renascent.core.protocols import Family, Goal, OneShot, Score, State
from renascent.core.space import Arch, Integer, Space
from renascent.core.thin import has_subsets, random_thin, refuse_cut, thin
from renascent.core.within import SAMPLES, largest, nearest, uniform, within

RANDOM = 40
"""Random feasible architectures, at most, whose mean score the derived architecture has to reach."""

UNIFORM, LUCKY = "uniform scaling (filled up to the budget)", "the best of random ones"
"""What takes the place of a choice that scores no better than random architectures."""

DRAWS = 10_000
"""Uniform samples among which feasible architectures are looked for; a smaller space is enumerated."""


def derived(
    strategy: OneShot | Family, state: State[Any], score: Score, goals: Sequence[Goal] = ()
) -> tuple[Arch, str]:
    """Return the architecture that a strategy derives; with `goals`, the best feasible one under its policy.

    Of a family, the largest feasible one. If what a strategy derives scores no better than the mean of random feasible
    architectures, the best of those that use the budget replaces it; if that is below the mean, too, the reference
    scaled uniformly where all decisions are sizes, else the best of all. What replaced it comes second, "" if nothing.

    Raises BudgetError when none is inside.
    """
    if isinstance(strategy, Family):
        return largest(state.space, goals, strategy.family(state.setup)), ""
    if not goals:
        return _found(strategy, state, score), ""
    setup, known = state.setup, functools.cache(score)
    if has_subsets(setup.space):
        return _thinned(strategy, state, known, goals)
    probabilities = {name: p.numpy() for name, p in strategy.probabilities(state).items()}
    others = [setup.start] if setup.start else []
    # a strategy that scores candidates sets their number itself
    samples = int(getattr(strategy, "candidates", SAMPLES))
    best = within(setup.space, probabilities, goals, known, seed=setup.seed, samples=samples, others=others)
    random = _random_feasible(setup.space, goals, setup.seed)
    scores = [known(arch) for arch in random]
    mean, spread = (float(np.mean(scores)), float(np.std(scores))) if scores else (0.0, 0.0)
    # the mean of a few has an error
    if known(best) >= mean + 2 * spread / max(len(scores), 1) ** 0.5:
        return best, ""
    flat = {name: np.full(len(p), 1 / len(p)) for name, p in probabilities.items()}
    full = within(setup.space, flat, goals, known, seed=setup.seed, others=[best, *others])
    if known(full) >= mean:
        return full, LUCKY if full != best else ""
    # small ones score better than all that use the budget: such weights have not learnt to tell them apart
    if setup.start and setup.reference and all(isinstance(d, Integer) for d in setup.space.decisions.values()):
        even = setup.space.from_indices(nearest(setup.space, goals, setup.space.indices(setup.start)))
        return even, UNIFORM if even != best else ""
    last = max([full, *random], key=known)
    return last, LUCKY if last != best else ""


def _found(strategy: OneShot, state: State[Any], score: Score) -> Arch:
    """Return what a strategy derives. Raises UserError where that is no architecture."""
    arch = strategy.derive(state, score)
    check_returned(strategy, "derive", isinstance(arch, Mapping), "an architecture", arch)
    return arch


def _thinned(strategy: OneShot, state: State[Any], score: Score, goals: Sequence[Goal]) -> tuple[Arch, str]:
    """Derive where any options may be kept: what the strategy keeps, without its weakest edges.

    Of a strategy that has no strengths, the best of `candidates` drawn by its chances. Otherwise as `derived`.
    """
    setup, space = state.setup, state.setup.space
    if hasattr(strategy, "strengths"):
        row = space.indices(_found(strategy, state, score))
        found = [thin(space, goals, strategy.strengths(state), row)]
    else:
        chances = {name: p.double().numpy() for name, p in strategy.probabilities(state).items()}
        rng = np.random.default_rng([setup.seed, 7])
        found = [random_thin(space, goals, rng, chances) for _ in range(int(getattr(strategy, "candidates", SAMPLES)))]
    best = max(dict.fromkeys(map(space.from_indices, found)), key=score)
    refuse_cut(setup.net, best)
    rng = np.random.default_rng([setup.seed, 13])
    random = list(dict.fromkeys(space.from_indices(random_thin(space, goals, rng)) for _ in range(RANDOM)))
    scores = [score(arch) for arch in random]
    if score(best) >= np.mean(scores) + 2 * np.std(scores) / len(scores) ** 0.5:
        return best, ""
    last = max([best, *random], key=score)
    return last, LUCKY if last != best else ""


def _random_feasible(space: Space, goals: Sequence[Goal], seed: int) -> list[Arch]:
    """Return different random feasible architectures; few, or none, if uniform samples are hardly ever feasible."""
    counts, rng = space.counts, np.random.default_rng([seed, 13])
    if math.prod(counts) <= DRAWS:
        rows = rng.permutation(np.indices(counts).reshape(len(counts), -1).T)
        rows = rows[space.legal(rows)]
    else:
        rows = uniform(space, rng, DRAWS)
    usage = np.max([goal.exact(rows) / goal.limit for goal in goals], axis=0)
    found = dict.fromkeys(map(space.from_indices, rows[usage <= 1][: 10 * RANDOM]))
    return list(found)[:RANDOM]
