"""What blocks of subsets of connections cost: exact, of what is alive, for many architectures at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renascent.core.gates import Gates
from renascent.core.space import Space
from renascent.nets.cells.dso_network import INPUT, OPERATIONS, OUT, complete
from renascent.nets.sizes.layers import Layer

Floats = NDArray[np.float64]


class Prices(NamedTuple):
    """What the parts of a block cost. The costs of a part at several places add up.

    nodes: each node's operation, (nodes,).  add: an addition of two maps.
    join: what any kept node brings along, the normalisation at the output and the shortcut.  kept: each such node.
    """

    nodes: Floats
    add: float
    join: float
    kept: float

    def __add__(self, other: tuple[Any, ...]) -> Prices:
        return Prices(*(a + b for a, b in zip(self, other, strict=True)))


def prices(of: Callable[[Layer], float], levels: int, channels: int, size: tuple[int, int]) -> Prices:
    """Return what a block of so many channels costs on maps of `size` (h, w). of: a layer's part."""

    def layer(kind: str, inputs: int = channels, **about: Any) -> float:
        return of(Layer(name="", kind=kind, inputs=inputs, outputs=channels, size=size, **about))

    pool, add = layer("pool", kernel=3), layer("add")
    each = {"avg_pool_3x3": pool, "max_pool_3x3": pool}
    for kernel in (3, 5):
        depthwise = layer("depthwise", kernel=kernel, norm=False, active=False)
        each[f"sep_conv_{kernel}x{kernel}"] = depthwise + layer("conv")
    one, two = (layer("conv", count * channels) for count in (1, 2))
    nodes = np.array([each[name] for name in OPERATIONS] * levels, dtype=np.float64)
    return Prices(nodes, add, one - (two - one) + add, two - one)


class SubsetCost:
    """A counted cost of blocks of connections, of what is alive. Called with gates, it counts what they compute.

    base: the cost outside of the blocks.  parts: the decision of each node, of each set of decisions.
    each: what the blocks of each set cost.
    """

    def __init__(
        self, space: Space, levels: int, base: float, parts: Sequence[Mapping[str, str]], each: Sequence[Prices]
    ) -> None:
        self.space, self.base, self.each = space, base, tuple(each)
        self.wiring = complete(levels)
        place = {name: k for k, name in enumerate(space.decisions)}
        self.columns = [[place[part[node]] for node in self.wiring] for part in parts]

    def __call__(self, gates: Gates) -> Tensor:
        """Return the cost of what gates compute, whatever its weights: a float64 scalar without gradient."""
        row = [sum(1 << k for k in gates[name].active) for name in self.space.decisions]
        return torch.tensor(self.exact(np.array([row], dtype=np.int64))[0], dtype=torch.float64)

    def exact(self, indices: NDArray[np.integer]) -> Floats:
        """Return the cost (n,) of architectures given as option indices (n, decisions)."""
        return np.asarray(self.base + self.split(indices).sum((1, 2)))

    def split(self, indices: NDArray[np.integer]) -> Floats:
        """Return what each node costs, with the additions ahead of it, and the output: (n, parts, nodes + 1)."""
        found = np.zeros((len(indices), len(self.each), len(self.wiring)))
        for k, (columns, price) in enumerate(zip(self.columns, self.each, strict=True)):
            counts = self._inputs(indices[:, columns])
            there, kept = counts[:, :-1] > 0, counts[:, -1]
            found[:, k, :-1] = there * price.nodes + price.add * (counts[:, :-1] - there)
            found[:, k, -1] = price.kept * kept + price.join * (kept > 0)
        return found

    def _inputs(self, masks: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return how many living connections each node reads, and the output, (n, nodes + 1).

        masks: bit k of a node's stands for the k-th connection that it may read.
        """
        bits = {node: 1 << k for k, node in enumerate((INPUT, *self.wiring[OUT]))}
        rows = dict(zip(self.wiring, masks.T.astype(np.int64), strict=True))
        rows[OUT] = rows[OUT] << 1  # which does not read the input, the first of what nodes read
        fed = np.ones(len(masks), dtype=np.int64)
        for node in rows:
            rows[node] = rows[node] & fed
            fed |= np.where(rows[node] > 0, bits.get(node, 0), 0)
        leading = rows[OUT].copy()
        for node in reversed(self.wiring[OUT]):
            rows[node] = np.where(leading & bits[node], rows[node], 0)
            leading |= rows[node]
        return np.stack([np.bitwise_count(row) for row in rows.values()], 1).astype(np.int64)
