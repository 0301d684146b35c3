"""Networks whose parts are decided: written once, plainly, with places for what is chosen.

A space of `Choice` decisions writes its network by a function that asks `place` for what stands at a decision. The
plain network of one architecture has the chosen option there, the supernet a `Slot`: all options, mixed under the gate
of the present forward pass, each with weights of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from renascent.core.bounds import COSTS
from renascent.core.dependencies import Graph, apart
from renascent.core.errors import UserError
from renascent.core.gates import Gates, moved, with_probes_active
from renascent.core.space import Arch, Space, Subset, Value
from renascent.core.spaces import SpaceConfig, Supernet
from renascent.nets.cells.dilated import hasten
from renascent.nets.cells.listing import Listing, Placed, listing, ran
from renascent.nets.cells.mixed import MixedOp
from renascent.nets.cells.norm import BatchStatisticsNorm
from renascent.nets.cells.ops import NOTHING, Norm, Parallel, together
from renascent.nets.context import GateContext
from renascent.nets.sizes.layers import Layer, is_option

Place = Callable[[str, Callable[[str], nn.Module]], nn.Module]
"""A decision, and what builds one of its options by its name -> the module at that place."""


def chosen(arch: Arch) -> Place:
    """Return what puts at every place the option that an architecture has there, or the sum of several."""
    return lambda decision, build: together(arch[decision], build)


class Slot(nn.Module):
    """All options of one decision, mixed under its gate of the present forward pass. Copies of a cell share a decision.

    options: modules from one input shape to one output shape, in the order of the decision's options.
    number: of the place, among those that share the decision.
    """

    def __init__(self, options: Iterable[nn.Module], decision: str, context: GateContext, number: int) -> None:
        super().__init__()
        self.mixed, self.decision, self.context, self.number = MixedOp(options), decision, context, number
        self.nests = any(isinstance(module, Slot) for module in self.mixed.modules())

    @property
    def closed(self) -> bool:
        """Whether nothing comes of it in this forward pass, neither an output nor a gradient."""
        gate = self.context.gate(self.decision)
        return not (gate.active or gate.probe)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.context.gate(self.decision)
        own = gate if gate.weight.dim() == 1 else replace(gate, weight=gate.weight[self.number])
        if self.nests:  # in the backward pass, in which probes are recomputed, the slots inside have no gates
            own = with_probes_active({self.decision: own})[self.decision]
        return self.mixed(x, own)  # type: ignore[no-any-return]


class ChoiceSpace(SpaceConfig):
    """A space of named options. It says its decisions, its drawing, and its network with places; the rest follows.

    Of `Subset` decisions, `build` is asked for `NOTHING` where none is chosen, and the space prices what is alive.
    """

    @abstractmethod
    def build(self, place: Place, norm: Norm, channels_in: int, classes: int) -> nn.Module:
        """Build the network. place: makes what is decided.  norm: makes a batch normalisation of so many channels."""

    def supernet(self, channels_in: int, classes: int) -> ChoiceSupernet:
        """Build the shared-weight network for (batch, channels_in, h, w) images."""
        return ChoiceSupernet(self, channels_in, classes)

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> nn.Module:
        """Build one architecture with fresh weights. `prune` changes nothing: every option reaches the output."""
        alive = self.space.alive
        return self.build(chosen(Arch(alive(dict(arch))) if alive else arch), nn.BatchNorm2d, channels_in, classes)

    def check_size(self, shape: tuple[int, int, int]) -> None:
        """Raise UserError for images so small that a layer would stride over a map of one pixel."""
        arch = self.reference or Arch({name: self.space.options(name)[0] for name in self.space.decisions})
        layers = ran(Placed(arch), lambda place: self.build(place, nn.BatchNorm2d, shape[0], 2), shape)
        if any(layer.stride > 1 and 1 in layer.size for _, layer in layers):
            raise UserError(
                f"images of {shape[1]} x {shape[2]} are too small for '{self.space.name}': a layer would stride over a "
                "map of one pixel; give larger images, or a network for small ones"
            )

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graphs whose edges its options are; unless it says more, each decision is for itself."""
        return apart({name: self.space.options(name) for name in self.space.decisions})

    @property
    def costs(self) -> tuple[str, ...]:
        """The counted costs that it knows: all that add up."""
        return COSTS[:3]

    def layers(self, values: Mapping[str, Any], shape: tuple[int, int, int], classes: int) -> list[Layer]:
        """List the layers for the names of chosen options, (n,) names, or what gates expect."""
        listed = _listing(self, shape, classes)
        found = list(listed.fixed)
        for decision, row in listed.options.items():
            for option, layers in zip(self.space.options(decision), row, strict=True):
                there = is_option(values[decision], option)
                found += [replace(layer, presence=there) for layer in layers]
        return found

    def fixed_layers(self, shape: tuple[int, int, int], classes: int) -> Sequence[Layer]:
        """List the layers that every architecture has, for data of `shape` (channels, h, w)."""
        return _listing(self, shape, classes).fixed

    def option_layers(self, decision: str, option: str, shape: tuple[int, int, int]) -> Sequence[Layer]:
        """List the layers that an option puts at all places of its decision, for data of `shape` (channels, h, w)."""
        return _listing(self, shape, 1).options[decision][self.space.options(decision).index(option)]

    def terms(
        self, of: Callable[[Layer], float], shape: tuple[int, int, int], classes: int
    ) -> tuple[float, NDArray[np.float64]]:
        """Return a sum over layers as a constant and a term of each option, (decisions, options)."""
        listed = _listing(self, shape, classes)
        table = np.zeros((len(listed.options), max(self.space.counts)))
        for row, options in zip(table, listed.options.values(), strict=True):
            row[: len(options)] = [sum(of(layer) for layer in layers) for layers in options]
        return float(sum(of(layer) for layer in listed.fixed)), table


@lru_cache(maxsize=32)
def _listing(config: ChoiceSpace, shape: tuple[int, int, int], classes: int) -> Listing:
    return listing(config.space, lambda place: config.build(place, nn.BatchNorm2d, shape[0], classes), shape)


def fed(space: Space, gates: Gates) -> Gates:
    """Return gates without the options that lie on no path, so that these are not computed. A probe makes a path."""
    if space.alive is None:
        return gates
    opened = {name: {*gates[name].active, *gates[name].probe} for name in space.decisions}
    values: dict[str, Value] = {
        name: tuple(space.options(name)[k] for k in sorted(row)) for name, row in opened.items()
    }
    found = dict(gates)
    for name, there in space.alive(values).items():
        if isinstance(there, tuple) and there != values[name]:
            gate, options = gates[name], space.options(name)
            active, probe = (tuple(k for k in row if options[k] in there) for row in (gate.active, gate.probe))
            found[name] = replace(gate, active=active, probe=probe)
    return found


class ChoiceSupernet(Supernet):
    """A space of `Choice` decisions with shared weights: every option has its own, all else is common.

    Batch normalisation uses batch statistics, training or not.
    """

    def __init__(self, config: ChoiceSpace, channels_in: int, classes: int) -> None:
        super().__init__()
        self.config, self.space = config, config.space
        self.channels_in, self.classes = channels_in, classes
        self.context, self.slots = GateContext(self.space), Counter[str]()
        self.net = config.build(self._slot, BatchStatisticsNorm, channels_in, classes)
        hasten(self.net)

    def _slot(self, decision: str, build: Callable[[str], nn.Module]) -> Slot:
        options = [build(str(option)) for option in self.space.options(decision)]
        if isinstance(self.space.decisions[decision], Subset):
            options.append(build(NOTHING))  # no option, but what is computed where there is none
        self.slots[decision] += 1
        return Slot(options, decision, self.context, self.slots[decision] - 1)

    def places(self, decision: str) -> int:
        """Return how many copies of a cell share a decision."""
        return self.slots[decision]

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graphs that the space says."""
        return self.config.graphs

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        with self.context.active(moved(fed(self.space, gates), x.device)):
            return self.net(x)  # type: ignore[no-any-return]

    def extract(self, arch: Arch) -> nn.Module:
        """Return `arch` with a copy of the shared weights; its running statistics are still to be estimated."""
        net = self.config.network(arch, self.channels_in, self.classes).to(next(self.parameters()))
        with torch.no_grad():
            self._copy(self.net, net, arch)
        return net

    def _copy(self, shared: nn.Module, plain: nn.Module, arch: Arch) -> None:
        """Give a plain module the shared weights; slots may lie inside of the options of others."""
        if isinstance(shared, Slot):
            value, options = arch[shared.decision], self.space.options(shared.decision)
            picked = value if isinstance(value, tuple) else (value,)
            others = plain if isinstance(plain, Parallel) else [plain]
            for option, other in zip(picked, others, strict=False):  # where nothing is picked, something stands for it
                self._copy(shared.mixed.options[options.index(option)], other, arch)
            return
        own = {**shared._parameters, **shared._buffers}
        for name, mine in {**plain._parameters, **plain._buffers}.items():
            if mine is not None and (there := own.get(name)) is not None:
                mine.copy_(there)
        for name, child in plain.named_children():
            self._copy(shared.get_submodule(name), child, arch)

    @property
    def plain(self) -> nn.Module:
        return self.net
