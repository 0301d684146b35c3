"""Routes: the active gates of a cell, gathered by the node they leave, so that their work is shared.

Candidates that leave one node read the same tensor. Computing them together (one ReLU; one convolution for all edges
of a kernel size; one pooling; the gate's weight folded into the batch normalisation's scale; no work for `none`) gives
the same numbers as one by one, in about half the time and memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from renascent.core.gates import Gate, Gates, moved

Edge = tuple[int, int]
"""(source node, target node)."""


def edges(nodes: int) -> list[Edge]:
    """Return the edges of a cell in the order of the exchange string.

    >>> edges(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    return [(i, j) for j in range(1, nodes) for i in range(j)]


def edge_name(edge: Edge) -> str:
    """Return the decision's name of an edge, such as "0-1"."""
    return f"{edge[0]}-{edge[1]}"


@dataclass(frozen=True)
class Route:
    """One operation on several edges that leave one node.

    targets: node numbers, increasing.  weight: (targets,), one scale an edge; None where every scale is exactly 1
    and takes no gradient, so that nothing need be multiplied.
    """

    operation: str
    targets: tuple[int, ...]
    weight: Tensor | None

    def scale(self, channels: int) -> Tensor | None:
        """Return the weight of every merged output channel, (targets x channels,)."""
        return None if self.weight is None else self.weight.repeat_interleave(channels)


@dataclass(frozen=True)
class Departure:
    """All that leaves one node. probes: edge -> (operations, gate weight) that only want their weight's gradient."""

    routes: tuple[Route, ...]
    probes: Mapping[Edge, tuple[tuple[str, ...], Gate]]


def departures(gates: Gates, nodes: int, operations: Sequence[str], device: torch.device) -> list[Departure]:
    """Return what leaves each node but the last, without edges that no path from input to output uses.

    Gates are made on the CPU, so that drawing never waits for a device; their weights move there once, here.
    """
    gates = moved(gates, device)
    used = _used(sorted(edges(nodes)), gates, nodes, operations)
    found = []
    for source in range(nodes - 1):
        here = [edge for edge in used if edge[0] == source]
        probed = {edge: gates[edge_name(edge)] for edge in here if gates[edge_name(edge)].probe}
        probes = {edge: (tuple(operations[k] for k in gate.probe), gate) for edge, gate in probed.items()}
        found.append(Departure(tuple(_routes(here, gates, operations, device)), probes))
    return found


def _used(edges: Sequence[Edge], gates: Gates, nodes: int, operations: Sequence[str]) -> list[Edge]:
    """Keep the edges on a path from node 0 to the last node. A probe carries a gradient, so it counts as a path."""

    def open_(edge: Edge) -> bool:
        gate = gates[edge_name(edge)]
        return any(operations[k] != "none" for k in (*gate.active, *gate.probe))

    alive = [e for e in edges if open_(e)]
    reached, leading = {0}, {nodes - 1}
    for i, j in sorted(alive):
        reached |= {j} if i in reached else set()
    for i, j in sorted(alive, reverse=True):
        leading |= {i} if j in leading else set()
    return [(i, j) for i, j in alive if i in reached and j in leading]


def _routes(edges: Sequence[Edge], gates: Gates, operations: Sequence[str], device: torch.device) -> list[Route]:
    found = []
    for k, operation in enumerate(operations):
        chosen = [e for e in edges if k in gates[edge_name(e)].active]
        if chosen and operation != "none":
            weights = [gates[edge_name(e)].weight[k] for e in chosen]
            found.append(Route(operation, tuple(e[1] for e in chosen), _stack(weights, device)))
    return found


def _stack(weights: Sequence[Tensor], device: torch.device) -> Tensor | None:
    if all(w.device.type == "cpu" and not w.requires_grad and float(w) == 1.0 for w in weights):
        return None
    return torch.stack([w.to(device) for w in weights])
