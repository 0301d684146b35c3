"""Look-ups of a search's modes in a benchmark table: for the log, never for the search."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.bench.tables.table import Table
from renascent.core.errors import UserError
from renascent.core.space import Arch, Space


@dataclass(frozen=True)
class Truth:
    """The result column of a table's problem; call it with an architecture.

    >>> from renascent.bench.tables.columns import Column, Problem
    >>> from renascent.core.codecs.nats_topology import topology_space
    >>> space = topology_space(2, ("none", "skip"))
    >>> columns = {Column("test_accuracy", "digits"): np.array([10.0, 90.0]), Column("seconds_per_epoch"): np.ones(2)}
    >>> problem = Problem("digits", "test_accuracy:digits", "seconds_per_epoch", "test_accuracy:digits")
    >>> truth = Truth(Table.of("toy", space, [[0], [1]], columns, [problem]), "digits")
    >>> truth(space.parse("|skip~0|")), truth.facts["mean"]
    (90.0, 50.0)
    """

    table: Table
    problem: str

    def __call__(self, arch: Arch) -> float | None:
        """Return the result of an architecture in percent; None where the table does not know it."""
        row = int(self.table.rows(self.table.space.indices(self.table.space.arch(arch))[None])[0])
        value = float(self.values[row]) if row >= 0 else np.nan
        return None if np.isnan(value) else value

    @property
    def column(self) -> str:
        return self.table.problem(self.problem).result

    @cached_property
    def values(self) -> NDArray[Any]:
        return self.table.values(self.column)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the configuration of a run holds: names, the source, and what a search can be measured by (%).

        best: of all architectures.  mean: of all, which is what choosing at random gives.
        """
        best, mean = float(np.nanmax(self.values)), float(np.nanmean(self.values))
        named = {"table": self.table.name, "problem": self.problem, "column": self.column}
        return {**named, "best": best, "mean": mean, "source": self.table.about.get("source", "")}


def truth_of(table: Table, space: Space, problem: str) -> Truth:
    """Return what `table` knows of a space.

    problem: name of one of its problems.
    Raises UserError for a table of another space, without that problem, or without a single result.
    """
    if why := _difference(table.space, space):
        raise UserError(
            f"the truth table '{table.name}' is not of the searched space: {why}; give a table of that space"
        )
    if problem not in table.problems:
        known = ", ".join(table.problems) or "none"
        raise UserError(
            f"the truth table '{table.name}' has no problem '{problem}': name one of its own with `truth_problem`: "
            f"{known}"
        )
    truth = Truth(table, problem)
    if np.isnan(truth.values).all():
        raise UserError(f"column '{truth.column}' of the truth table '{table.name}' is empty: give another table")
    return truth


def _difference(table: Space, searched: Space) -> str | None:
    """Return in what two spaces differ; the order of options is no difference, since both have the same names."""
    theirs, ours = table.decisions, searched.decisions
    for name in (*ours, *theirs):
        if name not in theirs or name not in ours:
            return f"only {'the search' if name in ours else 'the table'} has the decision '{name}'"
    for name in ours:
        have, want = _told(theirs[name]), _told(ours[name])
        if have != want:
            return f"'{name}' is {have} there, and {want} in the search"
    return None


def _told(decision: object) -> str:
    return f"a {type(decision).__name__} of {', '.join(sorted(map(str, getattr(decision, 'options', ()))))}"
