"""The NATS-Bench topology space: cells of operations on a fixed skeleton, arXiv:2009.00437, Sec. 3.1."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from renascent import topology
from renascent.core import Supernet
from renascent.errors import require, unknown
from renascent.gates import Gates
from renascent.nets.conv import convolve
from renascent.nets.mix import Again, accumulate
from renascent.nets.norm import BatchStatisticsNorm, scaled_norm
from renascent.nets.ops import CONVOLUTIONS, NAMES, Norm, ResidualDown, operation
from renascent.nets.probe import Option, probe
from renascent.nets.rectify import rectify
from renascent.nets.routes import Departure, Edge, departures, edge_name
from renascent.space import Arch, Space


@dataclass(frozen=True, kw_only=True)
class NatsTopology:
    """One operation on each edge of a cell, the same cell everywhere.

    Dong and Yang, NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, ICLR 2020,
    arXiv:2001.00326, Sec. 2.1. Dong, Liu, Musial and Gabrys, NATS-Bench, TPAMI 2021, arXiv:2009.00437, Sec. 3.1.

    channels: width C of the stem; the three stages have C, 2C and 4C.
    cells: number N of cells in each of the three stages.
    nodes: feature maps in a cell, the input included.
    operations: candidate operations of an edge.
    """

    channels: int = 16
    cells: int = 5
    nodes: int = 4
    operations: tuple[str, ...] = topology.OPERATIONS

    def __post_init__(self) -> None:
        require(self, channels=(1, math.inf), cells=(1, math.inf), nodes=(2, math.inf))
        for name in self.operations:
            if name not in NAMES:
                raise unknown("operation", name, NAMES)
        topology.topology_space(self.nodes, self.operations)  # refuses none, or the same twice

    @property
    def space(self) -> Space:
        return topology.topology_space(self.nodes, self.operations)

    @property
    def edges(self) -> list[Edge]:
        """Edges in the order of the exchange string."""
        return [(i, j) for j in range(1, self.nodes) for i in range(j)]

    def supernet(self, channels_in: int, classes: int) -> NatsSupernet:
        """Build the shared-weight network for (batch, channels_in, h, w) images."""
        return NatsSupernet(self, channels_in, classes)

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> NatsNetwork:
        """Build one architecture with fresh weights.

        Every chosen operation is built, as the benchmark's authors count them; `prune` leaves out those that no path
        from input to output uses (two cells in five have some).
        """
        return NatsNetwork(self, arch, channels_in, classes, prune=prune)

    def draw(self, arch: Arch) -> str:
        """Draw the cell in text."""
        return topology.draw(arch)


class Cell(nn.Module):
    """A cell of one architecture: node j is the sum of its edges' outputs."""

    def __init__(self, config: NatsTopology, chosen: dict[str, str], channels: int) -> None:
        super().__init__()
        self.nodes = config.nodes
        self.edges = nn.ModuleDict({name: operation(chosen[name], channels) for name in chosen})

    def forward(self, x: Tensor, drop_path: float) -> Tensor:
        values = [x]
        for target in range(1, self.nodes):
            names = [edge_name((i, target)) for i in range(target)]
            parts = [self._edge(n, values[i], drop_path) for i, n in enumerate(names) if n in self.edges]
            values.append(sum(parts[1:], parts[0]) if parts else torch.zeros_like(x))
        return values[-1]

    def _edge(self, name: str, x: Tensor, drop_path: float) -> Tensor:
        op = self.edges[name]
        out: Tensor = op(x)
        if self.training and drop_path > 0 and not isinstance(op, nn.Identity):
            keep = 1 - drop_path
            out = out * (torch.rand(len(out), 1, 1, 1, device=out.device, dtype=out.dtype) < keep) / keep
        return out


class NatsNetwork(nn.Module):
    """One architecture of the topology space, a plain module.

    drop_path: chance that an edge other than a skip is dropped for an image while training, arXiv:1605.07648;
    settable at any time.
    """

    stem: nn.Sequential
    cells: nn.ModuleList
    last: nn.Sequential
    classifier: nn.Linear

    def __init__(self, config: NatsTopology, arch: Arch, channels_in: int, classes: int, *, prune: bool) -> None:
        super().__init__()
        kept = topology.reachable(arch, config.nodes) if prune else frozenset(arch)
        chosen = {name: str(arch[name]) for name in arch if name in kept}
        _skeleton(self, config, channels_in, classes, lambda c: Cell(config, chosen, c))
        self.drop_path = 0.0

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x, self.drop_path) if isinstance(cell, Cell) else cell(x)
        return self.classifier(_pool(self.last(x)))  # type: ignore[no-any-return]


Part = tuple[int, Tensor, Tensor | None, Again | None]
"""Target node, and what `accumulate` adds to it."""


class SharedCell(nn.Module):
    """A cell that holds every candidate; gates say what is computed. The weights lie where `Cell` has its own."""

    def __init__(self, config: NatsTopology, channels: int) -> None:
        super().__init__()
        self.channels, self.nodes = channels, config.nodes
        kernels = {name: CONVOLUTIONS[name] for name in config.operations if name in CONVOLUTIONS}
        self.edges = nn.ModuleDict(
            {
                edge_name(e): nn.ModuleDict(
                    {
                        n: nn.ModuleDict({"conv": nn.Conv2d(channels, channels, k, bias=False)})
                        for n, k in kernels.items()
                    }
                )
                for e in config.edges
            }
        )

    def forward(self, x: Tensor, leaving: list[Departure]) -> Tensor:
        values: list[Tensor | None] = [x] + [None] * (self.nodes - 1)
        for source, departure in enumerate(leaving):
            value = values[source]
            if value is None:
                continue
            for target, part, weight, again in self._leave(source, value, departure):
                values[target] = accumulate(values[target], part, weight, again)
            for (_, target), (names, gate) in departure.probes.items():
                held = values[target]
                total = torch.zeros_like(x) if held is None else held
                options = {k: self._alone(source, target, name) for k, name in zip(gate.probe, names, strict=True)}
                values[target] = probe(total, value, gate.weight, options)
        result = values[-1]
        return torch.zeros_like(x) if result is None else result

    def _leave(self, source: int, x: Tensor, departure: Departure) -> Iterator[Part]:
        """Yield the part of every target; its weight is None where the part has it already."""
        for route in departure.routes:
            if route.operation not in CONVOLUTIONS:
                f = operation(route.operation, self.channels)
                value = f(x)
                # one more pooling costs less than keeping its map; several cost more
                again = (f, x) if value is not x and len(route.targets) == 1 else None
                weights = [None] * len(route.targets) if route.weight is None else route.weight.unbind()
                yield from ((t, value, w, again) for t, w in zip(route.targets, weights, strict=True))
        for targets, value in self._convolved(source, x, departure).items():
            yield from ((t, part, None, None) for t, part in zip(targets, value.chunk(len(targets), 1), strict=True))

    def _convolved(self, source: int, x: Tensor, departure: Departure) -> dict[tuple[int, ...], Tensor]:
        """Return the normalised outputs of all kernel sizes, (batch, targets x channels, h, w), summed by targets."""
        sums: dict[tuple[int, ...], Tensor] = {}
        rectified = None
        for route in departure.routes:
            if route.operation in CONVOLUTIONS:
                kernels = [self._kernel(edge_name((source, t)), route.operation) for t in route.targets]
                kernel = kernels[0] if len(kernels) == 1 else torch.cat(kernels)
                if rectified is None:
                    # without a gradient of the kernel, nobody will ask for the rectified values again
                    rectified = F.relu(x) if kernel.requires_grad else rectify(x)
                out = scaled_norm(convolve(rectified, kernel, stand_in=x), route.scale(self.channels))
                held = sums.get(route.targets)
                sums[route.targets] = out if held is None else held.add_(out)
        return sums

    def _alone(self, source: int, target: int, name: str) -> Option:
        """Return a function that computes one candidate of one edge."""
        if name not in CONVOLUTIONS:
            return operation(name, self.channels)
        kernel = self._kernel(edge_name((source, target)), name)  # now: in a backward pass it may be another
        return lambda x: scaled_norm(convolve(F.relu(x), kernel))

    def _kernel(self, edge: str, operation: str) -> Tensor:
        # not get_parameter, which refuses what functional_call puts in a parameter's place
        kernel = self.get_submodule(f"edges.{edge}.{operation}.conv").weight
        assert isinstance(kernel, Tensor)
        return kernel


class NatsSupernet(Supernet):
    """The topology space with shared weights. Batch normalisation uses batch statistics, training or not."""

    stem: nn.Sequential
    cells: nn.ModuleList
    last: nn.Sequential
    classifier: nn.Linear

    def __init__(self, config: NatsTopology, channels_in: int, classes: int) -> None:
        super().__init__()
        self.config, self.space = config, config.space
        self.channels_in, self.classes = channels_in, classes
        _skeleton(self, config, channels_in, classes, lambda c: SharedCell(config, c), BatchStatisticsNorm)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        leaving = departures(gates, self.config.nodes, self.config.operations, x.device)
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x, leaving) if isinstance(cell, SharedCell) else cell(x)
        return self.classifier(_pool(self.last(x)))  # type: ignore[no-any-return]

    def extract(self, arch: Arch) -> NatsNetwork:
        """Return `arch` with a copy of the shared weights; its running statistics are still to be estimated."""
        net = self.config.network(arch, self.channels_in, self.classes)
        shared = self.state_dict()
        chosen = {f".edges.{name}.": f".edges.{name}.{arch[name]}." for name in arch}

        def source(key: str) -> str:
            for plain, full in chosen.items():
                key = key.replace(plain, full)
            return key

        own = net.state_dict()
        net.load_state_dict({key: shared.get(source(key), value) for key, value in own.items()})
        return net.to(next(self.parameters()).device)


def _pool(x: Tensor) -> Tensor:
    """Return the mean over the map, (batch, channels)."""
    # unlike mean(), its gradient keeps the memory layout of x, and mixed layouts are slow all the way down
    return F.avg_pool2d(x, (x.shape[2], x.shape[3])).flatten(1)


def _skeleton(
    net: NatsNetwork | NatsSupernet,
    config: NatsTopology,
    channels_in: int,
    classes: int,
    cell: Callable[[int], nn.Module],
    norm: Norm = nn.BatchNorm2d,
) -> None:
    """Give `net` its stem, three stages with a residual block between two, and classifier."""
    c = config.channels
    net.stem = nn.Sequential(nn.Conv2d(channels_in, c, 3, padding=1, bias=False), norm(c))
    net.cells = nn.ModuleList()
    for width in (c, 2 * c, 4 * c):
        if width > c:
            net.cells.append(ResidualDown(width // 2, width, norm))
        net.cells.extend(cell(width) for _ in range(config.cells))
    net.last = nn.Sequential(norm(4 * c), nn.ReLU())
    net.classifier = nn.Linear(4 * c, classes)
