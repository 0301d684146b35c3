"""The cells of DARTS: two kinds of cell, each an operation on every edge, two of which a node keeps.

Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, ICLR 2019, arXiv:1806.09055.
"""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial

from renascent.core.errors import UserError
from renascent.core.flow import flowing
from renascent.core.space import Arch, Choice, Codec, Kept, Space, Subset, Value
from renascent.core.text import aligned, short

NONE = "none"

OPERATIONS = (
    NONE,
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The candidate operations (arXiv:1806.09055, Sec. 3.1.1)."""

KINDS = ("normal", "reduce")
"""The kinds of cell: one that keeps the size of the map, one that halves it."""

INPUTS = 2
"""How many edges a node keeps (arXiv:1806.09055, Sec. 2.4)."""

DARTS_V2 = (
    "normal=|sep_conv_3x3~0|sep_conv_3x3~1|+|sep_conv_3x3~0|sep_conv_3x3~1|"
    "+|skip_connect~0|sep_conv_3x3~1|+|skip_connect~0|dil_conv_3x3~2|"
    ",reduce=|max_pool_3x3~0|max_pool_3x3~1|+|max_pool_3x3~1|skip_connect~2|"
    "+|max_pool_3x3~0|skip_connect~2|+|max_pool_3x3~1|skip_connect~2|"
)
"""The cells found by second-order DARTS on CIFAR-10 (arXiv:1806.09055, Fig. 4 and 5)."""


def edges(nodes: int) -> list[tuple[int, int]]:
    """Return (source, target) by target, then source. Nodes 0 and 1 are the inputs, `nodes` follow.

    >>> edges(2)
    [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    """
    return [(source, target) for target in range(2, nodes + 2) for source in range(target)]


def edge_name(kind: str, source: int, target: int) -> str:
    """Return the decision's name of an edge.

    >>> edge_name("normal", 0, 2)
    'normal.0-2'
    """
    return f"{kind}.{source}-{target}"


def cells_space(nodes: int = 4, operations: Sequence[str] = OPERATIONS, kinds: Sequence[str] = KINDS) -> Space:
    """Return the space of cells: every node keeps two of the edges from earlier nodes, each with one operation.

    An architecture is written `normal=|op~source|op~source|+|...|,reduce=...`: a group for each node, of its edges
    that are kept.

    nodes: of a cell, its two inputs not counted. Raises UserError for less than one, and for operations among which
    there is nothing to choose.

    >>> cells_space(nodes=1, kinds=["normal"]).parse("normal=|skip_connect~0|max_pool_3x3~1|")
    Arch({'normal.0-2': 'skip_connect', 'normal.1-2': 'max_pool_3x3'})
    """
    if nodes < 1:
        raise UserError(f"a cell cannot have {nodes} nodes beside its two inputs: give at least 1")
    choice = Choice(tuple(operations))
    if NONE not in choice.options or len(choice.options) < 2:
        raise UserError(f"operations {short(choice.options)} cannot make a cell: give {NONE} and another one")
    names = [edge_name(kind, *edge) for kind in kinds for edge in edges(nodes)]
    codec = Codec(partial(_format, nodes, tuple(kinds)), partial(_parse, nodes, tuple(kinds), choice.options))
    rules = tuple(
        Kept(tuple(edge_name(kind, source, target) for source in range(target)), INPUTS)
        for kind in kinds
        for target in range(2, nodes + 2)
    )
    return Space(dict.fromkeys(names, choice), name="darts-cells", codec=codec, rules=rules)


def subsets_space(nodes: int = 4, operations: Sequence[str] = OPERATIONS, kinds: Sequence[str] = KINDS) -> Space:
    """Return the space of cells of which an edge may keep any operations, or none, and a node any edges.

    nodes: of a cell, its two inputs not counted.

    >>> len(subsets_space().decisions), subsets_space().counts[0]
    (28, 7)
    """
    options = Subset(tuple(operation for operation in operations if operation != NONE))
    names = [edge_name(kind, *edge) for kind in kinds for edge in edges(nodes)]
    return Space(dict.fromkeys(names, options), name="darts-cells", alive=partial(_alive, nodes, tuple(kinds)))


def _alive(nodes: int, kinds: Sequence[str], values: Mapping[str, Value]) -> dict[str, Value]:
    """Take out the operations that read a node which nothing feeds. Every node leads to the output."""
    found: dict[str, Value] = {}
    for kind in kinds:
        names = {edge: edge_name(kind, *edge) for edge in edges(nodes)}
        there = flowing([edge for edge, name in names.items() if values[name]], range(2), range(2, nodes + 2))
        found |= {name: values[name] if edge in there else () for edge, name in names.items()}
    return found


def draw(arch: Arch) -> str:
    """Draw the cells as text, a line for each node; where an edge may keep several operations, one for each edge.

    >>> space = cells_space(nodes=1, kinds=["normal"])
    >>> print(draw(space.parse("normal=|skip_connect~0|max_pool_3x3~1|")))
    normal  node 2  0 -> skip_connect  1 -> max_pool_3x3
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, operation in arch.items():
        kind, source, target = _parts(name)
        if isinstance(operation, tuple):
            rows |= {(name,): [kind, f"node {target}", f"{source} ->", " ".join(operation)]} if operation else {}
            continue
        row = rows.setdefault((kind, target), [kind, f"node {target}"])
        row += [f"{source} -> {operation}"] if operation != NONE else []
    return aligned(list(rows.values()))


def _parts(name: str) -> tuple[str, str, str]:
    kind, _, edge = name.partition(".")
    source, _, target = edge.partition("-")
    return kind, source, target


def _format(nodes: int, kinds: Sequence[str], arch: Arch) -> str:
    def group(kind: str, target: int) -> str:
        kept = [(arch[edge_name(kind, source, target)], source) for source in range(target)]
        return f"|{'|'.join(f'{operation}~{source}' for operation, source in kept if operation != NONE)}|"

    return ",".join(f"{kind}={'+'.join(group(kind, t) for t in range(2, nodes + 2))}" for kind in kinds)


def _parse(nodes: int, kinds: Sequence[str], operations: Sequence[str], text: str) -> Mapping[str, str]:
    cells = [part.strip().partition("=") for part in text.split(",")]
    if [kind for kind, _, _ in cells] != list(kinds):
        raise UserError(f"cells {short(text)} cannot be read: write {','.join(f'{kind}=...' for kind in kinds)}")
    found = {edge_name(kind, *edge): NONE for kind in kinds for edge in edges(nodes)}
    for kind, _, cell in cells:
        groups = cell.split("+")
        if len(groups) != nodes:
            raise UserError(
                f"cell {short(cell)} has {len(groups)} groups joined by +: a cell of {nodes} nodes has {nodes}"
            )
        for target, group in enumerate(groups, start=2):
            found |= {edge_name(kind, source, target): op for source, op in _inputs(group, target, operations)}
    return found


def _inputs(group: str, target: int, operations: Sequence[str]) -> list[tuple[int, str]]:
    """Return (source, operation) of the edges that a node keeps."""
    choices = [operation for operation in operations if operation != NONE]
    known = {f"{operation}~{source}": (source, operation) for source in range(target) for operation in choices}
    parts = group[1:-1].split("|") if len(group) > 2 else []
    found = [known[part] for part in parts if part in known]
    rising = all(a < b for (a, _), (b, _) in itertools.pairwise(found))
    if len(group) < 2 or group[0] + group[-1] != "||" or len(found) < len(parts) or not rising:
        raise UserError(
            f"group {short(group)} of node {target} cannot be read: write |op~source|op~source|, "
            f"sources rising from 0 to {target - 1}, op one of {', '.join(choices)}"
        )
    return found
