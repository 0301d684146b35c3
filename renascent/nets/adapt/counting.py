"""What an analysed model costs: multiply-accumulates and parameters, as polynomials of its decisions."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from renascent.core.space import Space
from renascent.nets.adapt.blocks import Run, block_where
from renascent.nets.adapt.edits import Axes
from renascent.nets.adapt.groups import Axis, Grouping
from renascent.nets.adapt.labelling import Labelling
from renascent.nets.adapt.polynomial import Linear, Polynomial, Term, collected, multiplied
from renascent.nets.sizes.resolution import RESOLUTION


class Costs:
    """Counts what an analysed model costs, as polynomials of its decisions."""

    def __init__(
        self,
        model: nn.Module,
        space: Space,
        grouping: Grouping,
        axes: Axes,
        widths: Mapping[str, int],
        depths: Mapping[str, Run],
    ) -> None:
        self.model, self.space, self.grouping, self.axes, self.depths = model, space, grouping, axes, depths
        self.names = {number: name for name, number in widths.items()}
        self.units = {name: grouping.groups[number].scale for name, number in widths.items()}

    def macs(self, states: Sequence[Labelling]) -> Polynomial:
        """Return the multiply-accumulates for one input. states: the labels at each resolution."""
        terms = []
        for at, first in enumerate(states[0].products):
            lengths = self._lengths(states[0], at)
            whole = math.prod(len(axis.group) for axis in lengths)
            macs = [state.products[at].macs / whole for state in states]
            terms += self._terms(macs, lengths, self.block_at(first.node))
        return collected(self.space, terms, self.units)

    def params(self) -> Polynomial:
        """Return the number of parameters."""
        terms, names = [], defaultdict(list)
        for name, p in self.model.named_parameters(remove_duplicate=False):
            names[id(p)].append(name)
        for name, p in self.model.named_parameters():
            axes = list(self.axes.get(name, {}).values())
            rest = p.numel() / math.prod(len(axis.group) for axis in axes)
            terms += self._terms([rest], axes, self._first_block(names[id(p)]))
        return collected(self.space, terms, self.units)

    def share(self, state: Labelling) -> float:
        """Return the share of multiply-accumulates that some decision changes."""
        total = sum(p.macs for p in state.products)
        free = 0
        for at, product in enumerate(state.products):
            droppable = self.block_at(product.node) is not None
            free += product.macs * (droppable or bool(self._lengths(state, at)) or RESOLUTION in self.space.decisions)
        return free / total if total else 0.0

    def length(self, state: Labelling, value: int, axis: int) -> Linear:
        """Return the length of one axis of a tensor, which is given by its number."""
        labels = state.labels.get(value)
        found = self._changing(state, labels, axis % labels.dim()) if labels is not None else []
        return self._linear(found[0]) if found else (state.graph.shapes[value][axis], {})

    def _lengths(self, state: Labelling, at: int) -> list[Axis]:
        """Return the axes that change of one product."""
        return [found for labels, axis in state.products[at].axes for found in self._changing(state, labels, axis)]

    def _changing(self, state: Labelling, labels: Tensor, axis: int) -> list[Axis]:
        """Return an axis of a labelled tensor if decisions change its length."""
        found = [self.grouping.axis_of(labels, axis).only(self.names)] if axis in state.units.varying(labels) else []
        return [axis for axis in found if axis.groups]

    def _terms(self, factors: Sequence[float], axes: Sequence[Axis], depth: tuple[str, int] | None) -> list[Term]:
        lengths = [self._linear(axis) for axis in axes]
        return [Term(tuple(f * c for f in factors), powers, depth) for powers, c in multiplied(lengths).items()]

    def _linear(self, axis: Axis) -> Linear:
        constant, each = axis.count()
        return constant, {self.names[g]: n for g, n in each.items()}

    def block_at(self, node: int) -> tuple[str, int] | None:
        """Return (decision on depth, blocks from which on it is there) of an operation, None if it always is."""
        return self._least(block_where(self.depths, lambda _, span: span[0] <= node < span[1]))

    def _least(self, place: tuple[str, int] | None) -> tuple[str, int] | None:
        if place is None or place[1] < self.depths[place[0]].fewest:
            return None
        return place[0], place[1] + 1

    def _first_block(self, names: Sequence[str]) -> tuple[str, int] | None:
        """Return from which depth on a parameter is there, by any of its names; None where it always is.

        And where it is in several rows of blocks: it is counted too often then, rather than too seldom.
        """
        places = [self._block_of(name) for name in names]
        found = [place for place in places if place is not None]
        return min(found) if len(found) == len(places) and len({name for name, _ in found}) == 1 else None

    def _block_of(self, parameter: str) -> tuple[str, int] | None:
        """Return from which depth on a parameter is there by this name; None where the name outlives its block.

        A block is taken out of the row that holds it: by whatever name that is reached, but not elsewhere.
        """
        parts, module = parameter.split("."), self.model.get_submodule
        around = {(id(module(".".join(parts[:at]))), name) for at, name in enumerate(parts[:-1])}

        def inside(block: str, span: tuple[int, int]) -> bool:
            row, _, name = block.rpartition(".")
            return (id(module(row)), name) in around

        return self._least(block_where(self.depths, inside))
