"""Which edges of a graph lie on a path from its inputs to its outputs."""

from collections.abc import Callable, Collection, Hashable, Iterable
from functools import partial
from typing import Any

from renascent.core.decisions import Value

Node = Hashable

Edge = tuple[Any, ...]
"""(source, target, ...): what stands behind the two tells edges between the same nodes apart."""


def flowing(edges: Iterable[Edge], inputs: Collection[Node], outputs: Collection[Node]) -> set[Edge]:
    """Return the edges on some path from an input to an output. The graph has no circle.

    >>> sorted(flowing([("a", "b"), ("b", "d"), ("c", "d"), ("a", "e")], ["a"], ["d"]))
    [('a', 'b'), ('b', 'd')]
    """
    given = set(edges)
    fed, leading = _reached(given, inputs, 0), _reached(given, outputs, 1)
    return {edge for edge in given if edge[0] in fed and edge[1] in leading}


def _reached(edges: Collection[Edge], begin: Collection[Node], side: int) -> set[Node]:
    """Return all nodes that are reached from some, along edges (side 0) or against them (side 1)."""
    onward: dict[Node, list[Node]] = {}
    for edge in edges:
        onward.setdefault(edge[side], []).append(edge[1 - side])
    seen, left = set(begin), list(begin)
    while left:
        found = set(onward.get(left.pop(), ())) - seen
        seen |= found
        left += found
    return seen


Alive = Callable[[dict[str, Value]], dict[str, Value]]
"""All values of a space -> those of the decisions it knows, without dead edges."""


def both(one: Alive | None, two: Alive | None) -> Alive | None:
    """Return what takes out what is dead by either of two, that know different decisions."""
    return partial(_both, one, two) if one and two else one or two


def _both(one: Alive, two: Alive, values: dict[str, Value]) -> dict[str, Value]:
    return one(values) | two(values)
