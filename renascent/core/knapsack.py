"""The best choice inside bounds that add up, exactly: a multiple-choice knapsack."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from renascent.core.protocols import Goal
from renascent.core.rules import Group

EXACT = {"mip_rel_gap": 0.0}
"""The solver's own is a ten-thousandth."""

Indices = NDArray[np.int64]


def knapsack(
    values: NDArray[np.float64], goals: Sequence[Goal], filled: float = 0.0, groups: Sequence[Group] = ()
) -> Indices | None:
    """Return the option of each decision of the largest total value inside the budget, exactly; None if there is none.

    A multiple-choice knapsack by mixed-integer programming. values: (decisions, options), -inf where there is none.
    filled: share of the tightest bound that is to be used; where that cannot be, less is.
    groups: the rules of the space.

    >>> from renascent.core.protocols import Goal
    >>> terms = (0.0, np.array([[1.0, 5.0], [1.0, 5.0]]))
    >>> goal = Goal("macs", 6.0, lambda gates: gates, lambda rows: rows, terms)
    >>> knapsack(np.array([[0.0, 1.0], [0.0, 3.0]]), [goal]).tolist()
    [0, 1]
    """
    problem = Knapsack(values, goals, groups)
    # using most of one bound is enough: the others may leave room
    rows = [problem.solved(values, {k: filled}) for k in range(len(goals))] if filled else []
    if all(row is None for row in rows):
        rows = [problem.solved(values)]
    found = [row for row in rows if row is not None]
    return max(found, key=lambda row: float(values[np.arange(len(values)), row].sum())) if found else None


class Knapsack:
    """One option of each decision, by the rules, within bounds that are sums of terms, in units of their limits."""

    def __init__(self, values: NDArray[np.float64], goals: Sequence[Goal], groups: Sequence[Group] = ()) -> None:
        self.there = np.isfinite(values)
        self.terms = terms = [(goal.limit, *goal.terms) for goal in goals if goal.terms is not None]
        self.base = np.array([base / limit for limit, base, _ in terms])
        self.spent = np.array([table[self.there] / limit for limit, _, table in terms])
        wanted = self.there[:, None, :] * np.eye(len(values))[:, :, None]
        counts = [1] * len(values)
        for group in groups:  # so many of its decisions have `none`
            nones = np.zeros((1, *values.shape))
            nones[0, group.places, group.none] = 1
            wanted, counts = np.concatenate([wanted, nones]), [*counts, len(group.places) - group.count]
        self.one = LinearConstraint(wanted.reshape(len(counts), -1)[:, self.there.ravel()], counts, counts)

    def solved(self, values: NDArray[np.float64], least: Mapping[int, float] | None = None) -> Indices | None:
        """Return the row of the largest value inside all bounds that uses at least `least` of some; None if none is."""
        low = np.array([(least or {}).get(k, -np.inf) - base for k, base in enumerate(self.base)])
        rules = [self.one, LinearConstraint(self.spent, low, 1 - self.base)]
        while True:
            best = milp(-values[self.there], constraints=rules, integrality=1, bounds=Bounds(0, 1), options=EXACT)
            if not best.success:
                return None
            found = np.round(best.x)
            if self.inside(found):
                return self._row(found)
            # a choice that exceeds a bound by less than the solver's tolerance is excluded by hand
            rules.append(LinearConstraint(found, -np.inf, len(values) - 1))

    def inside(self, chosen: NDArray[np.float64]) -> bool:
        """Return whether a choice is inside all bounds, in their own units: whole numbers then add up exactly."""
        return all(base + float(table[self.there] @ chosen) <= limit for limit, base, table in self.terms)

    def least(self) -> Indices:
        """Return the row that takes the least of the tightest bound."""
        # one more unknown, at the end: what the tightest bound takes
        last = np.append(np.zeros(self.spent.shape[1]), 1.0)
        one = LinearConstraint(np.pad(self.one.A, ((0, 0), (0, 1))), self.one.lb, self.one.ub)
        rules = [one, LinearConstraint(np.pad(self.spent, ((0, 0), (0, 1))) - last, -np.inf, -self.base)]
        bounds = Bounds(0, np.where(last, np.inf, 1))
        found = milp(last, constraints=rules, integrality=1 - last, bounds=bounds, options=EXACT)
        return self._row(np.round(found.x[:-1]))

    def _row(self, chosen: NDArray[np.float64]) -> Indices:
        full = np.zeros(self.there.shape)
        full[self.there] = chosen
        return np.asarray(full.argmax(1))
