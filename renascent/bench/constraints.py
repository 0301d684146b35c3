"""Constraints on looked-up costs, such as latency_ms:pixel3<=6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.bench.tables.table import Table
from renascent.core.bounds import read_bound
from renascent.core.errors import BudgetError, UserError


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
            raise UserError(f"constraint '{text}' cannot be read: write COLUMN<=NUMBER, as in latency_ms:pixel3<=6")
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
