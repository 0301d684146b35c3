"""The best feasible architecture: by the exact knapsack where costs add up, by local search where they multiply."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renascent.core.errors import BudgetError
from renascent.core.knapsack import Indices, Knapsack, knapsack
from renascent.core.protocols import Goal
from renascent.core.rules import Group
from renascent.core.space import Arch, Integer, Space, Subset
from renascent.core.text import number

FILLED = 0.95
"""Share of the tightest bound that a repaired architecture should use: unused budget is lost accuracy."""

SAMPLES = 20
"""Architectures that are sampled from the policy, repaired, and scored."""

SLACK = 0.02
"""Share of a bound by which the cost of two changes may differ from the sum of the cost of each."""

TRIED = 300
"""Changes of two decisions that are priced exactly in one move of the local search."""

CLIMBS = 200
"""Moves of a local search, at most."""

FEW = 30
"""Decisions with which a local search is caught easily, and begins from more sides; of more, it is not worth it."""

LEAST_LOG = -60.0
"""Logarithm that stands for probability zero."""


@dataclass(frozen=True)
class Bounded:
    """A budget over option indices. values: (decisions, options), whose sum is an architecture's worth; -inf: none.

    groups: the rules of the space, which every row keeps to.
    """

    goals: Sequence[Goal]
    values: NDArray[np.float64]
    groups: Sequence[Group] = ()

    @cached_property
    def counts(self) -> Indices:
        """Options of each decision, (decisions,)."""
        return np.asarray(np.isfinite(self.values).sum(1))

    @cached_property
    def together(self) -> Indices:
        """The first decision that each is bound to by a rule, (decisions,): itself without one."""
        found = np.arange(len(self.values))
        for group in self.groups:
            found[group.places] = group.places.min()
        return found

    def shares(self, rows: Indices) -> NDArray[np.float64]:
        """Return how much of each bound each row (n, decisions) takes, (goals, n)."""
        return np.stack([goal.exact(rows) / goal.limit for goal in self.goals])

    def usage(self, rows: Indices) -> NDArray[np.float64]:
        """Return how much of the tightest bound each row (n, decisions) takes: inside the budget up to 1."""
        return np.asarray(self.shares(rows).max(0))

    def worth(self, rows: Indices) -> NDArray[np.float64]:
        """Return the worth (n,) of rows (n, decisions)."""
        return np.asarray(self.values[np.arange(len(self.values)), rows].sum(1))

    def best(self, start: Indices, *more: Indices) -> Indices:
        """Return the worthiest row inside the budget, and using most of it; the cheapest there is if none is inside.

        Exactly, where all costs add up; else by local search from `start`, and from `more` too.
        """
        if all(goal.terms is not None for goal in self.goals):
            exact = knapsack(self.values, self.goals, FILLED, self.groups)
            if exact is not None:
                return exact
        rows = np.stack([self._climbed(self._moved_in(row)) for row in (start, *more)])
        return np.asarray(rows[self._order(rows)[-1]])

    def _order(self, rows: Indices) -> Indices:
        """Return the places of rows, the best last: inside the budget, then using most of it, then of most worth."""
        # a product with a matrix differs in the last digits from one number of rows to another
        usage, worth = np.round(self.usage(rows), 9), np.round(self.worth(rows), 9)
        return np.lexsort((worth, np.minimum(usage, FILLED), -np.maximum(usage, 1)))

    def _moved_in(self, row: Indices) -> Indices:
        """Repair greedily, each time by the change with the best cost-to-value ratio.

        Decrease options until the row is feasible, then increase them until 95 % of the tightest bound is used.
        """
        now = float(self.usage(row[None])[0])
        while not FILLED <= now <= 1:
            rows = self.singles(row)
            usage = self.usage(rows)
            way, gap = (1, now - 1) if now > 1 else (-1, FILLED - now)
            # a change that does more than is needed does no more than that
            done = np.minimum(way * (now - usage), gap)
            fits = (done > 1e-9) & ((usage <= 1) | (now > 1))
            if not fits.any():
                break
            lost = np.maximum(self.worth(row[None])[0] - self.worth(rows), 0) + 1e-9
            pick = int(np.where(fits, lost / np.maximum(done, 1e-12), np.inf).argmin())
            row, now = rows[pick], float(usage[pick])
        return row

    def _climbed(self, row: Indices) -> Indices:
        """Move to the best of the rows that differ in one decision or two, until there is none better."""
        for _ in range(CLIMBS):
            singles = self.singles(row)
            rows = np.concatenate([row[None], singles, self._pairs(row, singles)])
            best = rows[self._order(rows)[-1]]
            if self._order(np.stack([best, row]))[-1] == 1:
                break
            row = best
        return row

    def singles(self, row: Indices) -> Indices:
        """Return every row that differs in one decision, or in which of two a rule keeps, (n, decisions)."""
        decisions, options = np.nonzero(np.arange(self.values.shape[1]) < self.counts[:, None])
        other = options != row[decisions]
        rows = np.repeat(row[None], other.sum(), axis=0)
        rows[np.arange(len(rows)), decisions[other]] = options[other]
        for group in self.groups:
            rows = np.concatenate([rows[group.legal(rows)], group.swaps(row)])
        return rows

    def _pairs(self, row: Indices, singles: Indices) -> Indices:
        """Return rows that differ in two decisions: those of the largest gain if costs and values added up."""
        changed = np.abs(singles - row)
        # every option of few decisions, the next ones of many: the pairs stay below some hundred thousand
        singles = singles[changed.max(1, initial=0) <= max(1, 200 // len(row))]
        where = self.together[(singles != row).argmax(1)]
        now, worth = self.shares(row[None]), self.worth(row[None])
        more, gain = self.shares(singles) - now, self.worth(singles) - worth
        usage = (now[:, :, None] + more[:, :, None] + more[:, None, :]).max(0)
        better = gain[:, None] + gain[None, :]
        least = min(FILLED, float(now.max())) - SLACK
        promising = np.triu(where[:, None] != where[None, :]) & (usage <= 1 + SLACK) & (usage >= least)
        filled = np.where(promising, np.minimum(usage, FILLED), -np.inf) if now.max() < FILLED else 0.0
        first, second = np.nonzero(promising)
        picks = np.lexsort((better[first, second], np.broadcast_to(filled, better.shape)[first, second]))[-TRIED:]
        first, second = first[picks], second[picks]
        return singles[first] + singles[second] - row


def within(
    space: Space,
    probabilities: Mapping[str, ArrayLike],
    goals: Sequence[Goal],
    score: Callable[[Arch], float],
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    others: Sequence[Arch] = (),
) -> Arch:
    """Return the highest-scoring feasible architecture among the mode and samples of `probabilities`.

    The mode, `samples` drawn from the probabilities, and `others` are each repaired at the least loss of likelihood;
    candidates that leave much of the budget unused are dropped.
    probabilities: (options,) of each decision.

    Raises BudgetError when none is inside.
    """
    logs = _logs(space, probabilities)
    bounded = Bounded(goals, logs, space.groups)
    rng = np.random.default_rng([seed, 7])
    # samples by the Gumbel-max trick
    drawn = [space.strongest(logs + rng.gumbel(size=logs.shape)) for _ in range(samples)]
    # the mode is improved, from several starts; samples are moved as little as possible
    rows = [bounded.best(space.strongest(logs), *_ends(space, goals, bounded.counts))]
    rows += [nearest(space, goals, row) for row in [*drawn, *map(space.indices, others)]]
    usage = bounded.usage(np.stack(rows))
    inside = usage <= 1
    fits = inside & (usage >= min(FILLED, usage[inside].max(initial=0) - SLACK))
    if not inside.any():
        raise none_inside(space, goals)
    found = {arch: score(arch) for arch in dict.fromkeys(map(space.from_indices, np.stack(rows)[fits]))}
    return max(found, key=found.__getitem__)


def largest(space: Space, goals: Sequence[Goal], rows: Indices) -> Arch:
    """Return the last of a row of architectures that is inside the budget.

    rows: option indices (n, decisions), none smaller in any decision than the one before.
    Raises BudgetError, naming the nearest budget that one of them keeps, when none is inside.

    >>> space = Space({"width": Integer((8, 16, 24))})
    >>> goal = Goal("macs", 16.0, lambda gates: gates, lambda rows: 8.0 * (rows.sum(1) + 1))
    >>> largest(space, [goal], np.array([[0], [1], [2]]))
    Arch({'width': 16})
    """
    costs = np.stack([goal.exact(rows) for goal in goals])
    limits = np.array([goal.limit for goal in goals])[:, None]
    fits = np.flatnonzero((costs <= limits).all(0))
    if not fits.size:
        near = costs[:, int((costs / limits).max(0).argmin())].tolist()
        asked, least = (
            ",".join(
                f"{goal.name}<={number(value, short=True, up=True)}" for goal, value in zip(goals, row, strict=True)
            )
            for row in ([goal.limit for goal in goals], near)
        )
        raise BudgetError(
            f"no network scaled in this way keeps {asked}: the nearest is {least}; give that, let more be scaled "
            "(depth, resolution), or search"
        )
    return space.from_indices(rows[fits[-1]])


def nearest(space: Space, goals: Sequence[Goal], row: Indices) -> Indices:
    """Return a row inside the budget that differs in as few options as possible; the cheapest if none is inside."""
    return Bounded(goals, nearness(space, row), space.groups).best(row)


def cheapest(space: Space, goals: Sequence[Goal]) -> Indices:
    """Return the option indices (decisions,) that take the least of the tightest bound.

    The result is exact for additive costs; otherwise it is found by changes of single decisions. Of a Subset nothing
    is kept.
    """
    values = np.where(_options(space), 0.0, -np.inf)
    values[[isinstance(decision, Subset) for decision in space.decisions.values()], 1:] = -np.inf
    if all(goal.terms is not None for goal in goals):
        return Knapsack(values, goals, space.groups).least()
    bounded = Bounded(goals, values, space.groups)
    row = space.strongest(values)
    while True:
        rows = np.concatenate([row[None], bounded.singles(row)])
        usage = bounded.usage(rows)
        # a product with a matrix differs in the last digits from one number of rows to another
        if usage.min() >= usage[0] - 1e-9 * abs(usage[0]):
            return row
        row = rows[int(usage.argmin())]


def nearness(space: Space, row: Indices) -> NDArray[np.float64]:
    """Return values that fall with the distance from a row: in options where these are ordered, else 1 for another."""
    distance = np.abs(np.arange(max(space.counts)) - row[:, None]).astype(np.float64)
    ordered = np.array([isinstance(decision, Integer) for decision in space.decisions.values()])
    distance = np.where(ordered[:, None], distance, np.minimum(distance, 1))
    return np.where(_options(space), -distance, -np.inf)


def none_inside(space: Space, goals: Sequence[Goal]) -> BudgetError:
    """Return the error to raise where no architecture inside the budget was found."""
    names = ", ".join(f"{goal.name}<={goal.limit:g}" for goal in goals)
    return BudgetError(f"no architecture of space '{space.name}' was found with {names}: give a larger budget")


def _logs(space: Space, probabilities: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    """Return log-probabilities, (decisions, options), -inf where there is no option."""
    logs = np.full(_options(space).shape, -np.inf)
    for row, name in zip(logs, space.decisions, strict=True):
        with np.errstate(divide="ignore"):
            found = np.log(np.asarray(probabilities[name], dtype=np.float64))
        row[: len(found)] = np.maximum(found, LEAST_LOG)
    for group in space.groups:  # as many of its decisions have `none`, whichever: nothing speaks for one or another
        logs[group.places, group.none] = 0.0
    return logs


def _ends(space: Space, goals: Sequence[Goal], counts: Indices) -> list[Indices]:
    """Return the cheapest row; and, of few decisions, those a third up all options, two thirds, and at their last."""
    shares = (1 / 3, 2 / 3, 1) if len(counts) <= FEW else ()
    rows = [np.floor(share * (counts - 1) + 1e-9).astype(np.int64) for share in shares]
    return [cheapest(space, goals), *(space.strongest(nearness(space, row)) for row in rows)]


def uniform(space: Space, rng: np.random.Generator, count: int) -> Indices:
    """Draw rows of option indices, (count, decisions), by the rules; every option of a decision is equally likely."""
    if space.groups:
        return space.strongest(rng.random((count, *_options(space).shape)))
    return rng.integers(0, space.counts, size=(count, len(space.counts)))


def _options(space: Space) -> NDArray[np.bool_]:
    """Return where a row of a table of options has one, (decisions, options)."""
    return np.asarray(np.arange(max(space.counts)) < np.array(space.counts)[:, None])
