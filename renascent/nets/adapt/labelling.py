"""From what a model computes to which channels belong together: the labels of all its tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from renascent.nets.adapt.trace import Graph, Node, Ref, refs
from renascent.nets.adapt.units import FIXED, NEUTRAL, Units, along_axis, neutral, packed


@dataclass(frozen=True)
class Site:
    """One axis of a parameter or buffer, and the unit at each place of it: labels (size,).

    makes: the axis makes channels: the outputs of a layer.  reads: it takes them: the inputs of a layer.
    """

    name: str
    axis: int
    labels: Tensor
    makes: bool = False
    reads: bool = False


@dataclass(frozen=True)
class Product:
    """Multiply-accumulates in proportion to the length of some axes. node: place of the operation in the graph.

    axes: labels of a tensor, and one of its axes.
    """

    macs: int
    axes: tuple[tuple[Tensor, int], ...]
    node: int


class Labelling:
    """The labels of one graph while they are worked out. The rules of operations read and write them.

    heads: labels of units that are heads of attention: counted as such, not as the channels they are made of.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.units = graph, Units()
        self.labels: dict[int, Tensor] = {}
        self.sites: dict[tuple[str, int], Site] = {}
        self.products: list[Product] = []
        self.heads: list[Tensor] = []
        self.at = 0
        shape = graph.shapes[graph.given]
        single = len(shape) > 1 and shape[1] == 1
        self.labels[graph.given] = torch.tensor(NEUTRAL if single else FIXED).expand(shape)

    def of(self, ref: Ref) -> Tensor:
        """Return the labels of a tensor; those of a parameter that no layer has claimed are new units."""
        if ref.value not in self.labels:
            self.labels[ref.value] = self._first(ref.value)
        return self.labels[ref.value]

    def _first(self, value: int) -> Tensor:
        shape, name = self.graph.shapes[value], self.graph.named.get(value)
        if name is None or value in self.graph.whole or not shape:
            return neutral(shape)
        known = [site for (owner, _), site in self.sites.items() if owner == name]
        for site in known:
            self.units.fix(site.labels, f"{name} is used in two ways")
        if known:
            return torch.tensor(FIXED).expand(shape)
        count = int(torch.Size(shape).numel())
        return packed(self.units.fresh(count).reshape(shape))

    def put(self, node: Node, labels: Tensor) -> None:
        """Set the labels of what an operation returned, given in that shape."""
        for ref in refs(node.result):
            fits = labels.shape == self.graph.shapes[ref.value]
            self.labels[ref.value] = labels if fits else neutral(self.graph.shapes[ref.value])

    def put_each(self, result: Any, labels: Any) -> None:
        """Set the labels of several returned tensors with the same nesting."""
        for ref, own in zip(refs(result), tree_flatten(labels)[0], strict=True):
            self.labels[ref.value] = packed(own)

    def floating(self, tree: Any) -> list[Ref]:
        """Return the tensors of numbers among nested arguments, without indices and masks."""
        return [ref for ref in refs(tree) if ref.value not in self.graph.whole]

    def as_labels(self, tree: Any) -> Any:
        """Return nested arguments with labels in the place of tensors; indices stay themselves."""

        def one(leaf: Any) -> Any:
            if not isinstance(leaf, Ref):
                return leaf
            held = self.graph.whole.get(leaf.value)
            return self.of(leaf).detach() if held is None else held

        return tree_map(one, tree, is_leaf=lambda leaf: isinstance(leaf, Ref))

    def parameter(self, ref: Any) -> str | None:
        """Return the name of a tensor that is a parameter or buffer itself, None for one that was computed."""
        if not isinstance(ref, Ref) or ref.value in self.labels:
            return None
        return self.graph.named.get(ref.value)

    def site(self, name: str, axis: int, labels: Tensor, *, makes: bool = False, reads: bool = False) -> None:
        """Say which units are along an axis of a parameter; a second use ties them to those of the first."""
        held = self.sites.get((name, axis))
        if held is None:
            self.sites[name, axis] = Site(name, axis, labels, makes, reads)
        else:
            self.units.tie(held.labels, labels, f"{name} is shared with a layer that cannot change")

    def each(self, ref: Any, labels: Tensor) -> None:
        """Say which units are along a vector that has one number a channel: a bias, a mean."""
        name = self.parameter(ref)
        if name is not None:
            self.site(name, 0, labels)
        elif isinstance(ref, Ref):
            self.units.tie(self.of(ref), labels, "one number a channel is computed")

    def counted(self, macs: int, *axes: tuple[Tensor, int]) -> None:
        """Say how multiply-accumulates of an operation grow."""
        if macs:
            self.products.append(Product(macs, axes, self.at))

    def refuse(self, node: Node, reason: str) -> None:
        """Fix all that an operation touches."""
        given = [self.of(ref) for ref in self.floating((node.args, dict(node.kwargs)))]
        for labels in given:
            self.units.fix(labels, reason)
        touched = any(bool((labels != NEUTRAL).any()) for labels in given)
        for ref in refs(node.result):
            shape = self.graph.shapes[ref.value]
            self.labels[ref.value] = torch.tensor(FIXED).expand(shape) if touched else neutral(shape)


Rule = Callable[[Labelling, Node], None]


def label(graph: Graph, rules: Mapping[str, Rule]) -> Labelling:
    """Work out the labels of a whole graph. An operation without a rule fixes all that it touches."""
    state = Labelling(graph)
    for state.at, node in enumerate(graph.nodes):
        _follow(state, node, rules.get(node.name))
    for ref in refs(graph.returned):
        state.units.fix(state.of(ref), "the model's output")
    _straighten(state)
    _claim(state)
    return state


def _follow(state: Labelling, node: Node, rule: Rule | None) -> None:
    """Work out the labels of what an operation returns, and see to it that all its products are counted."""
    returned, before = refs(node.result), len(state.products)
    if returned and all(ref.value in state.graph.whole for ref in returned):
        return  # indices and masks have nothing to drop
    try:
        if rule is None:
            state.refuse(node, f"the operation '{node.name}' is not understood")
        else:
            rule(state, node)
    except (RuntimeError, IndexError, TypeError, ValueError, AttributeError, NotImplementedError):
        # an argument that a rule does not foresee
        del state.products[before:]
        state.refuse(node, f"the operation '{node.name}' is not understood with such arguments")
    state.counted(node.macs - sum(product.macs for product in state.products[before:]))


def _claim(state: Labelling) -> None:
    """Make sites of parameters that no layer claimed: scales, embeddings of positions, tables; fix what no file has."""
    for value, name in state.graph.named.items():
        labels = state.labels.get(value)
        if labels is not None and value not in state.graph.whole:
            for axis in state.units.varying(labels):
                state.sites.setdefault((name, axis), Site(name, axis, along_axis(labels, axis)))
    for (name, _), site in state.sites.items():
        if name in state.graph.unsaved:  # a network that is made anew would have those of other channels
            state.units.fix(site.labels, f"'{name}' is not saved with the weights (persistent=False)")


def _straighten(state: Labelling) -> None:
    """Tie until what is kept of every tensor is a block: no two axes along which units differ.

    Of several, the last stays: in a shuffle of channels in groups, the places within a group.
    """
    again = True
    while again:
        again = False
        for labels in {id(t): t for t in state.labels.values()}.values():
            axes = state.units.varying(labels)
            for axis in axes[:-1]:
                state.units.along(labels, axis)
                again = True
