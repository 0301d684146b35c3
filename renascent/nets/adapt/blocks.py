"""Blocks that can be left out: modules that add something to their input, x + f(x)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from renascent.nets.adapt.trace import Call, Graph, refs, words

PASSING = words("""
    relu relu6 leaky_relu gelu silu hardswish tanh sigmoid dropout dropout2d layer_norm batch_norm group_norm contiguous
    clone identity transpose
""")
"""Operations after the sum that a block may end with."""


@dataclass(frozen=True)
class Run:
    """Blocks in a row, each taking what the one before returned. The last is left out first.

    name: the module they are in.  blocks: their dotted names.  spans: operations `start <= k < end` of each.
    plain: they are called with one tensor, so that an identity can take their place; if not, they leave their list.
    fewest: blocks without which the model does not run.
    """

    name: str
    blocks: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    plain: bool
    fewest: int = 0

    def options(self, least: float) -> tuple[int, ...]:
        """Return the numbers of blocks to choose from."""
        return tuple(range(max(int(least * len(self.blocks)), self.fewest), len(self.blocks) + 1))

    def position(self, node: int) -> int | None:
        """Return which block an operation belongs to, None if to none."""
        return next((k for k, (start, end) in enumerate(self.spans) if start <= node < end), None)


def runs(graph: Graph) -> tuple[Run, ...]:
    """Return all blocks that can be left out, in runs; the innermost ones if they are nested."""
    blocks = _innermost([call for call in graph.calls if _adds(graph, call)])
    rows: list[list[Call]] = []
    for call in sorted(blocks, key=lambda c: c.start):
        last = rows[-1][-1] if rows else None
        if last and last.returned == call.given and last.plain == call.plain and _parent(last) == _parent(call):
            rows[-1].append(call)
        else:
            rows.append([call])
    return tuple(_run(row, [_parent(other[0]) for other in rows]) for row in rows)


def _run(row: Sequence[Call], parents: Sequence[str]) -> Run:
    parent = _parent(row[0])
    alone = parent and parents.count(parent) == 1
    blocks = tuple(call.module for call in row)
    return Run(parent if alone else blocks[0], blocks, tuple((c.start, c.end) for c in row), row[0].plain)


def _innermost(calls: Sequence[Call]) -> list[Call]:
    return [c for c in calls if not any(o is not c and o.module.startswith(f"{c.module}.") for o in calls)]


def _parent(call: Call) -> str:
    return call.module.rpartition(".")[0]


def _adds(graph: Graph, call: Call) -> bool:
    """Whether a module is called once, keeps the shape of its input, multiplies, and passes its input on by a sum."""
    if not call.module or call.given is None or call.returned is None or call.given == call.returned:
        return False
    once = sum(other.module == call.module for other in graph.calls) == 1
    nodes = graph.nodes[call.start : call.end]
    works = any(node.macs for node in nodes)
    if not once or not works or graph.shapes[call.given] != graph.shapes[call.returned]:
        return False
    return _reaches(graph, call, call.returned)


def _reaches(graph: Graph, call: Call, value: int, added: bool = False) -> bool:
    """Whether the block's input reaches a value through sums and what may follow them."""
    if value == call.given:
        return added
    for node in graph.nodes[call.start : call.end]:
        if value in (ref.value for ref in refs(node.result)):
            given = [ref.value for ref in refs((node.args, dict(node.kwargs)))]
            if node.name in ("add", "iadd"):
                return any(_reaches(graph, call, other, True) for other in given)
            if node.name in PASSING:
                return _reaches(graph, call, given[0], added)
    return False
