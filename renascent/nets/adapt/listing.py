"""The layers of an adapted model, as costs that look at one layer after the other read them (latency tables).

Convolutions, linear layers, pooling and residual sums are listed; products of two computed tensors, as in attention,
are not: multiply-accumulates and parameters are counted exactly by `Adapted.macs` and `Adapted.params` instead.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from renascent.nets.adapt.counting import Costs
from renascent.nets.adapt.labelling import Labelling
from renascent.nets.adapt.layers import CONVOLUTIONS
from renascent.nets.adapt.polynomial import Linear
from renascent.nets.adapt.trace import Graph, Node, refs
from renascent.nets.sizes.layers import Layer, Quantity, chosen, present
from renascent.nets.sizes.resolution import RESOLUTION

POOLS = ("max_pool2d", "avg_pool2d")


@dataclass(frozen=True)
class Entry:
    """One layer. about: what it has beside sizes: its name, kind, kernel, stride and groups.

    inputs, outputs: its channels, as lengths of axes in units of decisions.
    sizes: (h, w) of its input map at each resolution.  depth: (decision, blocks from which on it is there).
    """

    about: Mapping[str, Any]
    inputs: Linear
    outputs: Linear
    sizes: tuple[tuple[int, int], ...]
    depth: tuple[str, int] | None


def entries(states: Sequence[Labelling], costs: Costs) -> tuple[Entry, ...]:
    """Return what is listed of a model. states: its labels at each resolution."""
    found = []
    for at, node in enumerate(states[0].graph.nodes):
        about = _about(states[0].graph, node)
        if about is not None:
            # linear layers run for every token, or every place of a map: as a convolution of one place
            axis, size = (-1, _tokens) if node.name == "linear" else (1, _map)
            values = refs(node.args)[0].value, refs(node.result)[0].value
            inputs, outputs = (costs.length(states[0], value, axis) for value in values)
            sizes = tuple(size(state.graph.shapes[refs(state.graph.nodes[at].args)[0].value]) for state in states)
            found.append(Entry({"name": node.module, **about}, inputs, outputs, sizes, costs.block_at(at)))
    return tuple(found)


def _about(graph: Graph, node: Node) -> dict[str, Any] | None:
    """Return what the layer of an operation has beside name and sizes; None for an operation that is none."""
    if node.name not in (*CONVOLUTIONS, "linear", "add", *POOLS):
        return None
    given, returned = (graph.shapes[refs(tree)[0].value] for tree in (node.args, node.result))
    if node.name == "linear":
        return {"kind": "linear" if _tokens(given) == (1, 1) else "conv"}
    if len(given) != 4 or len(returned) != 4:
        return None
    if node.name in CONVOLUTIONS:
        groups = int(node.argument(6, "groups", 1))
        kernel = graph.shapes[node.argument(1, "weight").value][-1]
        stride = 1 if node.name.startswith("conv_transpose") else _one(node.argument(3, "stride", 1))
        kind, groups = ("depthwise", 1) if groups == given[1] > 1 else ("conv", groups)
        return {"kind": kind, "kernel": kernel, "stride": stride, "groups": groups}
    if node.name in POOLS:
        kernel = _one(node.argument(1, "kernel_size"))
        return {"kind": "pool", "kernel": kernel, "stride": _one(node.argument(2, "stride") or kernel)}
    return {"kind": "add"} if len(refs(node.args)) == 2 and given == returned else None


def _map(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[-2], shape[-1]


def _tokens(shape: tuple[int, ...]) -> tuple[int, int]:
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
        layers.append(Layer(inputs=inputs, outputs=outputs, size=(height, width), presence=presence, **e.about))
    return layers


def _at(values: Mapping[str, Any], resolutions: Sequence[int], sizes: Sequence[int]) -> Quantity:
    if RESOLUTION not in values or len(sizes) == 1:
        return sizes[0]
    return chosen(values[RESOLUTION], dict(zip(resolutions, sizes, strict=True)))


def _length(length: Linear, values: Mapping[str, Any], scales: Mapping[str, int]) -> Quantity:
    """Return a constant plus a factor times each decision; the sum of several random ones is independent of them."""
    constant, factors = length
    total: Any = int(constant)
    for name, factor in factors.items():
        total = total + values[name] // scales[name] * int(factor)
    return total  # type: ignore[no-any-return]
