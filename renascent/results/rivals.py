"""Random architectures that what a search found is compared with: inside the budget that it keeps, if it has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from renascent.core.errors import UserError
from renascent.core.files import Json, read_json
from renascent.core.knapsack import Bounded, nearness, none_inside
from renascent.core.protocols import Goal, Priced, SpaceConfig
from renascent.core.space import Arch, Space
from renascent.costs.budget import LATENCY, Budget, tightened
from renascent.costs.latency.cost import LatencyCost
from renascent.costs.latency.fitted import restored
from renascent.costs.latency.table import Lut
from renascent.results.budgeted import LATENCY_FILE, TABLE_FILE

if TYPE_CHECKING:
    from renascent.results.record import Record


@dataclass(frozen=True)
class Rivals:
    """Random architectures. budget: they are all inside it, and use most of it; None: they may cost what they will."""

    space: SpaceConfig
    archs: Sequence[Arch]
    goals: tuple[Goal, ...] = ()
    budget: str | None = None

    @classmethod
    def of(cls, result: Record, seed: int, count: int) -> Rivals:
        """Draw `count` architectures that compete with a result, the same for the same seed.

        Raises UserError when its folder does not hold what its budget was measured by.
        """
        space, rng = result.space, np.random.default_rng([seed, 1])
        goals = goals_of(result) if count else ()
        if not goals:
            return cls(space, [space.space.sample(rng) for _ in range(count)])
        archs = [random_within(space.space, goals, rng) for _ in range(count)]
        return cls(space, archs, goals, result.config["budget"])

    def costs(self, arch: Arch) -> Json:
        """Return what an architecture costs, of what is bounded: nothing without a budget."""
        row = self.space.space.indices(arch)[None]
        return {"costs": {goal.name: float(goal.exact(row)[0]) for goal in self.goals}} if self.goals else {}


def goals_of(result: Record) -> tuple[Goal, ...]:
    """Return the budget of a finished search, its latency as predicted; nothing where it had none.

    Where the prediction was off by a factor for what was found, its bound is moved by that.
    Raises UserError when the folder lacks what predicted a bounded latency.
    """
    text = result.config.get("budget")
    if text is None:
        return ()
    budget = Budget.parse(text)
    height, width = result.facts["size"]
    shape, classes = (result.facts["channels"], height, width), result.facts["classes"]
    latency: Priced | None = None
    fitted, table = result.folder / LATENCY_FILE, result.folder / TABLE_FILE
    held = read_json(fitted) if budget.timed and fitted.exists() else {}
    if held:
        latency = restored(result.space, shape, classes, held)
    elif budget.timed and table.exists():
        latency = LatencyCost(result.space, Lut.load(table), shape, classes)
    elif budget.timed:
        raise UserError(
            f"{result.folder} does not hold what its budget {text} was measured by, so there are no random "
            "architectures inside it: leave random_cells out"
        )
    goals = budget.goals(result.space, shape, classes, latency, held.get("reference_ms"))
    told = result.facts.get("costs", {}).get(LATENCY, {})
    # the search let its promises move until what was measured fitted: what competes with it may have as much
    return tightened(goals, LATENCY, told["promised"] / told["measured"]) if told.get("measured") else goals


def random_within(space: Space, goals: Sequence[Goal], rng: np.random.Generator) -> Arch:
    """Return an architecture drawn by even chances and moved, by as few options as can be, to inside the budget.

    It uses most of the tightest bound, where that can be, as what a search returns does. Raises BudgetError when none
    is inside.

    >>> from renascent.core.space import Integer
    >>> space = Space({"a": Integer((1, 2, 3)), "b": Integer((1, 2, 3))})
    >>> goal = Goal("macs", 4.0, lambda gates: gates, lambda rows: ((rows + 1) ** 2).sum(1) / 2.0)
    >>> random_within(space, [goal], np.random.default_rng(0))
    Arch({'a': 2, 'b': 2})
    """
    drawn = rng.integers(space.counts)
    bounded = Bounded(goals, nearness(space, drawn))
    row = bounded.best(drawn)
    if float(bounded.usage(row[None])[0]) > 1:
        raise none_inside(space, goals)
    return space.from_indices(row)
