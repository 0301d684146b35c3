"""The layers of a size space, from its plain network: the widest one runs once, on a map without numbers.

The program that is written down is read for the values of all decisions, whatever kind of number these are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from renascent.core.errors import UserError
from renascent.nets.sizes.layers import Layer, Quantity, RandomWidth, chosen, present, widest
from renascent.nets.sizes.resolution import map_size
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


@dataclass(frozen=True)
class Program:
    """A network of sizes, step by step."""

    steps: tuple[Step, ...]

    def layers(self, values: Mapping[str, Any], shape: tuple[int, int, int], classes: int) -> list[Layer]:
        """List the layers for the values of all decisions and an input of `shape` (channels, h, w)."""
        maps: list[tuple[Quantity, Quantity, Quantity]] = [(shape[0], *map_size(values, shape))]
        there: dict[tuple[str, int] | None, Any] = {None: 1}
        found = []
        for step in self.steps:
            inputs, height, width = maps[step.inputs[0]]
            if step.ends:
                decision, reached = step.ends
                inputs = chosen(values[decision], {option: maps[k][0] for option, k in reached.items()})
            if step.about is None:
                maps.append((inputs, height, width))
                continue
            if len(step.inputs) > 1:
                inputs = widest(*(maps[k][0] for k in step.inputs))
            if step.depth and step.depth not in there:
                there[step.depth] = present(values[step.depth[0]], step.depth[1])
            outputs, size = _width(step.width, values, inputs), (height, width)
            if step.about["kind"] == "linear":
                outputs, size = classes, (1, 1)
            held = tuple(maps[k] for k in step.held)
            presence = there[step.depth]
            layer = Layer(inputs=inputs, outputs=outputs, size=size, presence=presence, held=held, **step.about)
            maps.append((outputs, *layer.size_out))
            found += _unequal(layer) if step.conditional else [layer]
        return found


def trace(net: nn.Module) -> Program:
    """Run a network on a map without numbers, and write down what it does. The network is no network afterwards.

    It has to have all layers that any architecture has. Raises UserError where it computes a map by other
    means than the modules of `nets.sizes.units`, sums, pooling and ReLU.
    """
    recorder = _Recorder(net)
    net(Map(recorder, 0))
    last = {k: at for at, step in enumerate(recorder.steps) for k in step.inputs}
    found = []
    for at, step in enumerate(recorder.steps):
        held = tuple(k for k in range(at + 1) if last.get(k, at) > at and k not in step.inputs)
        found.append(replace(step, held=held))
    return Program(tuple(found))


@dataclass(frozen=True)
class Map:
    """What stands for a map while a network is traced. number: the map's, as steps name it."""

    recorder: _Recorder
    number: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The same for all, so that nothing is padded."""
        return (1, 1, 1, 1)

    def __add__(self, other: Map) -> Map:
        return self.recorder.between("add", self, other, active=False)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Map:
        recorder: _Recorder = args[0].recorder
        return recorder.function(func.__name__, *args, **(kwargs or {}))


class _Noted(nn.Module):
    """A module that is written down when it is called."""

    def __init__(self, write: Callable[[Map], Map]) -> None:
        super().__init__()
        self.write = write

    def forward(self, x: Map) -> Map:
        return self.write(x)


class _Recorder:
    """Writes down the layers of a network while it runs, and the functions between them."""

    def __init__(self, net: nn.Module) -> None:
        self.steps: list[Step] = []
        self.running: list[tuple[str, nn.Module]] = []
        self.depths: dict[str, tuple[str, int]] = {}
        self.ends: dict[str, Map] = {}
        for name, module in list(net.named_modules()):
            runs = module
            if isinstance(module, Unit | Norm | Classifier):
                runs = _Noted(partial(self.layer, name, module))
                net.set_submodule(name, runs)
            runs.register_forward_pre_hook(partial(self._enter, name))
            runs.register_forward_hook(partial(self._leave, name))
            if isinstance(module, Stage) and module.decision:
                for block in range(len(module.blocks)):
                    least = min(depth for depth, count in module.counts.items() if count > block)
                    self.depths[f"{name}.blocks.{block}"] = module.decision, least

    def layer(self, name: str, module: Unit | Norm | Classifier, x: Map) -> Map:
        """Write down what a module of one layer does."""
        if isinstance(module, Norm):
            self._activate(x)
            return self._note((x,), {"name": name, "kind": "norm"})
        if isinstance(module, Classifier):
            return self._note((x,), {"name": f"{name}.linear", "kind": "linear"})
        conv, deep = module.conv, module.conv.groups > 1
        about = {
            "name": name,
            "kind": "depthwise" if deep else "conv",
            "kernel": conv.kernel_size[0],
            "stride": conv.stride[0],
            "norm": isinstance(module.norm, nn.BatchNorm2d),
            "active": not isinstance(module.active, nn.Identity),
        }
        conditional = any(isinstance(around, Skip) for _, around in self.running)
        width = None if deep else module.decision or conv.out_channels
        return self._note((x,), about, width=width, conditional=conditional)

    def function(self, name: str, x: Map, *args: Any, stride: int | None = None, **_: Any) -> Map:
        """Write down what a function of `torch.nn.functional` does."""
        if name in ("relu", "relu6"):
            self._activate(x)
            return self._note((x,))
        if name in ("avg_pool2d", "max_pool2d"):
            kernel, step = (*args, stride)[:2]
            return self.between("pool", x, kernel=kernel, stride=step or kernel)
        where = self.running[-1][0]
        raise UserError(f"'{name}' in '{where}' of the network is no layer: write it as a module of nets.sizes.units")

    def between(self, kind: str, *inputs: Map, **about: Any) -> Map:
        """Write down a layer that is no unit; it is named after the module that runs."""
        where, module = self.running[-1]
        name = where if isinstance(module, nn.MaxPool2d | nn.AvgPool2d) else f"{where}.{kind}".lstrip(".")
        return self._note(inputs, {"name": name, "kind": kind, **about})

    def _note(self, inputs: tuple[Map, ...], about: dict[str, Any] | None = None, **others: Any) -> Map:
        depth = next((self.depths[name] for name, _ in self.running if name in self.depths), None)
        self.steps.append(Step(tuple(x.number for x in inputs), about, depth=depth, **others))
        return Map(self, len(self.steps))

    def _activate(self, x: Map) -> None:
        """Say of the layer that made a map that an activation follows it."""
        about = self.steps[x.number - 1].about
        if about is not None:
            about["active"] = True

    def _enter(self, name: str, module: nn.Module, args: Any) -> None:
        self.running.append((name, module))

    def _leave(self, name: str, module: nn.Module, args: Any, out: Map) -> Map:
        self.running.pop()
        self.ends[name] = out
        if not isinstance(module, Stage) or module.decision is None:
            return out
        reached = [args[0], *(self.ends[f"{name}.blocks.{k}"] for k in range(len(module.blocks)))]
        return self._note((out,), ends=(module.decision, {d: reached[n].number for d, n in module.counts.items()}))


def _width(width: str | int | None, values: Mapping[str, Any], inputs: Quantity) -> Quantity:
    if isinstance(width, str):
        found: Quantity = values[width]
        return found
    return inputs if width is None else width


def _unequal(layer: Layer) -> list[Layer]:
    """Return a layer that is there only where its widths are unequal; under gates, one for each pair of widths."""
    inputs, outputs = layer.inputs, layer.outputs
    if not isinstance(inputs, RandomWidth) and not isinstance(outputs, RandomWidth):
        return [replace(layer, presence=layer.presence * (inputs != outputs))]
    found = []
    for a, chance in _outcomes(inputs):
        part = layer.presence * chance
        pairs = ((b, part * other) for b, other in _outcomes(outputs) if a != b)
        found += [replace(layer, inputs=a, outputs=b, presence=both) for b, both in pairs]
    return found


def _outcomes(number: Quantity) -> list[tuple[int, Any]]:
    if isinstance(number, RandomWidth):
        return list(zip(number.values.tolist(), number.probabilities.unbind(), strict=True))
    assert not isinstance(number, np.ndarray), "arrays and random numbers do not mix"
    return [(number, 1)]
