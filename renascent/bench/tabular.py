"""A benchmark table as an evaluator: outcomes are looked up, and take the time that the table says.

Constraints are on looked-up costs, such as latency_ms:pixel3<=6.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.bench.tables.columns import Column
from renascent.bench.tables.table import Table
from renascent.core.bounds import read_bound
from renascent.core.errors import BudgetError, UserError
from renascent.core.text import short
from renascent.strategies.trials.protocol import Outcome, Proposal


@dataclass(frozen=True)
class Constraint:
    """A bound that every architecture has to keep. column: of a table.  upper: whether `bound` is the most allowed.

    >>> Constraint.parse("latency_ms:pixel3<=6")
    Constraint(column='latency_ms:pixel3', bound=6.0, upper=True)
    """

    column: str
    bound: float
    upper: bool = True

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read COLUMN<=NUMBER or COLUMN>=NUMBER. Raises UserError for anything else."""
        read = read_bound(text)
        if read is None or read.suffix or not np.isfinite(read.number):
            raise UserError(
                f"constraint {short(text)} cannot be read: write COLUMN<=NUMBER, as in latency_ms:pixel3<=6"
            )
        return cls(read.name, read.number, read.upper)

    def __str__(self) -> str:
        return f"{self.column}{'<=' if self.upper else '>='}{self.bound:g}"

    def kept(self, table: Table, problem: str) -> NDArray[np.bool_]:
        """Return which rows keep the bound, (rows,).

        Raises UserError for a column that is not there or misses values, BudgetError, naming the nearest value, when
        no architecture keeps it.
        """
        values = cost(table, self.column, problem)
        found = values <= self.bound if self.upper else values >= self.bound
        if not found.any():
            nearest = values.min() if self.upper else values.max()
            raise BudgetError(f"no architecture of table '{table.name}' has {self}: the nearest is {nearest:.6g}")
        return np.asarray(found)


def cost(table: Table, name: str, problem: str) -> NDArray[Any]:
    """Return a column, none missing, (rows,): of the problem's data set where the name fits several.

    Raises UserError for a column that is not there, or that misses values.
    """
    fits = [c for c in table.columns.values() if c.data == problem and set(name.split(":")) <= set(c.key.split(":"))]
    return table.complete(fits[0].key if len(fits) == 1 else name)


class Tabular:
    """Evaluates proposals on one problem of a table.

    Where the table has several seeds, a trial is one training: its own seed picks one of those known. An architecture
    that breaks a constraint is refused at no cost, for its price is known before anything is trained.

    table, problem: what to search.  constraints: that every architecture has to keep.
    objectives: columns that every outcome reports among its metrics.
    result: the judged accuracy of every row, % (rows,).
    Raises UserError for a problem or a column that is not there or misses values, BudgetError for a constraint that
    no architecture keeps.

    >>> from renascent.bench.tables.columns import Problem
    >>> from renascent.core.codecs.nats_topology import topology_space
    >>> values = {Column("val_accuracy", "d", 2): [70.0, 90.0], Column("seconds_per_epoch", "d"): [1.5, 2.0]}
    >>> table = Table.of("toy", topology_space(2, ("none", "skip")), [[0], [1]], values,
    ...     [Problem("d", "val_accuracy:d:2", "seconds_per_epoch:d", "val_accuracy:d:2")])
    >>> Tabular(table, "d")(Proposal((1,)), seed=0)
    Outcome(score=90.0, seconds=4.0, metrics={}, feasible=True)
    """

    def __init__(
        self, table: Table, problem: str, constraints: Sequence[Constraint] = (), objectives: Sequence[str] = ()
    ) -> None:
        self.table, self.problem = table, table.problem(problem)
        self.column = table.find(self.problem.signal)
        self.epochs = self.column.epochs
        self.places = {epochs: k for k, epochs in enumerate(self.column.at or (self.epochs,))}
        # plain lists: single numbers come out of them several times faster than out of arrays
        self.signal = _trainings(table, self.column)
        self.result = table.complete(self.problem.result)
        self.seconds = [float(v) for v in table.complete(self.problem.seconds)]
        if not self.epochs or min(self.seconds) <= 0:
            raise UserError(
                f"problem '{problem}' of table '{table.name}' has trainings of no time, on which no search would end: "
                f"'{self.column.key}' says {self.epochs} epochs, the shortest of {min(self.seconds):g} seconds"
            )
        self.objectives = {name: [float(v) for v in cost(table, name, problem)] for name in objectives}
        kept = [constraint.kept(table, problem) for constraint in constraints]
        self.allowed = np.logical_and.reduce([np.ones(len(table), bool), *kept])
        if not self.allowed.any():
            raise BudgetError(f"no architecture keeps {' and '.join(map(str, constraints))} together: loosen one")
        self._allowed: list[bool] = self.allowed.tolist()

    @property
    def sha256(self) -> str:
        """The checksum of all that is looked up here: two evaluators of one answer alike."""
        digest = hashlib.sha256(repr((self.table.space, self.epochs, list(self.places))).encode())
        signal = self.table.array(self.column.key)
        for values in (self.table.archs, signal, self.result, self.seconds, self.allowed, *self.objectives.values()):
            array = np.ascontiguousarray(values)
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def row(self, picks: Sequence[int]) -> int:
        """Return the row of option indices. Raises UserError for an architecture that the table lacks."""
        row = self.table.places.get(tuple(picks))
        if row is None:
            if not all(isinstance(k, int | np.integer) for k in picks):
                raise UserError(f"{short(picks)} are no option indices: give a whole number for each decision")
            self.table.space.from_indices(picks)  # refuses what is none of the space
            raise UserError(f"table '{self.table.name}' does not have every architecture of its space: search its list")
        return row

    def __call__(self, proposal: Proposal, seed: int) -> Outcome:
        """Return the outcome. Raises UserError for a number of epochs that the table did not record."""
        row, epochs = self.row(proposal.picks), proposal.epochs or self.epochs
        if not self._allowed[row]:
            return Outcome(-math.inf, 0.0, {}, feasible=False)
        if epochs not in self.places:
            known = ", ".join(map(str, self.places))
            raise UserError(f"column '{self.column.key}' has no value after {epochs} epochs: it has {known}")
        trainings = self.signal[row]
        score = trainings[seed % len(trainings)][self.places[epochs]]
        metrics = {name: values[row] for name, values in self.objectives.items()} if self.objectives else {}
        return Outcome(score, epochs * self.seconds[row], metrics)


def _trainings(table: Table, column: Column) -> list[list[list[float]]]:
    """Return for each row its known trainings, each a list over recorded epochs. Raises UserError for a row of none."""
    table.complete(column.key)
    values: Any = table.array(column.key).astype(np.float64)
    values = values.reshape(len(table), len(column.seeds) or 1, len(column.at) or 1)
    rows = values.tolist()
    if np.isnan(values).any():
        rows = [[curve for curve in row if not any(map(math.isnan, curve))] for row in rows]
        if not all(rows):
            raise UserError(f"column '{column.key}' has a row of which no training is known whole: leave it out")
    return rows  # type: ignore[no-any-return]
