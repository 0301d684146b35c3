"""The space of the cells of DARTS, which GDAS searched too."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from renascent.core.codecs import darts_cells
from renascent.core.codecs.darts_cells import KINDS, NONE, OPERATIONS, cells_space, edge_name, edges, subsets_space
from renascent.core.dependencies import Graph
from renascent.core.errors import UserError
from renascent.core.fields import Count, OneOf, Whole, settings
from renascent.core.schema import ABSENT
from renascent.core.space import Arch, Space
from renascent.core.spaces import Priced
from renascent.nets.cells.darts_network import DartsNetwork, Skeleton
from renascent.nets.cells.darts_ops import GROUPS
from renascent.nets.cells.darts_subsets import CellsCost
from renascent.nets.cells.ops import Norm
from renascent.nets.cells.slots import ChoiceSpace, Place
from renascent.nets.sizes.counted import COUNTED

STEMS = ("cifar", "imagenet")
"""Stems by name: one convolution of stride 1, or three of stride 2."""

REDUCTIONS = ("searched", "fixed")
"""Where reduction cells come from."""

DECISIONS = ("choice", "subset")
"""What can be decided of an edge: one operation, or any of them."""


@settings
class DartsCells(ChoiceSpace):
    """Two kinds of cell, normal and reduction, of nodes that read earlier ones through operations.

    Args:
        channels: width C of the first cells; reduction cells double it.
        cells: number N of normal cells before, between and behind the two reduction cells.
        layers_count: number of all cells, with reduction cells at a third and at two thirds of it; 0: `cells` says it.
        nodes: feature maps in a cell, its two inputs not counted.
        operations: candidate operations of an edge.
        reduction: whether reduction cells are searched, or the fixed one of GDAS.
        decisions: what is decided of an edge: by `choice` a node keeps two edges of one operation each, as in DARTS; by
            `subset` each edge keeps any of its operations, or none, and pools and the last map are normalised.
        stem: what stands before the cells, one convolution for small images or three of stride 2 for ImageNet's.

    References:
        Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, ICLR 2019, arXiv:1806.09055, Sec. 2.1, 3.1.

        reduction: Dong and Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019,
            arXiv:1910.04465, Sec. 3.2.
    """

    channels: Count = 16
    cells: Count = 2
    layers_count: Whole = 0
    nodes: Count = 4
    operations: Annotated[tuple[str, ...], OneOf("operation", OPERATIONS)] = OPERATIONS
    reduction: Annotated[str, OneOf("reduction", REDUCTIONS)] = "searched"
    decisions: Annotated[str, OneOf("decisions", DECISIONS)] = field(default="choice", metadata=ABSENT)
    stem: Annotated[str, OneOf("stem", STEMS)] = "cifar"

    def __post_init__(self) -> None:
        cells_space(self.nodes, self.operations)  # refuses operations among which there is nothing to choose
        if 0 < self.layers_count < 3:
            raise UserError(
                f"layers_count is {self.layers_count}: give at least 3, two of which reduce, or 0 for those of `cells`"
            )
        if self.reduction == "fixed" and 2 * self.channels % GROUPS:
            raise UserError(
                f"channels is {self.channels}, and the fixed reduction cell has twice as many in {GROUPS} groups: "
                f"give a multiple of {GROUPS // 2}"
            )

    @property
    def space(self) -> Space:
        kinds = KINDS if self.reduction == "searched" else KINDS[:1]
        make = cells_space if self.decisions == "choice" else subsets_space
        return make(self.nodes, self.operations, kinds)

    @property
    def placing(self) -> tuple[tuple[int, int], int]:
        """Where the two reduction cells are, and how many cells there are in all."""
        if self.layers_count:
            return (self.layers_count // 3, 2 * self.layers_count // 3), self.layers_count
        return (self.cells, 2 * self.cells + 1), 3 * self.cells + 2

    @property
    def reference(self) -> Arch | None:
        """The cells that second-order DARTS found; None where nodes or operations are others."""
        if self.nodes != 4 or self.operations != OPERATIONS:
            return None
        space, both = self.space, cells_space().parse(darts_cells.DARTS_V2)
        if self.decisions == "choice":
            return space.arch({name: both[name] for name in space.decisions})
        return space.arch({name: () if both[name] == NONE else (both[name],) for name in space.decisions})

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """A cell of each kind: from its two inputs to its nodes, all of which its output has."""
        space, found = self.space, []
        for kind in KINDS if self.reduction == "searched" else KINDS[:1]:
            named = {edge_name(kind, *edge): edge for edge in edges(self.nodes)}
            rows = {name: [None if op == NONE else edge for op in space.options(name)] for name, edge in named.items()}
            found.append(Graph(rows, frozenset(range(2)), frozenset(range(2, self.nodes + 2))))
        return tuple(found)

    def cost(self, name: str, shape: tuple[int, int, int], classes: int) -> Priced | None:
        """Return a counted cost for data of `shape` (channels, h, w), of what is alive; None: the options' add up."""
        if self.decisions == "choice" or name not in self.costs:
            return None
        of = COUNTED[name][0]
        base, table = self.terms(of, shape, classes)
        (reductions, _), edges = self.placing, sum(range(2, self.nodes + 2))
        adds = dict.fromkeys(KINDS if self.reduction == "searched" else KINDS[:1], 0.0)
        for layer in self.fixed_layers(shape, classes):
            part, _, number = layer.name.partition(".")
            if part == "cells" and layer.kind == "add" and number.isdecimal():  # of a node, of all edges but one
                kind = KINDS[int(number) in reductions]
                adds[kind] += of(layer) / (edges - self.nodes)
                base -= of(layer)
        return CellsCost(self.space, self.nodes, base, table, adds)

    def build(self, place: Place, norm: Norm, channels_in: int, classes: int) -> DartsNetwork:
        """Build the network, with what `place` puts where an operation is decided."""
        (reductions, cells), small = self.placing, self.stem == "cifar"
        fixed, subset = self.reduction == "fixed", self.decisions == "subset"
        shape = Skeleton(self.channels, self.nodes, cells, reductions, fixed, small, normed=subset)
        return DartsNetwork(shape, place, norm, channels_in, classes)

    def draw(self, arch: Arch) -> str:
        """Draw the cells in text."""
        return darts_cells.draw(arch)
