"""The layers of an adapted model, as costs that look at one layer after the other read them (latency tables).

Convolutions, linear layers, pooling and residual sums are listed; products of two computed tensors, as in attention,
are not: multiply-accumulates and parameters are counted exactly by `Adapted.macs` and `Adapted.params` instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from renascent.nets.adapt.groups import Grouping
from renascent.nets.adapt.labelling import Labelling
from renascent.nets.adapt.layers import CONVOLUTIONS
from renascent.nets.adapt.polynomial import Linear
from renascent.nets.adapt.trace import Node, refs
from renascent.nets.sizes.layers import Layer, Quantity, RandomWidth, chosen, present
from renascent.nets.sizes.resolution import RESOLUTION

POOLS = ("max_pool2d", "avg_pool2d")


@dataclass(frozen=True)
class Entry:
    """One layer. inputs, outputs: its channels, as lengths of axes in units of decisions.

    sizes: (h, w) of its input map at each resolution.  depth: (decision, blocks from which on it is there).
    """

    name: str
    kind: str
    inputs: Linear
    outputs: Linear
    sizes: tuple[tuple[int, int], ...]
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    depth: tuple[str, int] | None = None


@dataclass(frozen=True)
class Lengths:
    """How long axes are. names: number of a group -> its decision; other groups are whole."""

    grouping: Grouping
    names: Mapping[int, str]

    def of(self, state: Labelling, value: int, axis: int) -> Linear:
        """Return the length of one axis of a tensor."""
        labels = state.labels.get(value)
        size = state.graph.shapes[value][axis]
        if labels is None or axis % labels.dim() not in state.units.varying(labels):
            return size, {}
        gone = frozenset(range(len(self.grouping.groups))) - frozenset(self.names)
        constant, each = self.grouping.axis_of(labels, axis % labels.dim()).without(gone).count()
        return constant, {self.names[g]: count for g, count in each.items()}


def entries(
    states: Sequence[Labelling], lengths: Lengths, depth_of: Callable[[int], tuple[str, int] | None]
) -> tuple[Entry, ...]:
    """Return what is listed of a model. states: its labels at each resolution.

    depth_of: place of an operation -> `Entry.depth`.
    """
    found = []
    for at, node in enumerate(states[0].graph.nodes):
        if node.name in (*CONVOLUTIONS, "linear", "add", *POOLS):
            entry = _entry(states, node, at, lengths, depth_of(at))
            found += [entry] if entry else []
    return tuple(found)


def _entry(
    states: Sequence[Labelling], node: Node, at: int, lengths: Lengths, depth: tuple[str, int] | None
) -> Entry | None:
    state, graph = states[0], states[0].graph
    given, returned = refs(node.args)[0].value, refs(node.result)[0].value
    if node.name == "linear":
        # for every token, or every place of a map: a convolution of one place
        sizes = tuple(_tokens(other, at) for other in states)
        kind = "linear" if sizes[0] == (1, 1) else "conv"
        return Entry(
            node.module, kind, lengths.of(state, given, -1), lengths.of(state, returned, -1), sizes, depth=depth
        )
    if len(graph.shapes[given]) != 4 or len(graph.shapes[returned]) != 4:
        return None
    inputs, outputs = lengths.of(state, given, 1), lengths.of(state, returned, 1)
    sizes = tuple(_map(other, at) for other in states)
    if node.name in CONVOLUTIONS:
        groups = int(node.argument(6, "groups", 1))
        kernel = graph.shapes[node.argument(1, "weight").value][-1]
        turned = node.name.startswith("conv_transpose")
        stride = 1 if turned else _one(node.argument(3, "stride", 1))
        depthwise = groups == graph.shapes[given][1] > 1
        kind, groups = ("depthwise", 1) if depthwise else ("conv", groups)
        return Entry(node.module, kind, inputs, outputs, sizes, kernel, stride, groups, depth)
    if node.name in POOLS:
        kernel = _one(node.argument(1, "kernel_size"))
        stride = _one(node.argument(2, "stride") or kernel)
        return Entry(node.module, "pool", inputs, outputs, sizes, kernel, stride, depth=depth)
    same = len(refs(node.args)) == 2 and graph.shapes[given] == graph.shapes[returned]
    return Entry(node.module, "add", inputs, outputs, sizes, depth=depth) if same else None


def _map(state: Labelling, at: int) -> tuple[int, int]:
    height, width = state.graph.shapes[refs(state.graph.nodes[at].args)[0].value][-2:]
    return height, width


def _tokens(state: Labelling, at: int) -> tuple[int, int]:
    shape = state.graph.shapes[refs(state.graph.nodes[at].args)[0].value]
    return math.prod(shape[1:-1]), 1


def _one(number: Any) -> int:
    return int(number[0]) if isinstance(number, tuple | list) else int(number)


def listed(
    found: Sequence[Entry], values: Mapping[str, Any], scales: Mapping[str, int], resolutions: Sequence[int]
) -> list[Layer]:
    """Return the layers for the values of all decisions. scales: what the value of a width counts for one unit."""
    layers = []
    for e in found:
        height, width = (_at(values, resolutions, [size[k] for size in e.sizes]) for k in range(2))
        presence = present(values[e.depth[0]], e.depth[1]) if e.depth else 1
        inputs, outputs = _length(e.inputs, values, scales), _length(e.outputs, values, scales)
        layer = Layer(
            name=e.name,
            kind=e.kind,
            inputs=inputs,
            outputs=outputs,
            size=(height, width),
            kernel=e.kernel,
            stride=e.stride,
            groups=e.groups,
            presence=presence,
        )
        layers.append(layer)
    return layers


def _at(values: Mapping[str, Any], resolutions: Sequence[int], sizes: Sequence[int]) -> Quantity:
    if RESOLUTION not in values or len(sizes) == 1:
        return sizes[0]
    return chosen(values[RESOLUTION], dict(zip(resolutions, sizes, strict=True)))


def _length(length: Linear, values: Mapping[str, Any], scales: Mapping[str, int]) -> Quantity:
    """Return a constant plus a factor times each decision; the sum of several random ones is independent of them."""
    constant, factors = length
    total: Quantity = int(constant)
    for name, factor in factors.items():
        total = _sum(total, _times(values[name], int(factor), scales[name]))
    return total


def _times(value: Quantity, factor: int, scale: int) -> Quantity:
    if isinstance(value, RandomWidth):
        return RandomWidth(value.values // scale * factor, value.probabilities)
    return value // scale * factor


def _sum(a: Quantity, b: Quantity) -> Quantity:
    if isinstance(a, RandomWidth) and isinstance(b, RandomWidth):
        values, where = np.unique(np.add.outer(a.values, b.values), return_inverse=True)
        both = torch.outer(a.probabilities, b.probabilities).flatten()
        index = torch.from_numpy(where.reshape(-1)).to(both.device)
        return RandomWidth(values, both.new_zeros(len(values)).index_add(0, index, both))
    if isinstance(a, RandomWidth):
        assert not isinstance(b, RandomWidth)
        return RandomWidth(a.values + b, a.probabilities)
    return RandomWidth(b.values + a, b.probabilities) if isinstance(b, RandomWidth) else a + b
