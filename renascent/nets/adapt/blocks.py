"""Blocks that can be left out: modules that add something to their input, x + f(x)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from renascent.core.text import words
from renascent.nets.adapt.trace import Call, Graph, refs

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
    fewest: how many of them have to stay.
    """

    name: str
    blocks: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    plain: bool
    fewest: int

    @property
    def options(self) -> tuple[int, ...]:
        """The numbers of blocks to choose from."""
        return tuple(range(self.fewest, len(self.blocks) + 1))


def block_where(depths: Mapping[str, Run], inside: Callable[[str, tuple[int, int]], bool]) -> tuple[str, int] | None:
    """Return the decision and the position of the first block for whose name and span `inside` is true."""
    places = ((name, k, run) for name, run in depths.items() for k in range(len(run.blocks)))
    return next(((name, k) for name, k, run in places if inside(run.blocks[k], run.spans[k])), None)


def runs(graph: Graph, least: float) -> tuple[Run, ...]:
    """Return all blocks that can be left out, in runs; the innermost ones if they are nested.

    least: share of a run's blocks that stays.
    """
    blocks = [call for call in graph.calls if _adds(graph, call)]
    innermost = [c for c in blocks if not any(o is not c and o.module.startswith(f"{c.module}.") for o in blocks)]
    rows: list[list[Call]] = []
    for call in sorted(innermost, key=lambda c: c.start):
        last = rows[-1][-1] if rows else None
        if last and last.returned == call.given and last.plain == call.plain and _parent(last) == _parent(call):
            rows[-1].append(call)
        else:
            rows.append([call])
    parents = [_parent(row[0]) for row in rows]
    found = []
    for row, parent in zip(rows, parents, strict=True):
        names, spans = tuple(call.module for call in row), tuple((call.start, call.end) for call in row)
        alone = parent and parents.count(parent) == 1
        found.append(Run(parent if alone else names[0], names, spans, row[0].plain, int(least * len(row))))
    return tuple(run for run in found if len(run.options) > 1)


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
