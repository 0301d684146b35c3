"""The layers of a size space, from its plain network: the widest one runs once, and every operation is written down.

The program that is written down is read for the values of all decisions, whatever kind of number these are.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from renascent.core.errors import UserError
from renascent.nets.adapt.trace import Graph, Node, refs
from renascent.nets.adapt.trace import trace as run
from renascent.nets.sizes.layers import Layer, Quantity, RandomWidth, chosen, present, widest
from renascent.nets.sizes.resolution import RESOLUTION
from renascent.nets.sizes.units import Classifier, Norm, Skip, Stage, Unit


@dataclass(frozen=True)
class Step:
    """How one map comes of others, which are given by their numbers: that of the image is 0, that of step k is k + 1.

    inputs: what it reads.
    about: what its layer has beside sizes; None where it is no layer: an activation, the end of a stage.
    width: the decision that sets its channels, or their number; None where they are those of its input.
    depth: the decision and the least number that it takes for the step to be there.
    ends: of a stage, its decision, and for each option the map that it gives.
    conditional: whether it is there only where it changes the width.
    held: maps that are read later.
    """

    inputs: tuple[int, ...]
    about: dict[str, Any] | None = None
    width: str | int | None = None
    depth: tuple[str, int] | None = None
    ends: tuple[str, dict[int, int]] | None = None
    conditional: bool = False
    held: tuple[int, ...] = ()


def layers_of(
    steps: Sequence[Step], values: Mapping[str, Any], shape: tuple[int, int, int], classes: int
) -> list[Layer]:
    """List the layers for the values of all decisions and an input of `shape` (channels, h, w)."""
    side = values.get(RESOLUTION)
    maps: list[tuple[Quantity, Quantity, Quantity]] = [shape if side is None else (shape[0], side, side)]
    there: dict[tuple[str, int] | None, Any] = {None: 1}
    found = []
    for step in steps:
        inputs, height, width = maps[step.inputs[0]]
        if step.ends:
            decision, reached = step.ends
            inputs = chosen(values[decision], {option: maps[k][0] for option, k in reached.items()})
        if step.about is None:
            maps.append((inputs, height, width))
            continue
        inputs = widest(*(maps[k][0] for k in step.inputs))
        if step.depth and step.depth not in there:
            there[step.depth] = present(values[step.depth[0]], step.depth[1])
        outputs: Any = inputs if step.width is None else step.width
        if isinstance(outputs, str):
            outputs = values[outputs]
        size = height, width
        if step.about["kind"] == "linear":
            outputs, size = classes, (1, 1)
        held = tuple(maps[k] for k in step.held)
        presence = there[step.depth]
        layer = Layer(inputs=inputs, outputs=outputs, size=size, presence=presence, held=held, **step.about)
        maps.append((outputs, *layer.size_out))
        found += _unequal(layer) if step.conditional else [layer]
    return found


def trace(net: nn.Module) -> tuple[Step, ...]:
    """Run a network of one input channel once, and write down what it does.

    It has to have all layers that any architecture has. Raises UserError where it computes a map by other
    means than the modules of `nets.sizes.units`, sums, pooling and ReLU.
    """
    steps = _Writer(net, run(net, (1, 32, 32))).steps
    last = {k: at for at, step in enumerate(steps) for k in step.inputs}
    held = ((k for k in range(at + 1) if last.get(k, at) > at and k not in s.inputs) for at, s in enumerate(steps))
    return tuple(replace(step, held=tuple(maps)) for step, maps in zip(steps, held, strict=True))


class _Writer:
    """Turns the operations that a network ran into the steps of a program.

    maps: number of a tensor in the graph -> that of its map.  depths: module of a block -> `Step.depth`.
    node, inputs: the operation at hand, and the maps that it reads.
    """

    node: Node
    inputs: tuple[int, ...]

    def __init__(self, net: nn.Module, graph: Graph) -> None:
        self.net = net
        self.steps: list[Step] = []
        self.maps: dict[int | None, int] = {graph.given: 0}
        self.depths: dict[str, Any] = {}
        calls = {call.module: call for call in graph.calls}
        stages = {name: m for name, m in net.named_modules() if isinstance(m, Stage) and m.decision}
        for name, stage in stages.items():
            for k in range(len(stage.blocks)):
                least = min(option for option, count in stage.counts.items() if count > k)
                self.depths[f"{name}.blocks.{k}."] = stage.decision, least
        for at, self.node in enumerate(graph.nodes):
            for name, stage in stages.items():
                if calls[name].end == at:
                    blocks = (calls[f"{name}.blocks.{k}"].returned for k in range(len(stage.blocks)))
                    reached = [self.maps[value] for value in (calls[name].given, *blocks)]
                    options = {option: reached[count] for option, count in stage.counts.items()}
                    self.inputs = (reached[-1],)
                    self.maps[calls[name].returned] = self._note(ends=(stage.decision, options))
            (out,) = refs(self.node.result)
            self.inputs = tuple(self.maps[ref.value] for ref in refs(self.node.args) if ref.value in self.maps)
            self.maps[out.value] = self._map(self.node.name, self.node.module)

    def _map(self, name: str, where: str) -> int:
        """Return the map that the operation gives: its input where it belongs to the layer before."""
        place, _, leaf = where.rpartition(".")
        module, around = self.net.get_submodule(where), self.net.get_submodule(place)
        if isinstance(around, Unit) and leaf == "conv":
            return self._unit(place, around) if name == "conv2d" else self.inputs[0]
        if isinstance(around, Norm) and leaf == "norm":
            self._activate()
            return self._note({"name": place, "kind": "norm"})
        if isinstance(around, Unit | Norm) or (isinstance(module, Classifier) and name == "mean"):
            return self.inputs[0]
        if isinstance(around, Classifier):
            return self._note({"name": where, "kind": "linear"})
        if name in ("relu", "relu6"):
            self._activate()
            return self._note()
        if name == "add":
            return self._note({"name": f"{where}.add".lstrip("."), "kind": "add", "active": False})
        if name in ("avg_pool2d", "max_pool2d"):
            kernel, stride = self.node.argument(1, "kernel_size"), self.node.argument(2, "stride")
            own = where if isinstance(module, nn.MaxPool2d | nn.AvgPool2d) else f"{where}.pool".lstrip(".")
            return self._note({"name": own, "kind": "pool", "kernel": kernel, "stride": stride or kernel})
        raise UserError(f"'{name}' in '{where}' of the network is no layer: write it as a module of nets.sizes.units")

    def _unit(self, name: str, unit: Unit) -> int:
        conv, deep = unit.conv, unit.conv.groups > 1
        about = {
            "name": name,
            "kind": "depthwise" if deep else "conv",
            "kernel": conv.kernel_size[0],
            "stride": conv.stride[0],
            "norm": isinstance(unit.norm, nn.BatchNorm2d),
            "active": not isinstance(unit.active, nn.Identity),
        }
        conditional = isinstance(self.net.get_submodule(name.rpartition(".")[0]), Skip)
        return self._note(about, width=None if deep else unit.decision or conv.out_channels, conditional=conditional)

    def _note(self, about: dict[str, Any] | None = None, **others: Any) -> int:
        depth = next((d for block, d in self.depths.items() if f"{self.node.module}.".startswith(block)), None)
        self.steps.append(Step(self.inputs, about, depth=depth, **others))
        return len(self.steps)

    def _activate(self) -> None:
        """Say of the layer that made a map that an activation follows it."""
        about = self.steps[self.inputs[0] - 1].about if self.inputs[0] else None
        if about is not None:
            about["active"] = True


def _unequal(layer: Layer) -> list[Layer]:
    """Return a layer that is there only where its widths are unequal; under gates, one for each pair of widths."""
    inputs, outputs = layer.inputs, layer.outputs
    if not isinstance(inputs, RandomWidth) and not isinstance(outputs, RandomWidth):
        return [replace(layer, presence=layer.presence * (inputs != outputs))]
    return [
        replace(layer, inputs=a, outputs=b, presence=layer.presence * chance * other)
        for (a, chance), (b, other) in itertools.product(_outcomes(inputs), _outcomes(outputs))
        if a != b
    ]


def _outcomes(number: Quantity) -> list[tuple[int, Any]]:
    if isinstance(number, RandomWidth):
        return list(zip(number.values.tolist(), number.probabilities.unbind(), strict=True))
    assert not isinstance(number, np.ndarray), "arrays and random numbers do not mix"
    return [(number, 1)]
