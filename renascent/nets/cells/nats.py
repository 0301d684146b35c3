"""The NATS-Bench topology space: cells of operations on a fixed skeleton, arXiv:2009.00437, Sec. 3.1."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from renascent.core.codecs import nats_topology as topology
from renascent.core.codecs.nats_topology import OPERATIONS
from renascent.core.dependencies import Graph
from renascent.core.fields import Count, OneOf, settings
from renascent.core.gates import Gates
from renascent.core.protocols import SpaceConfig, Supernet
from renascent.core.space import Arch, Space
from renascent.nets.cells.cell import SharedCell
from renascent.nets.cells.norm import BatchStatisticsNorm
from renascent.nets.cells.ops import Norm, ResidualDown, drop_paths, operation
from renascent.nets.cells.routes import departures, edge_name, edges


@settings
class NatsTopology(SpaceConfig):
    """One operation on each edge of a cell, the same cell everywhere.

    Args:
        channels: width C of the stem; the three stages have C, 2C and 4C.
        cells: number N of cells in each of the three stages.
        nodes: feature maps in a cell, the input included.
        operations: candidate operations of an edge.

    References:
        Dong and Yang, NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, ICLR 2020,
        arXiv:2001.00326, Sec. 2.1. Dong, Liu, Musial and Gabrys, NATS-Bench, TPAMI 2021, arXiv:2009.00437, Sec. 3.1.
    """

    channels: Count = 16
    cells: Count = 5
    nodes: Count = 4
    operations: Annotated[tuple[str, ...], OneOf("operation", OPERATIONS)] = OPERATIONS

    def __post_init__(self) -> None:
        topology.topology_space(self.nodes, self.operations)  # refuses too few nodes, no operations, or the same twice

    @property
    def space(self) -> Space:
        return topology.topology_space(self.nodes, self.operations)

    def supernet(self, channels_in: int, classes: int) -> NatsSupernet:
        """Build the shared-weight network for (batch, channels_in, h, w) images."""
        return NatsSupernet(self, channels_in, classes)

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> NatsNetwork:
        """Build one architecture with fresh weights.

        Every chosen operation is built, as the benchmark's authors count them; `prune` leaves out those that add
        nothing to the output: on no path from the input, and not a convolution whose learned shift reaches it.
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
        return drop_paths(out, drop_path) if self.training and not isinstance(op, nn.Identity) else out


class NatsNetwork(nn.Module):
    """One architecture of the topology space, a plain module.

    drop_path: probability that an edge other than a skip is dropped for an image while training, arXiv:1605.07648;
    settable at any time.
    """

    stem: nn.Sequential
    cells: nn.ModuleList
    last: nn.Sequential
    classifier: nn.Linear

    def __init__(self, config: NatsTopology, arch: Arch, channels_in: int, classes: int, *, prune: bool) -> None:
        super().__init__()
        kept = topology.needed(arch, config.nodes) if prune else frozenset(arch)
        chosen = {name: str(arch[name]) for name in arch if name in kept}
        _skeleton(self, config, channels_in, classes, lambda c: Cell(config, chosen, c))
        self.drop_path = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return _run(self, x, self.drop_path)


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
        cell = functools.partial(SharedCell, config.nodes, config.operations)
        _skeleton(self, config, channels_in, classes, cell, BatchStatisticsNorm)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        return _run(self, x, departures(gates, self.config.nodes, self.config.operations, x.device))

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The cell's nodes, from the input to the last."""
        operations, nodes = self.config.operations, self.config.nodes
        rows = {edge_name(e): [None if op == "none" else e for op in operations] for e in edges(nodes)}
        return (Graph(rows, frozenset([0]), frozenset([nodes - 1])),)

    def extract(self, arch: Arch) -> NatsNetwork:
        """Return `arch` with a copy of the shared weights; its running statistics are still to be estimated."""
        net = self.config.network(arch, self.channels_in, self.classes)
        shared, own = self.state_dict(), net.to(next(self.parameters())).state_dict()
        sources = {key: re.sub(r"\.edges\.([^.]+)\.", lambda m: f"{m[0]}{arch[m[1]]}.", key) for key in own}
        net.load_state_dict({key: shared.get(sources[key], value) for key, value in own.items()})
        return net


def _run(net: NatsNetwork | NatsSupernet, x: Tensor, given: Any) -> Tensor:
    """Run `net`, whose cells take `given` beside their input; the residual blocks between them do not."""
    x = net.stem(x)
    for cell in net.cells:
        x = cell(x) if isinstance(cell, ResidualDown) else cell(x, given)
    x = net.last(x)
    # unlike mean(), its gradient keeps the memory layout of x, and mixed layouts are slow all the way down
    return net.classifier(F.avg_pool2d(x, (x.shape[2], x.shape[3])).flatten(1))  # type: ignore[no-any-return]


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
