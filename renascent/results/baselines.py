"""Random baselines of a search: architectures within the same budget, trained identically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from renascent.core.bounds import LATENCY
from renascent.core.errors import BudgetError, UserError
from renascent.core.nested import magnitude_rows
from renascent.core.protocols import Goal, Priced, SpaceConfig
from renascent.core.space import Arch, Space
from renascent.core.thin import has_subsets, random_thin
from renascent.core.within import largest, nearest, none_inside, uniform
from renascent.costs.budget import Budget, tightened
from renascent.costs.latency.fitted import restored
from renascent.costs.latency.sources import read_latency
from renascent.costs.scaling import is_size_space
from renascent.results.budgeted import TABLE_FILE, stored_latency
from renascent.results.facts import Cost, Scaled
from renascent.results.uniform import beside_uniform, costed

if TYPE_CHECKING:
    from renascent.results.record import Record

TRIES = 20
"""Draws for each baseline that is wanted, at most: a small space, or a tight budget, has few."""

UNIFORM = "uniform"
"""The strategy that scales; its own result is told beside no other way of scaling unless that is asked for."""


@dataclass(frozen=True)
class Baselines:
    """Random baselines. budget: all are inside it and use most of it; None if the search had none."""

    space: SpaceConfig
    archs: Sequence[Arch]
    goals: tuple[Goal, ...] = ()
    budget: str | None = None

    @classmethod
    def of(cls, result: Record, seed: int, count: int) -> Baselines:
        """Draw `count` baselines for a result, the same for the same seed, all different from it and from one another.

        Fewer where no more are found.  Raises UserError when its folder does not hold what its budget was measured by.
        """
        space, rng = result.space, np.random.default_rng([seed, 1])
        goals = goals_of(result) if count else ()
        found = dict.fromkeys([result.arch])
        for _ in range(TRIES * count):
            if len(found) == count + 1:
                break
            found[sample_feasible(space.space, goals, rng) if goals else space.space.sample(rng)] = None
        return cls(space, list(found)[1:], goals, result.asked.budget if goals else None)

    def costs(self, arch: Arch) -> dict[str, float]:
        """Return the bounded costs of an architecture; nothing without a budget."""
        row = self.space.space.indices(arch)[None]
        return {goal.name: float(goal.exact(row)[0]) for goal in self.goals}


def goals_of(result: Record) -> tuple[Goal, ...]:
    """Return the budget of a finished search, its latency as predicted; nothing where it had none.

    Its latency limit is that of `as_measured`.
    Raises UserError when the folder lacks what predicted a bounded latency.
    """
    text = result.asked.budget
    if text is None:
        return ()
    budget = Budget.parse(text)
    shape, classes = (result.about.channels, *result.about.size), result.about.classes
    latency: Priced | None = None
    table, stored = result.folder / TABLE_FILE, stored_latency(result.folder) if budget.timed else None
    if stored:
        latency = restored(result.space, shape, classes, stored)
    elif budget.timed and table.exists():
        latency = read_latency(table, result.space, shape, classes)
    elif budget.timed:
        raise UserError(
            f"{result.folder} does not hold what its budget {text} was measured by, so nothing inside it can be "
            "compared with: leave random_cells and uniform out"
        )
    goals = budget.goals(result.space, shape, classes, latency, stored.reference_ms if stored else None)
    return as_measured(goals, result.about.costs)


def as_measured(goals: tuple[Goal, ...], costs: Mapping[str, Cost]) -> tuple[Goal, ...]:
    """Return a budget for the baselines of a result: its predicted latency limit times what its prediction was off by.

    costs: of the result. The search moved that limit until the measured latency was feasible: they get the same one.
    """
    recorded = costs.get(LATENCY)
    return tightened(goals, LATENCY, recorded.promised / recorded.measured) if recorded and recorded.measured else goals


def uniform_of(result: Record) -> Scaled | None:
    """Return the uniformly scaled network that a result is compared with; None where it is the result.

    Raises UserError where there is none: without a budget, in a space that is not one of sizes, where none is inside.
    """
    about, text = result.about, result.asked.budget
    if not is_size_space(result.space) or text is None:
        what = "has no budget" if text is None else f"is of {about.space}, which has no sizes to scale"
        raise UserError(f"the search in {result.folder} {what}, so no uniformly scaled network: leave uniform out")
    shape = about.channels, *about.size
    found = about.uniform or beside_uniform(result.space, goals_of(result), shape, about.classes)
    if found is None:
        raise UserError(f"no uniformly scaled network keeps {text}: leave uniform out")
    return found if found.arch != about.arch else None


def pruned_of(result: Record) -> Scaled | None:
    """Return the user's own model pruned by magnitude to a result's budget; None where it is the result.

    Raises UserError where there is none: of another space, without a budget, where no such network is inside.
    """
    space, about, text = result.space, result.about, result.asked.budget
    if space.given is None or space.reference is None or text is None:
        what = "has no budget" if text is None else f"is of {about.space}, whose trained weights it does not hold"
        raise UserError(f"the search in {result.folder} {what}, so nothing to prune by magnitude: leave magnitude out")
    goals, shape = goals_of(result), (about.channels, *about.size)
    channels = space.ranked(None, about.channels, about.classes).strengths
    try:
        arch = largest(space.space, goals, magnitude_rows(space.space, space.reference, channels))
    except BudgetError:
        raise UserError(f"no network pruned by magnitude keeps {text}: leave magnitude out") from None
    return costed(space, arch, None, goals, shape, about.classes) if arch != result.arch else None


def sample_feasible(space: Space, goals: Sequence[Goal], rng: np.random.Generator) -> Arch:
    """Sample an architecture uniformly and repair it, by as few options as possible, to be feasible.

    Of subsets, take all edges but as few as have to go, in a random order.

    It uses most of the tightest bound, where that is possible, as the result of a search does. Raises BudgetError when
    none is inside.

    >>> from renascent.core.space import Integer
    >>> space = Space({"a": Integer((1, 2, 3)), "b": Integer((1, 2, 3))})
    >>> goal = Goal("macs", 4.0, lambda gates: gates, lambda rows: ((rows + 1) ** 2).sum(1) / 2.0)
    >>> sample_feasible(space, [goal], np.random.default_rng(0))
    Arch({'a': 2, 'b': 2})
    """
    if has_subsets(space):
        return space.from_indices(random_thin(space, goals, rng))
    row = nearest(space, goals, uniform(space, rng, 1)[0])
    if any(float(goal.exact(row[None])[0]) > goal.limit for goal in goals):
        raise none_inside(space, goals)
    return space.from_indices(row)
