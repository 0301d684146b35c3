"""Which edges of a graph are to stay when an edge leads nowhere unless others lead to it."""

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import NamedTuple

from renascent.core.errors import UserError
from renascent.core.flow import flowing

LEAST_VARIANCE = 1 / (2 * math.pi * math.e)
"""Variance of the Gaussian of entropy 0, of a scale that begins at 1: what has no more is pruned (thesis, Sec. 4-1)."""


class Switch(NamedTuple):
    """One operation on an edge of a graph. strength: s, from 0 (off) to infinity (on)."""

    source: Hashable
    target: Hashable
    operation: Hashable
    strength: float


class Graph(NamedTuple):
    """What a network's options connect.

    edges: decision -> (source, target) of each option, None of one that connects nothing.
    inputs, outputs: nodes that are fed from outside, and that are read outside.
    bypassed: whether input reaches output beside all edges, so that all may go.
    """

    edges: Mapping[str, Sequence[tuple[Hashable, Hashable] | None]]
    inputs: frozenset[Hashable]
    outputs: frozenset[Hashable]
    bypassed: bool = False

    def joining(self, on: Mapping[str, Sequence[bool]]) -> dict[str, list[bool]]:
        """Return which options, on or off, join two nodes that lie on a path of those that are on.

        on: whether each option of each decision is.
        """
        rows = self.edges.items()
        listed = [(*edge, name, k) for name, row in rows for k, edge in enumerate(row) if edge and on[name][k]]
        alive = flowing(listed, self.inputs, self.outputs)
        fed = {*self.inputs, *(edge[1] for edge in alive)}
        leading = {*self.outputs, *(edge[0] for edge in alive)}
        return {
            name: [edge is not None and edge[0] in fed and edge[1] in leading for edge in row] for name, row in rows
        }


def apart(options: Mapping[str, Sequence[object]]) -> tuple[Graph, ...]:
    """Return the graph of decisions that lead from one input to an output each. options: of every decision.

    >>> apart({"a": ("none", "conv")})[0].edges
    {'a': [None, ('input', 'a')]}
    """
    rows = {name: [None if option == "none" else ("input", name) for option in row] for name, row in options.items()}
    return (Graph(rows, frozenset(["input"]), frozenset(rows)),)


def gammas(
    switches: Sequence[Switch],
    inputs: Collection[Hashable],
    zeros: Mapping[tuple[Hashable, Hashable], float] | None = None,
) -> list[float]:
    """Return the prior variance of each switch, given what leads to it: BayesNAS, arXiv:1905.04123, Eqs 3-5, 3-6.

    An operation has strength t = 1 / (1/s0 + 1/s), s0 its edge's zero switch; a node has P, the sum of t over all that
    lead to it; and gamma = 1 / (1/P(source) + 1/t): a node to which nothing leads takes along what leaves it. Eq. 3-6
    as printed forgets the zero switch of the edge itself, of which the sentence before it speaks.

    inputs: nodes that are fed from outside: P is infinite.
    zeros: (source, target) -> s0; infinity, which is no zero switch, where there is none.

    >>> gammas([Switch(0, 1, "conv", 2.0), Switch(1, 2, "conv", 2.0)], inputs=[0])
    [2.0, 1.0]
    """
    given = zeros or {}
    own = [_in_series(given.get((s.source, s.target), math.inf), s.strength) for s in switches]
    fed: dict[Hashable, float] = {}
    for switch, strength in zip(switches, own, strict=True):
        fed[switch.target] = fed.get(switch.target, 0.0) + strength
    fed |= dict.fromkeys(inputs, math.inf)
    return [_in_series(fed.get(s.source, 0.0), strength) for s, strength in zip(switches, own, strict=True)]


def prune(switches: Sequence[Switch], variances: Sequence[float]) -> list[Switch]:
    """Return the switches whose variance leaves an entropy above 0: ln(2 pi e gamma) / 2 > 0 (thesis, Sec. 4-1).

    >>> prune([Switch(0, 1, "conv", 2.0), Switch(0, 1, "pool", 0.05)], [2.0, 0.05])
    [Switch(source=0, target=1, operation='conv', strength=2.0)]
    """
    return [switch for switch, gamma in zip(switches, variances, strict=True) if gamma > LEAST_VARIANCE]


def connected(
    switches: Sequence[Switch], inputs: Collection[Hashable], outputs: Collection[Hashable], *, needed: bool = True
) -> tuple[list[Switch], int]:
    """Return the switches on a path from an input to an output, and how many others there were.

    Pruning by variance alone leaves some of these: 3-5 is the logic of on and off only where strengths are 0 or
    infinite, and it looks at what leads to an edge, not where the edge leads.

    needed: whether there has to be a path. Raises UserError where none is left then.

    >>> connected([Switch(0, 1, "conv", 1.0), Switch(2, 1, "conv", 1.0)], inputs=[0], outputs=[1])
    ([Switch(source=0, target=1, operation='conv', strength=1.0)], 1)
    """
    alive = flowing(switches, inputs, outputs)
    if needed and not alive:
        raise UserError("no path from input to output is left, for all edges are pruned: give a smaller `shrinkage`")
    kept = [switch for switch in switches if switch in alive]
    return kept, len(switches) - len(kept)


def _in_series(one: float, other: float) -> float:
    """Return 1 / (1/one + 1/other), with 1/0 infinite and 1/infinity zero."""
    if not one or not other:
        return 0.0
    inverse = 1 / one + 1 / other
    return 1 / inverse if inverse else math.inf
