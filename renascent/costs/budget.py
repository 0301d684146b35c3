"""Budgets: hard bounds on what an architecture costs, such as macs<=0.5x, latency_ms<=8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renascent.core.bounds import LATENCY, Bound, read_budget
from renascent.core.errors import BudgetError, UserError
from renascent.core.protocols import Goal, Priced, SpaceConfig
from renascent.core.space import Arch
from renascent.core.text import aligned, number
from renascent.core.thin import full, has_subsets
from renascent.core.within import Bounded, cheapest
from renascent.costs.counts import Additive, cost_of


class Feasible(NamedTuple):
    """What a space can cost: of its cheapest, its reference (None: it has none) and its dearest architecture."""

    name: str
    limit: float
    smallest: float
    reference: float | None
    largest: float


def keeps_already(rows: Sequence[Feasible]) -> bool:
    """Return whether the reference is inside every bound, of which there is one at least.

    >>> [keeps_already([Feasible("macs", limit, 1.0, 10.0, 20.0)]) for limit in (10.0, 9.0)]
    [True, False]
    """
    return bool(rows) and all(row.reference is not None and row.reference <= row.limit for row in rows)


@dataclass(frozen=True)
class Budget:
    """Bounds that what a search finds has to keep, all of them.

    >>> str(Budget.parse("macs<=0.5x,params<=2M"))
    'macs<=0.5x,params<=2000000'
    """

    bounds: tuple[Bound, ...]

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read bounds with commas between them. Raises UserError for what cannot be read, and a cost given twice."""
        return cls(read_budget(text))

    def __str__(self) -> str:
        return ",".join(map(str, self.bounds))

    @property
    def timed(self) -> bool:
        """Whether latency is bounded."""
        return any(bound.name == LATENCY for bound in self.bounds)

    def goals(
        self,
        config: SpaceConfig,
        shape: tuple[int, int, int],
        classes: int,
        latency: Priced | None = None,
        reference_ms: float | None = None,
    ) -> tuple[Goal, ...]:
        """Return the bounds as strategies read them.

        shape: (channels, h, w) of the data.  latency: predicts latency_ms, where that is bounded.
        reference_ms: measured latency of the reference; what `latency` predicts unless given.
        Raises UserError for a multiple of a reference that the space does not have.
        """
        found = []
        for bound in self.bounds:
            cost = latency if bound.name == LATENCY else cost_of(bound.name, config, shape, classes)
            assert cost is not None, "a bound on latency needs something that predicts it"
            limit = bound.value
            if bound.relative:
                measured = reference_ms if bound.name == LATENCY else None
                whole = measured or _reference(config, cost.exact)
                if whole is None:
                    raise UserError(
                        f"space '{config.space.name}' has no reference network, so {bound} means nothing: give a number"
                    )
                limit *= whole
            terms = (cost.base, cost.table) if isinstance(cost, Additive) and not has_subsets(config.space) else None
            found.append(Goal(bound.name, limit, cost, cost.exact, terms))
        return tuple(found)


def feasible(config: SpaceConfig, goals: Sequence[Goal]) -> list[Feasible]:
    """Return what the space can cost, one row a bound. Raises BudgetError, naming the nearest, when a bound is too low.

    And when all bounds can be kept alone, but not together.
    """
    rows = [_row(config, goal) for goal in goals]
    for row in rows:
        if row.smallest > row.limit:
            raise infeasible(config, row.name, row.limit, row.smallest)
    usage = _tightest(config, goals)
    if usage > 1:
        wanted = ",".join(_least(goal.name, goal.limit * usage * (1 + 1e-12)) for goal in goals)
        raise BudgetError(
            f"no architecture of space '{config.space.name}' keeps all bounds together: the nearest is {wanted}"
        )
    return rows


def infeasible(config: SpaceConfig, name: str, limit: float, least: float) -> BudgetError:
    """Return the error for a bound that is below the least that a space can cost."""
    return BudgetError(
        f"no architecture of space '{config.space.name}' has {name}<={number(limit, short=True)}: "
        f"the least is {_least(name, least)}"
    )


def smallest(config: SpaceConfig, cost: Priced) -> Arch:
    """Return the architecture of a space that costs the least."""
    terms = (cost.base, cost.table) if isinstance(cost, Additive) and not has_subsets(config.space) else None
    goal = Goal("cost", 1.0, cost, cost.exact, terms)
    return config.space.from_indices(cheapest(config.space, [goal]))


def keepable(config: SpaceConfig, goals: Sequence[Goal]) -> bool:
    """Return whether some architecture is inside the budget."""
    return _tightest(config, goals) <= 1


def feasibility_text(rows: Sequence[Feasible]) -> str:
    """Return the table that is shown before a search."""
    body = [(row.name, *map(number, row[1:])) for row in rows]
    return aligned([("budget", *Feasible._fields[1:]), *body], "<>")


def tightened(goals: Sequence[Goal], name: str, ratio: float) -> tuple[Goal, ...]:
    """Return goals with the limit of one of them times `ratio`."""
    return tuple(replace(goal, limit=goal.limit * ratio) if goal.name == name else goal for goal in goals)


def _tightest(config: SpaceConfig, goals: Sequence[Goal]) -> float:
    """Return how much of the tightest bound the cheapest architecture takes."""
    least = cheapest(config.space, goals)
    return float(Bounded(goals, np.zeros((len(least), 1))).usage(least[None])[0])


def _row(config: SpaceConfig, goal: Goal) -> Feasible:
    space = config.space
    negative = replace(goal, limit=1.0, exact=lambda rows: -goal.exact(rows), terms=None)
    # a peak of memory stays where it is until two sizes grow: single changes alone may not find the dearest
    last = space.strongest(np.arange(max(space.counts)) * np.ones((len(space.counts), 1)))
    dear = goal.exact(full(space, np.stack([cheapest(space, [negative]), last])))
    least = float(goal.exact(cheapest(space, [replace(goal, limit=1.0)])[None])[0])
    return Feasible(goal.name, goal.limit, least, _reference(config, goal.exact), float(dear.max()))


def _reference(config: SpaceConfig, exact: Callable[[NDArray[np.integer]], NDArray[np.float64]]) -> float | None:
    return None if config.reference is None else float(exact(config.space.indices(config.reference)[None])[0])


def _least(name: str, value: float) -> str:
    """Write a cost as the bound that allows just it; a latency in plain milliseconds."""
    return f"{name}<={number(value, short=name != LATENCY, up=True)}"
