"""What cells cost of whose edges any operations are kept: exact, of what is alive, for many at once."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renascent.core.codecs.darts_cells import edge_name, edges
from renascent.core.gates import Gates
from renascent.core.space import Space

Floats = NDArray[np.float64]


class CellsCost:
    """A counted cost of subsets of operations. Called with gates, it counts what they compute.

    base: the cost of what every architecture has.  table: of each operation, (decisions, options).
    adds: kind of cell -> the cost of one addition in a node, in all cells of that kind.
    """

    def __init__(self, space: Space, nodes: int, base: float, table: Floats, adds: Mapping[str, float]) -> None:
        self.space, self.nodes, self.base, self.table, self.adds = space, nodes, base, table, adds
        place = {name: k for k, name in enumerate(space.decisions)}
        self.columns = {kind: {edge: place[edge_name(kind, *edge)] for edge in edges(nodes)} for kind in adds}

    def __call__(self, gates: Gates) -> Tensor:
        """Return the cost of what gates compute, whatever its weights: a float64 scalar without gradient."""
        row = [sum(1 << k for k in gates[name].active) for name in self.space.decisions]
        return torch.tensor(self.exact(np.array([row], dtype=np.int64))[0], dtype=torch.float64)

    def exact(self, indices: NDArray[np.integer]) -> Floats:
        """Return the cost (n,) of architectures given as option indices (n, decisions)."""
        rows, total = np.array(indices, dtype=np.int64), np.full(len(indices), self.base)
        for kind, columns in self.columns.items():
            reading = {source: np.ones(len(rows), dtype=np.int64) for source in range(2)}
            for (source, target), column in columns.items():  # by target, so that a source is known before it is read
                rows[:, column] = np.where(reading[source] > 0, rows[:, column], 0)
                reading[target] = reading.get(target, 0) + np.bitwise_count(rows[:, column]).astype(np.int64)
            for target in range(2, self.nodes + 2):
                total += self.adds[kind] * np.maximum(reading[target] - 1, 0)
        bits = rows[:, :, None] >> np.arange(self.table.shape[1]) & 1
        return np.asarray(total + (bits * self.table).sum((1, 2)))
