"""Budgets: hard bounds on what an architecture costs, such as macs<=0.5x, latency_ms<=8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renascent.core.bounds import read_bound
from renascent.core.errors import BudgetError, UserError, unknown
from renascent.core.knapsack import Bounded, cheapest
from renascent.core.protocols import Goal, Priced, SpaceConfig
from renascent.costs.counts import Additive
from renascent.costs.named import COSTS, cost_of

LATENCY = "latency_ms"

SUFFIXES = {"": 1.0, "x": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}


class Feasible(NamedTuple):
    """What a space can cost: of its cheapest, its reference (None: it has none) and its dearest architecture."""

    name: str
    limit: float
    smallest: float
    reference: float | None
    largest: float


@dataclass(frozen=True)
class Bound:
    """The most allowed of one cost. value: in its unit, or, if `relative`, in times the reference's.

    >>> Bound.parse("macs<=0.5x"), Bound.parse("params <= 2M").value
    (Bound(name='macs', value=0.5, relative=True), 2000000.0)
    """

    name: str
    value: float
    relative: bool = False

    @classmethod
    def parse(cls, text: str) -> Bound:
        """Read NAME<=NUMBER, the number with k, M, G or x behind it. Raises UserError for anything else."""
        read = read_bound(text)
        if read is None or not read.upper:
            raise UserError(
                f"budget '{text.strip()}' cannot be read: write NAME<=NUMBER, as in macs<=0.5x or params<=2M"
            )
        name, _, number, suffix = read
        if name not in (*COSTS, LATENCY):
            raise unknown("cost in the budget", name, (*COSTS, LATENCY))
        if suffix not in SUFFIXES or (suffix not in ("", "x") and name == LATENCY):
            raise UserError(
                f"budget '{text.strip()}' has the unit '{suffix}': write a plain number, k, M or G behind it, or x "
                f"for times the reference's ({LATENCY} is in milliseconds)"
            )
        value = number * SUFFIXES[suffix]
        if np.isnan(value):
            raise UserError(f"budget '{text.strip()}' has no number behind <=: write one, as in macs<=40e6")
        if not 0 < value < np.inf:
            says = "bounds nothing" if value > 0 else "allows nothing"
            raise UserError(f"budget '{text.strip()}' {says}: give a finite number above 0")
        return cls(name, value, suffix == "x")

    def __str__(self) -> str:
        return f"{self.name}<={self.value:.12g}{'x' if self.relative else ''}"


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
        bounds = tuple(Bound.parse(part) for part in text.split(","))
        names = [bound.name for bound in bounds]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"budget '{text}' bounds {twice[0]} twice: give each cost once")
        return cls(bounds)

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
        return tuple(_goal(bound, config, shape, classes, latency, reference_ms) for bound in self.bounds)


def _goal(
    bound: Bound,
    config: SpaceConfig,
    shape: tuple[int, int, int],
    classes: int,
    latency: Priced | None,
    reference_ms: float | None,
) -> Goal:
    cost = latency if bound.name == LATENCY else cost_of(bound.name, config, shape, classes)
    assert cost is not None, "a bound on latency needs something that predicts it"
    limit = bound.value
    if bound.relative:
        measured = reference_ms if bound.name == LATENCY else None
        whole = _reference(config, cost.exact) if measured is None else measured
        if whole is None:
            raise UserError(
                f"space '{config.space.name}' has no reference network, so {bound} means nothing: give a number"
            )
        limit *= whole
    terms = (cost.base, cost.table) if isinstance(cost, Additive) else None
    return Goal(bound.name, limit, cost, cost.exact, terms)


def feasible(config: SpaceConfig, goals: Sequence[Goal]) -> list[Feasible]:
    """Return what the space can cost, one row a bound. Raises BudgetError, naming the nearest, when a bound is too low.

    And when all bounds can be kept alone, but not together.
    """
    rows = [_row(config, goal) for goal in goals]
    for row in rows:
        if row.smallest > row.limit:
            raise BudgetError(
                f"no architecture of space '{config.space.name}' has {row.name}<={_short(row.limit)}: "
                f"the least is {_least(row.name, row.smallest)}"
            )
    usage = _tightest(config, goals)
    if usage > 1:
        wanted = ",".join(_least(goal.name, goal.limit * usage * (1 + 1e-12)) for goal in goals)
        raise BudgetError(
            f"no architecture of space '{config.space.name}' keeps all bounds together: the nearest is {wanted}"
        )
    return rows


def keepable(config: SpaceConfig, goals: Sequence[Goal]) -> bool:
    """Return whether some architecture is inside the budget."""
    return _tightest(config, goals) <= 1


def feasibility_text(rows: Sequence[Feasible]) -> str:
    """Return the table that is shown before a search."""
    head = ("budget", "limit", "smallest", "reference", "largest")
    body = [
        (r.name, *(("-" if v is None else _short(v)) for v in (r.limit, r.smallest, r.reference, r.largest)))
        for r in rows
    ]
    widths = [max(len(line[k]) for line in [head, *body]) for k in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in [head, *body]
    )


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
    dear = goal.exact(np.stack([cheapest(space, [negative]), np.array(space.counts) - 1]))
    least = float(goal.exact(cheapest(space, [replace(goal, limit=1.0)])[None])[0])
    return Feasible(goal.name, goal.limit, least, _reference(config, goal.exact), float(dear.max()))


def _reference(config: SpaceConfig, exact: Callable[[NDArray[np.integer]], NDArray[np.float64]]) -> float | None:
    return None if config.reference is None else float(exact(config.space.indices(config.reference)[None])[0])


def _least(name: str, value: float) -> str:
    """Write a cost as the bound that allows just it; a latency in plain milliseconds."""
    return f"{name}<={_short(value, up=True, units=name != LATENCY)}"


def _short(value: float, *, up: bool = False, units: bool = True) -> str:
    """Write a cost in four digits; rounded up where it is to be given as a bound. units: with k, M or G behind it.

    >>> _short(40813184.0), _short(0.51234, up=True), _short(40813184.0, up=True)
    ('40.81M', '0.5124', '40.82M')
    """
    suffix = next((s for s in "GMk" if abs(value) >= SUFFIXES[s]), "") if units else ""
    number = value / SUFFIXES[suffix]
    text = f"{number:.4g}"
    if up and float(text) * SUFFIXES[suffix] < value:
        text = f"{number + 10.0 ** (np.floor(np.log10(number)) - 3):.4g}"
    return text + suffix
