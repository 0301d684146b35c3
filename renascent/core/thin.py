"""Which edges to keep inside a budget: the weakest go first, and no more than have to."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renascent.core.decisions import Value
from renascent.core.errors import BudgetError, UserError
from renascent.core.knapsack import Indices
from renascent.core.protocols import Goal, Supernet
from renascent.core.space import Arch, Space, Subset
from renascent.core.within import cheapest, none_inside


def has_subsets(space: Space) -> bool:
    """Return whether any decision keeps any of its options."""
    return any(isinstance(decision, Subset) for decision in space.decisions.values())


def usage(goals: Sequence[Goal], row: Indices) -> float:
    """Return how much of the tightest bound option indices (decisions,) take: inside the budget up to 1."""
    return max(float(goal.exact(row[None])[0]) / goal.limit for goal in goals)


def thin(space: Space, goals: Sequence[Goal], strengths: Mapping[str, ArrayLike], row: Indices) -> Indices:
    """Return a row without its weakest edges, the fewest whose removal keeps every goal. An edge: a Subset's option.

    Counted costs never rise when an edge goes, so that the number to remove is found by bisection. Of equally strong
    ones the later decision's go first, then later options. Decisions of other kinds stay as they are.

    strengths: (options,) of each Subset.  row: option indices (decisions,).
    Raises BudgetError when the row is outside the budget without any edge.
    """
    places = {name: k for k, name in enumerate(space.decisions) if isinstance(space.decisions[name], Subset)}
    kept = [
        (float(strength), -place, -k)
        for name, place in places.items()
        for k, strength in enumerate(np.asarray(strengths[name]))
        if row[place] >> k & 1
    ]
    order = sorted(kept)

    def without(count: int) -> Indices:
        found = row.copy()
        for _, place, k in order[:count]:
            found[-place] &= ~(1 << -k)
        return found

    count = bisect_left(range(len(order) + 1), True, key=lambda n: usage(goals, without(n)) <= 1)
    if count > len(order):
        raise none_inside(space, goals)
    return space.indices(space.from_indices(without(count)))


def random_thin(
    space: Space,
    goals: Sequence[Goal],
    rng: np.random.Generator,
    chances: Mapping[str, NDArray[np.float64]] | None = None,
) -> Indices:
    """Draw a row inside the budget that uses most of it: of all edges, in a random order, as few go as have to.

    Decisions of other kinds are drawn too; they are as in the cheapest row where nothing is inside with these.
    chances: of each option, (options,), by which the order and these are drawn; all alike unless given.
    Raises BudgetError when nothing is inside the budget.
    """
    strengths = {}
    for name, decision in space.decisions.items():
        chance = np.clip(chances[name] if chances else np.full(len(space.options(name)), 0.5), 1e-9, 1 - 1e-9)
        # whether to keep an option, and which of them: the logistic trick, and the Gumbel-max trick
        several = isinstance(decision, Subset)
        noise = rng.logistic(size=len(chance)) - np.log1p(-chance) if several else rng.gumbel(size=len(chance))
        strengths[name] = np.log(chance) + noise
    try:
        return thin(space, goals, strengths, full(space, space.indices(space.discretise(strengths))))
    except BudgetError:
        return thin(space, goals, strengths, full(space, cheapest(space, goals)))


def full(space: Space, rows: Indices) -> Indices:
    """Return rows of option indices (..., decisions) with all edges."""
    every = [(1 << len(d.options)) - 1 if isinstance(d, Subset) else -1 for d in space.decisions.values()]
    return np.where(np.array(every) < 0, rows, every)


def refuse_cut(net: Supernet, arch: Arch) -> None:
    """Raise UserError where an architecture's subsets leave no path from input to output of a graph that needs one."""
    decisions = net.space.decisions
    for graph in net.graphs:
        several = [name for name in graph.edges if isinstance(decisions[name], Subset)]
        on = {name: [option in _kept(arch[name]) for option in net.space.options(name)] for name in graph.edges}
        alive = graph.joining(on)
        left = any(a and b for name in graph.edges for a, b in zip(alive[name], on[name], strict=True))
        if several and not (graph.bypassed or left):
            raise UserError(
                "no path from input to output is left: give a smaller `sparsity` or `shrinkage`, or a larger budget"
            )


def _kept(value: Value) -> tuple[Value, ...]:
    return value if isinstance(value, tuple) else (value,)
