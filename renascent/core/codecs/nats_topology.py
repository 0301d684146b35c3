"""The topology search space of NAS-Bench-201 and NATS-Bench: a cell with one operation on every edge.

Dong and Yang, NAS-Bench-201, ICLR 2020, arXiv:2001.00326.
Dong et al., NATS-Bench, TPAMI 2021, arXiv:2009.00437.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.core.space import Arch, Choice, Codec, Space
from renascent.core.text import aligned, short

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The candidate operations, in the order of NAS-Bench-201's own index (arXiv:2001.00326, Sec. 2.1)."""

SHIFTING = frozenset(("nor_conv_1x1", "nor_conv_3x3"))
"""Operations that make something of nothing: of zeros, the shift of their batch normalisation."""


def topology_space(nodes: int = 4, operations: Sequence[str] = OPERATIONS) -> Space:
    """Return the space of cells with an operation on every edge "source-target", source < target < nodes.

    Its exchange string is NAS-Bench-201's (arXiv:2001.00326): `|op~0|+|op~0|op~1|+...`, a group a target.
    Raises UserError for fewer than two nodes, and for operations that are not distinct names without | ~ +.

    >>> space = topology_space(nodes=3)
    >>> space.size, space.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|")
    (125, Arch({'0-1': 'nor_conv_3x3', '0-2': 'none', '1-2': 'skip_connect'}))
    """
    if nodes < 2:
        raise UserError(f"a cell cannot have {nodes} nodes: give at least 2, an input and an output")
    choice = Choice(tuple(operations))
    if reserved := [op for op in choice.options if set(op) & set("|~+")]:
        raise UserError(f"operation {short(reserved[0])} cannot be written in a cell: rename it without | ~ +")
    codec = Codec(partial(_format, nodes), partial(_parse, nodes, choice.options))
    return Space(dict.fromkeys(_edges(nodes), choice), name="nats-topology", codec=codec)


@cache
def official_order() -> NDArray[np.int64]:
    """Return the operations of every official index, (15625, 6): codes into OPERATIONS; read-only.

    Columns are the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3. The order of NAS-Bench-201 (arXiv:2001.00326) and of
    NATS-Bench is that of all combinations, shuffled by Python's generator with seed 88.

    >>> official_order()[0].tolist()
    [4, 2, 1, 2, 1, 1]
    """
    rows = list(itertools.product(range(len(OPERATIONS)), repeat=6))
    random.Random(88).shuffle(rows)
    order = np.array(rows, dtype=np.int64)
    order.setflags(write=False)
    return order


def official_index(arch: Arch) -> int:
    """Return the index of `arch` in NAS-Bench-201 (arXiv:2001.00326). Raises UserError if it is no such cell.

    >>> official_index(official_arch(6111))
    6111
    """
    return int(_official_places()[_official_space().index(arch)])


def official_arch(index: int) -> Arch:
    """Return the cell at an index of NAS-Bench-201 (arXiv:2001.00326). Raises UserError outside 0 to 15624.

    >>> topology_space().format(official_arch(0))
    '|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|'
    """
    codes = official_order()
    if not 0 <= index < len(codes):
        raise UserError(f"index {short(index)} is not in NAS-Bench-201: give 0 to {len(codes) - 1}")
    return Arch({edge: OPERATIONS[k] for edge, k in zip(_edges(4), codes[index], strict=True)})


def reachable(arch: Arch, nodes: int | None = None) -> frozenset[str]:
    """Return the edges whose operation, not "none", lies on a path from node 0 to the last node.

    nodes: as many as `arch` has edges for, unless given. Raises UserError if `arch` is no such cell.

    >>> sorted(reachable(topology_space(3).parse("|none~0|+|skip_connect~0|nor_conv_3x3~1|")))
    ['0-2']
    """
    return _between(arch, nodes, frozenset())


def needed(arch: Arch, nodes: int | None = None) -> frozenset[str]:
    """Return the edges whose operation adds to the output: `reachable`, and those that pass on a learned shift.

    A convolution that leaves a node without input still returns the shift of its batch normalisation.

    >>> cell = topology_space(3).parse("|none~0|+|skip_connect~0|nor_conv_3x3~1|")
    >>> sorted(needed(cell)), sorted(reachable(cell))
    (['0-2', '1-2'], ['0-2'])
    """
    return _between(arch, nodes, SHIFTING)


def _between(arch: Arch, nodes: int | None, feeding: frozenset[str]) -> frozenset[str]:
    """Return the edges on a path to the last node, from node 0 or from an operation of `feeding`."""
    count = nodes or _nodes(arch)
    if missing := [edge for edge in _edges(count) if edge not in arch]:
        raise UserError(f"{arch!r} is no cell of {count} nodes: it lacks the edge '{missing[0]}'")
    pairs = [(source, target) for source, target in _pairs(count) if arch[f"{source}-{target}"] != "none"]
    # ordered by target: every way into a source is known before it is left, and backwards for every way out
    fed, used = {0}, {count - 1}
    for source, target in pairs:
        fed |= {target} if source in fed or arch[f"{source}-{target}"] in feeding else set()
    for source, target in reversed(pairs):
        used |= {source} if target in used else set()
    names = {f"{source}-{target}": source in fed for source, target in pairs if target in used}
    return frozenset(name for name, is_fed in names.items() if is_fed or arch[name] in feeding)


def draw(arch: Arch) -> str:
    """Draw a cell as text, a line for each node; `*` marks an operation on no path from input to output.

    Raises UserError if `arch` is no cell.

    >>> print(draw(topology_space(3).parse("|none~0|+|skip_connect~0|nor_conv_3x3~1|")))
    node 0  input
    node 1  0 -> none
    node 2  0 -> skip_connect  1 -> nor_conv_3x3*  output
    * on no path from input to output
    """
    nodes, live = _nodes(arch), reachable(arch)
    cells = {pair: _label(arch, live, *pair) for pair in _pairs(nodes)}
    rows = [[f"node {target}", *(cells[source, target] for source in range(target))] for target in range(nodes)]
    rows[0].append("input")
    rows[-1].append("output")
    dead = any(cell.endswith("*") for cell in cells.values())
    return aligned(rows) + ("\n* on no path from input to output" if dead else "")


def _label(arch: Arch, live: frozenset[str], source: int, target: int) -> str:
    edge = f"{source}-{target}"
    return f"{source} -> {arch[edge]}{'' if edge in live or arch[edge] == 'none' else '*'}"


def _pairs(nodes: int) -> list[tuple[int, int]]:
    """List (source, target) by target, then source: the order of the exchange string."""
    return [(source, target) for target in range(1, nodes) for source in range(target)]


def _edges(nodes: int) -> list[str]:
    return [f"{source}-{target}" for source, target in _pairs(nodes)]


def _nodes(arch: Arch) -> int:
    """Count the nodes; decisions that are no edges, of a joined space, are passed over."""
    nodes = next(n for n in itertools.count(1) if f"0-{n}" not in arch)
    if nodes == 1:
        raise UserError(f"{arch!r} is no cell: give an architecture with decisions 0-1, 0-2, 1-2, ...")
    return nodes


@cache
def _official_space() -> Space:
    return topology_space()


@cache
def _official_places() -> NDArray[np.int64]:
    """Return where `Space.index` finds itself in the official order, (15625,)."""
    return np.argsort(official_order() @ len(OPERATIONS) ** np.arange(5, -1, -1))


def _format(nodes: int, arch: Arch) -> str:
    groups = [[f"{arch[f'{source}-{target}']}~{source}" for source in range(target)] for target in range(1, nodes)]
    return "+".join(f"|{'|'.join(group)}|" for group in groups)


def _parse(nodes: int, operations: tuple[str, ...], text: str) -> Mapping[str, str]:
    groups = text.split("+")
    if len(groups) != nodes - 1:
        raise UserError(
            f"cell {short(text)} has {len(groups)} groups joined by +: a cell of {nodes} nodes has {nodes - 1}"
        )
    found = {}
    for target, group in enumerate(groups, start=1):
        inputs = group[1:-1].split("|")
        if len(group) < 2 or group[0] + group[-1] != "||" or len(inputs) != target:
            shape = "".join(f"|op~{source}" for source in range(target)) + "|"
            raise UserError(f"group {short(group)} of node {target} cannot be read: write {shape}, sources in order")
        for source, part in enumerate(inputs):
            op, _, place = part.rpartition("~")
            if op not in operations or place != str(source):
                allowed = ", ".join(operations)
                raise UserError(
                    f"{short(part)} in group {short(group)} cannot be read: write op~{source}, op one of {allowed}"
                )
            found[f"{source}-{target}"] = op
    return found
