"""The layers of a network with decided places: what is there in any case, and what each option puts there.

The plain networks in which every place has its first option, its second, and so on are each run once, on one input.
Every operation belongs to the place whose module ran it, so that a decision's layers are those at all its places.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from renascent.core.arch import Arch
from renascent.core.errors import UserError
from renascent.core.space import Space
from renascent.nets.adapt.trace import Graph, Node, refs, trace
from renascent.nets.cells.ops import Residual, together
from renascent.nets.sizes.layers import Layer

ACTIVATIONS = ("relu", "relu6", "hardtanh")

WINDOW = {3: "stride", 5: "dilation", 6: "groups"}
"""Place of an argument of a convolution -> its name."""

POOLS = ("avg_pool2d", "max_pool2d")


class Listing(NamedTuple):
    """fixed: the layers that every architecture has.  options: decision -> the layers of each of its options."""

    fixed: tuple[Layer, ...]
    options: Mapping[str, tuple[tuple[Layer, ...], ...]]


class Placed:
    """A `place` that puts what an architecture has there, and remembers which module belongs to which decision."""

    def __init__(self, arch: Arch) -> None:
        self.arch = arch
        self.decisions: dict[nn.Module, str] = {}

    def __call__(self, decision: str, build: Any) -> nn.Module:
        module = together(self.arch[decision], build)
        self.decisions[module] = decision
        return module

    def owners(self, net: nn.Module) -> dict[str, str]:
        """Return the decision of each module of `net` that stands at a place, a shortcut around it included."""
        insides = {name: m.inside if isinstance(m, Residual) else m for name, m in net.named_modules()}
        return {name: self.decisions[inside] for name, inside in insides.items() if inside in self.decisions}


def listing(space: Space, build: Any, shape: tuple[int, int, int]) -> Listing:
    """List the layers for an input of `shape` (channels, h, w). build: place -> the plain network.

    Raises UserError for a network that multiplies by other means than convolutions and linear layers.
    """
    options: dict[str, list[tuple[Layer, ...]]] = {name: [] for name in space.decisions}
    fixed: tuple[Layer, ...] = ()
    for k in range(max(space.counts)):
        picked = {name: space.options(name)[min(k, n - 1)] for name, n in zip(options, space.counts, strict=True)}
        found: dict[str | None, list[Layer]] = {}
        for owner, layer in ran(Placed(Arch(picked)), build, shape):
            found.setdefault(owner, []).append(layer)
        fixed = tuple(found.get(None, ()))
        for name, count in zip(options, space.counts, strict=True):
            if k < count:
                options[name].append(tuple(found.get(name, ())))
    return Listing(fixed, {name: tuple(layers) for name, layers in options.items()})


@torch.no_grad()
def ran(place: Placed, build: Any, shape: tuple[int, int, int]) -> list[tuple[str | None, Layer]]:
    """Run the plain network of one architecture, and return its layers as `layers_of` does."""
    with torch.device("meta"):
        net = build(place)
    net.to_empty(device="cpu")  # as it is, meta would take many times as long as computing
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.zero_()
    return layers_of(trace(net, shape, batch=1), place.owners(net))


def layers_of(graph: Graph, owners: Mapping[str, str]) -> list[tuple[str | None, Layer]]:
    """Return the layers of a network that ran, in order, each with the decision that it belongs to.

    A normalisation or activation is that of the convolution before it, unless another decision brought it.
    """
    made: dict[int, int] = {}  # number of a tensor -> the layer that made it, until another one has
    found: list[tuple[str | None, Layer]] = []
    for node in graph.nodes:
        out, given = refs(node.result)[0].value, refs(node.args)[0].value
        owner, last = _owner(node.module, owners), made.get(given)
        before = found[last][1] if last is not None and found[last][0] == owner else None
        if last is not None and before is not None and node.name == "batch_norm" and _is_bare(before):
            found[last], made[out] = (owner, replace(before, norm=True)), last
        elif node.name in ACTIVATIONS:
            if last is not None and before is not None:
                found[last] = owner, replace(before, active=True)
        elif (layer := _layer(node, graph, out)) is not None:
            made[out] = len(found)
            found.append((owner, layer))
        elif node.macs:
            raise UserError(f"'{node.name}' in '{node.module}' of the network is no layer whose cost is known")
    return found


def _is_bare(layer: Layer) -> bool:
    """Return whether a layer is a convolution without normalisation and activation."""
    return layer.kind in ("conv", "depthwise") and not layer.norm and not layer.active


def _layer(node: Node, graph: Graph, out: int) -> Layer | None:
    shapes = [graph.shapes[ref.value] for ref in refs(node.args)]
    about: dict[str, Any] = {"name": node.module, "norm": False, "active": False, "outputs": graph.shapes[out][1]}
    if node.name == "linear":
        return Layer(kind="linear", inputs=shapes[0][1], size=(1, 1), **about)
    if len(shapes[0]) != 4:
        return None
    about |= {"inputs": shapes[0][1], "size": shapes[0][2:]}
    if node.name == "conv2d":
        stride, dilation, groups = (_side(node.argument(k, name, 1)) for k, name in WINDOW.items())
        height, width = shapes[1][-2:]
        if height != width:  # listed as the 1x1 convolution of its window's places, which multiplies the same
            about |= {"inputs": about["inputs"] * height * width, "size": graph.shapes[out][2:]}
            return Layer(kind="conv", groups=groups, **about)
        deep = groups == about["inputs"] == about["outputs"]
        about |= {"kernel": shapes[1][-1], "stride": stride, "dilation": dilation}
        return Layer(kind="depthwise" if deep else "conv", groups=1 if deep else groups, **about)
    if node.name in POOLS:
        kernel = node.argument(1, "kernel_size")
        return Layer(kind="pool", kernel=_side(kernel), stride=_side(node.argument(2, "stride") or kernel), **about)
    if node.name == "add" and len(shapes) == 2:
        return Layer(kind="add", **about)
    return Layer(kind="norm", **about) if node.name == "batch_norm" else None


def _side(number: Any) -> int:
    return int(number[0]) if isinstance(number, tuple | list) else int(number)


def _owner(module: str, owners: Mapping[str, str]) -> str | None:
    """Return the decision of the place that a module is in; None outside of all."""
    return next((owners[name] for name in _paths(module) if name in owners), None)


def _paths(module: str) -> Iterator[str]:
    """Yield the names of the modules that a module is in, from itself to the outermost."""
    parts = module.split(".")
    return (".".join(parts[:k]) for k in range(len(parts), 0, -1))
