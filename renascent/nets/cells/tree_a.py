"""Tree A: the cell of nine paths of path-level transformation, any of whose edges may be kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from renascent.core.decisions import Value
from renascent.core.dependencies import Graph
from renascent.core.flow import flowing
from renascent.core.gates import Gates
from renascent.core.space import Space
from renascent.nets.cells.ops import NOTHING, Norm, Zero
from renascent.nets.cells.slots import Place, Slot
from renascent.nets.sizes.layers import Layer

Floats = NDArray[np.float64]

SECOND = "~2"
"""Marks the second of two equal edges of one node."""

TREE: Mapping[str, tuple[str, ...]] = {
    "1": ("conv_1x1", "max_pool_3x3"),
    "2": ("sep_5x5", "sep_3x3"),
    "1.1": ("avg_pool_3x3", "sep_7x7"),
    "1.2": ("sep_3x3", "sep_5x5"),
    "2.1": ("sep_5x5", "avg_pool_3x3", f"avg_pool_3x3{SECOND}"),
    "2.2": ("avg_pool_3x3", "sep_3x3"),
}
"""Node below the root -> the operations of its edges. Edge k of node 1 leads to node 1.k; those of 1.1, to leaves."""

SPLIT = "1.1"
"""The node whose edges read one half of the channels each, and whose output is their concatenation."""

ROOT = ("1", "2")


def alive(prefixes: Sequence[str], values: Mapping[str, Value]) -> dict[str, Value]:
    """Take out the edges that lie on no path from the root to a leaf. prefixes: of each cell's decisions."""
    found: dict[str, Value] = {}
    for prefix in prefixes:
        kept = {node: values[prefix + node] for node in TREE}
        edges = [(node, _below(node, o), o) for node, row in kept.items() if isinstance(row, tuple) for o in row]
        leaves = {target for _, target, _ in edges} - TREE.keys()
        there = flowing(edges, ROOT, leaves)
        for node, options in TREE.items():
            found[prefix + node] = tuple(o for o in options if (node, _below(node, o), o) in there)
    return found


def graph(prefix: str) -> Graph:
    """Return the graph of one cell, from its root to its leaves; beside it there is the block's shortcut."""
    rows = {prefix + node: [(node, _below(node, option)) for option in row] for node, row in TREE.items()}
    leaves = {target for row in rows.values() for _, target in row} - TREE.keys()
    return Graph(rows, frozenset(ROOT), frozenset(leaves), bypassed=True)


def _below(node: str, option: str) -> str:
    """Return the node that an edge leads to; of a leaf, its own."""
    return f"{node}.{TREE[node].index(option) + 1}"


class Half(nn.Module):
    """An operation on one half of the channels; the output has zeros in the other half. number: of the half, 0 or 1."""

    def __init__(self, inside: nn.Module, number: int) -> None:
        super().__init__()
        self.inside, self.number = inside, number

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        out = self.inside(x[:, half * self.number :][:, :half])
        return functional.pad(out, (0, 0, 0, 0, half * self.number, half * (1 - self.number)))


class TreeCell(nn.Module):
    """Tree A: its root has two fixed 3x3 convolutions in two groups, each with a sub-tree that is added to the other's.

    A convolution that leads nowhere is not there, nor is one computed whose sub-tree is closed.
    """

    def __init__(self, channels: int, stride: int, subtree: Callable[[str], nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleDict()
        for node in ROOT:
            if not isinstance(below := subtree(node), Zero):
                fixed = nn.Conv2d(channels, channels, 3, stride, 1, groups=2, bias=False)
                self.edges[node] = nn.Sequential(fixed, below)

    def opened(self) -> list[nn.Module]:
        """Return the edges of the root that lead somewhere in this forward pass."""
        pairs = [(edge, edge.get_submodule("1")) for edge in self.edges.values()]
        return [edge for edge, below in pairs if not (isinstance(below, Slot) and below.closed)]

    def forward(self, x: Tensor) -> Tensor:
        parts = [edge(x) for edge in self.opened()]
        return sum(parts[1:], parts[0])  # type: ignore[no-any-return]


def branch(
    node: str, place: Place, prefix: str, channels: int, operation: Callable[[str, int], nn.Module]
) -> nn.Module:
    """Return the sub-tree at a node: its edges and what they lead to, as `place` puts them.

    operation: name, channels -> the module of an edge.
    """

    def build(option: str) -> nn.Module:
        if option == NOTHING:
            return Zero()
        name, below = option.removesuffix(SECOND), _below(node, option)
        if node == SPLIT:
            return Half(operation(name, channels // 2), TREE[node].index(option))
        edge = operation(name, channels)
        if below not in TREE:
            return edge
        return nn.Sequential(edge, branch(below, place, prefix, channels, operation))

    return place(prefix + node, build)


def convolution(channels: int, norm: Norm) -> nn.Module:
    """Return the 1x1 convolution of an edge, in the order of the others: normalisation, ReLU, convolution."""
    return nn.Sequential(norm(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False))


class Cell(NamedTuple):
    """What a cell's cost depends on. size, before: (h, w) of its map, and of that which its root reads."""

    channels: int
    size: tuple[int, int]
    before: tuple[int, int]


SMALLEST: Mapping[str, tuple[str, ...]] = {"1": ("max_pool_3x3",), "1.2": ("sep_3x3",)}
"""Node -> its edges, in a cell of one path."""


class TreeCost:
    """A counted cost of cells of tree A, of what is alive. Called with gates, it counts what they compute.

    base: the cost of what every architecture has.  around: what a cell that keeps something brings along, each.
    of: a layer's part.  cells: in the order of the decisions.
    """

    def __init__(
        self, space: Space, base: float, around: Floats, of: Callable[[Layer], float], cells: Sequence[Cell]
    ) -> None:
        self.space, self.base, self.around = space, base, around
        self.table = np.zeros((len(cells), len(TREE), max(map(len, TREE.values()))))
        self.adds, self.roots = np.zeros(len(cells)), np.zeros(len(cells))
        for k, (channels, size, before) in enumerate(cells):
            both: dict[str, Any] = {"name": "", "inputs": channels, "outputs": channels, "norm": False}
            self.adds[k] = of(Layer(kind="add", size=size, **both))
            stride = 1 if size == before else 2
            self.roots[k] = of(Layer(kind="conv", kernel=3, groups=2, stride=stride, size=before, **both))
            for j, (node, options) in enumerate(TREE.items()):
                width = channels // 2 if node == SPLIT else channels
                for i, option in enumerate(options):
                    self.table[k, j, i] = sum(of(layer) for layer in _layers(option.removesuffix(SECOND), width, size))
        self.around = around - self.roots - self._kept_by(SMALLEST)

    def _kept_by(self, edges: Mapping[str, tuple[str, ...]]) -> Floats:
        """Return what edges cost in each cell, (cells,)."""
        nodes = list(TREE)
        places = [(nodes.index(node), TREE[node].index(option)) for node, row in edges.items() for option in row]
        return np.asarray(sum(self.table[:, j, i] for j, i in places))

    def __call__(self, gates: Gates) -> Tensor:
        """Return the cost of what gates compute, whatever its weights: a float64 scalar without gradient."""
        row = [sum(1 << k for k in gates[name].active) for name in self.space.decisions]
        return torch.tensor(self.exact(np.array([row], dtype=np.int64))[0], dtype=torch.float64)

    def exact(self, indices: NDArray[np.integer]) -> Floats:
        """Return the cost (n,) of architectures given as option indices (n, decisions)."""
        cells, nodes, most = self.table.shape
        kept = (np.asarray(indices).reshape(-1, cells, nodes)[..., None] >> np.arange(most) & 1).astype(bool)
        place = {node: j for j, node in enumerate(TREE)}
        for node, j in place.items():
            for i, option in enumerate(TREE[node]):
                if (below := place.get(_below(node, option))) is not None:
                    kept[:, :, j, i] &= kept[:, :, below].any(-1)
                    kept[:, :, below] &= kept[:, :, j, i, None]
        children = kept[:, :, [place[node] for node in ROOT]].any(-1).sum(-1)
        more = np.maximum(kept.sum(-1) - 1, 0).sum(-1) + np.maximum(children - 1, 0)
        fixed = children @ self.roots + (children > 0) @ self.around
        return np.asarray(self.base + fixed + (kept * self.table).sum((1, 2, 3)) + more @ self.adds)


def _layers(name: str, channels: int, size: tuple[int, int]) -> list[Layer]:
    """Return the layers of an edge's operation."""

    def layer(kind: str, kernel: int = 1) -> Layer:
        about = {"inputs": channels, "outputs": channels, "size": size, "kernel": kernel}
        return Layer(name="", kind=kind, norm=False, active=False, **about)  # type: ignore[arg-type]

    if name.endswith("pool_3x3"):
        return [layer("pool", 3)]
    if name == "conv_1x1":
        return [layer("norm"), layer("conv")]
    return [layer("norm"), layer("depthwise", int(name[-1])), layer("conv")]
