"""A cell with every candidate, computed as far as its gates ask and no further."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from renascent.nets.cells.conv import convolve
from renascent.nets.cells.maps import pool, rectify
from renascent.nets.cells.mix import Again, accumulate
from renascent.nets.cells.norm import scaled_norm
from renascent.nets.cells.ops import CONVOLUTIONS, operation
from renascent.nets.cells.pointwise import convolve_1x1, folded, pointwise
from renascent.nets.cells.probe import Option, probe
from renascent.nets.cells.routes import Departure, Route, edge_name, edges

Part = tuple[int, Tensor, Tensor | None, Again | None]
"""Target node, and what `accumulate` adds to it."""


class SharedCell(nn.Module):
    """A cell that holds every candidate; gates say what is computed.

    Node j is the sum of what its edges bring. The weights lie where the plain cell of one architecture has its own.
    """

    def __init__(self, nodes: int, operations: Sequence[str], channels: int) -> None:
        super().__init__()
        self.channels, self.nodes = channels, nodes
        kernels = {name: CONVOLUTIONS[name] for name in operations if name in CONVOLUTIONS}
        self.edges = nn.ModuleDict()
        for edge in edges(nodes):
            convs = {name: nn.Conv2d(channels, channels, k, bias=False) for name, k in kernels.items()}
            held = {name: nn.ModuleDict({"conv": conv}) for name, conv in convs.items()}
            self.edges[edge_name(edge)] = nn.ModuleDict(held)

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
        convolutions = [route for route in departure.routes if route.operation in CONVOLUTIONS]
        rectified = self._rectify(source, x, convolutions) if convolutions else x
        for route in departure.routes:
            if route.operation not in CONVOLUTIONS:
                pooled = route.operation == "avg_pool_3x3"
                value = pool(x) if pooled else x
                # one more pooling costs less than keeping its map; several cost more
                again = (pool, x) if pooled and len(route.targets) == 1 else None
                weights = [None] * len(route.targets) if route.weight is None else route.weight.unbind()
                yield from ((t, value, w, again) for t, w in zip(route.targets, weights, strict=True))
        for targets, value in self._convolved(source, x, rectified, convolutions).items():
            yield from ((t, part, None, None) for t, part in zip(targets, value.chunk(len(targets), 1), strict=True))

    def _rectify(self, source: int, x: Tensor, convolutions: Sequence[Route]) -> Tensor:
        first = convolutions[0]
        learning = self._kernel(edge_name((source, first.targets[0])), first.operation).requires_grad
        # a 1x1 convolution's statistics, and a kernel's gradient, want the rectified values again
        wanted = learning or any(CONVOLUTIONS[route.operation] == 1 for route in convolutions)
        return F.relu(x) if wanted else rectify(x)

    def _convolved(
        self, source: int, x: Tensor, rectified: Tensor, convolutions: Sequence[Route]
    ) -> dict[tuple[int, ...], Tensor]:
        """Return the normalised outputs of all kernel sizes, (batch, targets x channels, h, w), summed by targets."""
        folds = {
            route.targets: folded(rectified, self._merged(source, route), route.scale(self.channels))
            for route in convolutions
            if CONVOLUTIONS[route.operation] == 1
        }
        sums: dict[tuple[int, ...], Tensor] = {}
        for route in convolutions:
            if CONVOLUTIONS[route.operation] > 1:
                weights, shift = folds.pop(route.targets, (None, None))
                out = convolve(rectified, self._merged(source, route), stand_in=x)
                out = scaled_norm(out, route.scale(self.channels), shift)
                sums[route.targets] = out if weights is None else pointwise(rectified, weights, out)
        return sums | {targets: convolve_1x1(rectified, *fold) for targets, fold in folds.items()}

    def _merged(self, source: int, route: Route) -> Tensor:
        """Return the kernels of a route's edges, (targets x channels, channels, k, k)."""
        kernels = [self._kernel(edge_name((source, t)), route.operation) for t in route.targets]
        return kernels[0] if len(kernels) == 1 else torch.cat(kernels)

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
