"""PyramidNet whose 3x3 convolutions are trees of decided operations, arXiv:1812.00332, Sec. 4.1."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from functools import partial
from itertools import count
from typing import Annotated, NamedTuple

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from renascent.core.dependencies import Graph
from renascent.core.errors import UserError
from renascent.core.fields import Count, OneOf, Range, settings
from renascent.core.schema import ABSENT
from renascent.core.space import Arch, Choice, Space, Subset, Value
from renascent.core.spaces import Priced
from renascent.core.text import aligned
from renascent.nets.cells import tree_a
from renascent.nets.cells.listing import Placed, ran
from renascent.nets.cells.ops import Norm, drop_paths
from renascent.nets.cells.slots import ChoiceSpace, Place
from renascent.nets.sizes.counted import COUNTED
from renascent.nets.sizes.mixture import padded_sum
from renascent.nets.sizes.units import Classifier

Tree = tuple["Tree", ...]
"""A node: what each of its edges leads to. A leaf has none."""

STEM, STAGES = 16, 3
"""Channels of the first convolution, which are the inner width that the blocks grow from; stages of equal length."""

SEPARABLE = {"dil_sep_3x3": (3, 2), "sep_3x3": (3, 1), "sep_5x5": (5, 1), "sep_7x7": (7, 1)}
"""Operation -> kernel size and dilation of its depthwise convolution."""

OPERATIONS = ("dil_sep_3x3", "identity", "sep_3x3", "sep_5x5", "sep_7x7", "avg_pool_3x3", "max_pool_3x3")
"""Candidates of an edge, arXiv:1812.00332, Appendix A."""


def tree(depth: int, branches: int) -> Tree:
    """Return the tree in which every node above `depth` has so many edges.

    >>> tree(2, 2)
    (((), ()), ((), ()))
    """
    return (tree(depth - 1, branches),) * branches if depth else ()


CELL = tree(3, 2)

CELL_AT = 4
"""Place of the cell among the layers of a block."""

TREES = ("full", "A")
"""Trees by name: the full one of depth three, or tree A, whose edges are kept or not."""


class Block(NamedTuple):
    """One block of the backbone. inner: channels of its cell."""

    inputs: int
    inner: int
    outputs: int
    stride: int


@settings
class PyramidTree(ChoiceSpace):
    """A bottleneck PyramidNet for small images; a tree of operations stands in the place of each 3x3 convolution.

    The root of a tree has two fixed convolutions in two groups. Its two children and their four children have two edges
    each, whose twelve operations are chosen for every block by itself. Tree A has four edges and then nine below, each
    of one operation, and any of them are kept.

    Args:
        blocks: number B of blocks in each of the three stages.
        final_channels: output channels F of the last block, a multiple of 4.
        tree: of a cell, the `full` one of depth three with twelve decided operations, or `A`, with nine paths.

    References:
        Cai, Zhu and Han, ProxylessNAS, ICLR 2019, arXiv:1812.00332, Sec. 4.1 and Appendix A. The backbone: Han, Kim and
        Kim, Deep Pyramidal Residual Networks, CVPR 2017, arXiv:1610.02915. The cell: Cai, Yang, Zhang, Han and Yu,
        Path-Level Network Transformation for Efficient Architecture Search, ICML 2018, arXiv:1806.02639.
        tree A as a space: Zhou, Yang, Wang and Pan, BayesNAS, ICML 2019, arXiv:1905.04919.
    """

    blocks: Count = 18
    final_channels: Annotated[int, Range(68)] = 400
    tree: Annotated[str, OneOf("tree", TREES)] = field(default="full", metadata=ABSENT)

    def __post_init__(self) -> None:
        if self.final_channels % 4:
            raise UserError(f"final_channels is {self.final_channels}: give a multiple of 4")

    @property
    def space(self) -> Space:
        if self.tree == "A":
            subsets = {prefix + node: Subset(row) for prefix in self._prefixes for node, row in tree_a.TREE.items()}
            return Space(subsets, name="pyramid-tree", alive=partial(tree_a.alive, self._prefixes))
        edges = range(sum(_edges(child) for child in CELL))
        names = [f"block{k}.e{edge}" for k in range(STAGES * self.blocks) for edge in edges]
        return Space({name: Choice(OPERATIONS) for name in names}, name="pyramid-tree")

    @property
    def _prefixes(self) -> tuple[str, ...]:
        return tuple(f"block{k}." for k in range(STAGES * self.blocks))

    @property
    def reference(self) -> Arch:
        """Every edge `sep_3x3`; of tree A, all edges."""
        space = self.space
        if self.tree == "A":
            return space.arch({name: space.options(name) for name in space.decisions})
        return self.space.arch(dict.fromkeys(self.space.decisions, "sep_3x3"))

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """Each decision for itself; of tree A, a graph for each cell."""
        return tuple(map(tree_a.graph, self._prefixes)) if self.tree == "A" else super().graphs

    def backbone(self) -> Iterator[Block]:
        """Yield the blocks: the inner width of block k of 3B is 16 + (F / 4 - 16) k / 3B, rounded down to even."""
        total, inputs = STAGES * self.blocks, STEM
        for k in range(total):
            inner = (STEM + (self.final_channels // 4 - STEM) * (k + 1) // total) // 2 * 2
            yield Block(inputs, inner, 4 * inner, 2 if k and k % self.blocks == 0 else 1)
            inputs = 4 * inner

    def build(self, place: Place, norm: Norm, channels_in: int, classes: int) -> nn.Module:
        """Build the network. place: makes what is decided.  norm: makes a batch normalisation of so many channels."""
        blocks = list(self.backbone())
        cell = _cell if self.tree == "full" else _cell_a
        cells = [cell(place, norm, f"block{k}", block) for k, block in enumerate(blocks)]
        return PyramidNet(
            stem=nn.Sequential(nn.Conv2d(channels_in, STEM, 3, padding=1, bias=False), norm(STEM)),
            blocks=[Pyramidal(block, cell, norm) for block, cell in zip(blocks, cells, strict=True)],
            last=nn.Sequential(norm(blocks[-1].outputs), nn.ReLU()),
            classifier=Classifier(blocks[-1].outputs, classes),
        )

    def cost(self, name: str, shape: tuple[int, int, int], classes: int) -> Priced | None:
        """Return a counted cost for data of `shape` (channels, h, w), of what is alive; None: the options' add up."""
        if self.tree == "full" or name not in self.costs:
            return None
        of, size, cells = COUNTED[name][0], shape[1:], []
        for block in self.backbone():
            before, size = size, (-(-size[0] // block.stride), -(-size[1] // block.stride))
            cells.append(tree_a.Cell(block.inner, size, before))
        empty, smallest = np.zeros(len(cells) + 1), np.zeros(len(cells) + 1)
        for row, kept in ((empty, {}), (smallest, tree_a.SMALLEST)):
            arch = Arch({p + node: kept.get(node, ()) for p in self._prefixes for node in tree_a.TREE})
            for _, layer in ran(Placed(arch), lambda at: self.build(at, nn.BatchNorm2d, shape[0], classes), shape):
                part, number, *_ = [*layer.name.split("."), ""]
                row[int(number) if part == "blocks" else -1] += of(layer)
        return tree_a.TreeCost(self.space, empty.sum(), (smallest - empty)[:-1], of, cells)

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text, a block a line: its edges in order, `sep_3x3` as sep3, `identity` as a dash."""
        if self.tree == "A":
            return aligned(
                [(p[:-1], *(_edges_drawn(node, arch[p + node]) for node in tree_a.TREE)) for p in self._prefixes]
            )
        rows: dict[str, list[str]] = {}
        for name, option in arch.items():
            kind, *_, size = ("-", "") if option == "identity" else str(option).split("_")
            rows.setdefault(name.partition(".")[0], []).append(kind + size[:1])
        return aligned([(block, *options) for block, options in rows.items()], "<" * 20)


class Node(nn.Module):
    """Copies its input to its edges, and adds what comes back."""

    def __init__(self, edges: Iterable[nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)

    def forward(self, x: Tensor) -> Tensor:
        parts = [edge(x) for edge in self.edges]
        return sum(parts[1:], parts[0])  # type: ignore[no-any-return]


def grown(shape: Tree, edge: Callable[[int], nn.Module], depth: int = 0) -> Node:
    """Return the node at the root of a tree. edge: makes the operation of the next edge, depth first; of its depth."""
    return Node(nn.Sequential(edge(depth), grown(sub, edge, depth + 1)) if sub else edge(depth) for sub in shape)


class Pyramidal(nn.Module):
    """A residual block without a convolution in its shortcut: that is pooled, and padded with channels of zeros.

    One whose cell keeps nothing is its shortcut alone.
    """

    def __init__(self, block: Block, cell: nn.Module, norm: Norm) -> None:
        super().__init__()
        self.stride, self.more = block.stride, block.outputs - block.inputs
        layers = [
            norm(block.inputs),
            nn.Conv2d(block.inputs, block.inner, 1, bias=False),
            norm(block.inner),
            nn.ReLU(),
            cell,
            norm(block.inner),
            nn.ReLU(),
            nn.Conv2d(block.inner, block.outputs, 1, bias=False),
            norm(block.outputs),
        ]
        self.inside = nn.Sequential(*([] if isinstance(cell, tree_a.TreeCell) and not cell.edges else layers))

    @property
    def closed(self) -> bool:
        """Whether its cell keeps nothing in this forward pass."""
        cell = self.inside[CELL_AT] if len(self.inside) else None
        return cell is None or (isinstance(cell, tree_a.TreeCell) and not cell.opened())

    def forward(self, x: Tensor, drop_path: float) -> Tensor:
        short = functional.avg_pool2d(x, 2, ceil_mode=True) if self.stride > 1 else x
        if self.closed:
            return functional.pad(short, (0, 0, 0, 0, 0, self.more))
        out = self.inside(x)
        out = drop_paths(out, drop_path) if self.training else out
        return padded_sum(out, short)


class PyramidNet(nn.Module):
    """The backbone with its cells.

    drop_path: probability that what a block adds to its shortcut is dropped for an image while training, as in Huang et
    al., Deep Networks with Stochastic Depth, arXiv:1603.09382; settable at any time.
    """

    def __init__(self, stem: nn.Module, blocks: Iterable[Pyramidal], last: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.stem, self.blocks, self.last, self.classifier = stem, nn.ModuleList(blocks), last, classifier
        self.drop_path = 0.0

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, self.drop_path)
        return self.classifier(self.last(x))  # type: ignore[no-any-return]


def operation(name: str, channels: int, norm: Norm) -> nn.Module:
    """Return an operation of an edge by its name, mapping (batch, channels, h, w) to the same shape."""
    if name == "identity":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, 1, 1)
    kernel, dilation = SEPARABLE[name]
    window = kernel, 1, kernel // 2 * dilation, dilation
    depthwise = nn.Conv2d(channels, channels, *window, groups=channels, bias=False)
    return nn.Sequential(norm(channels), nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False))


def _cell(place: Place, norm: Norm, name: str, block: Block) -> Node:
    """Return the tree of a block: fixed convolutions at the root, decided operations below."""
    numbers = count()

    def edge(depth: int) -> nn.Module:
        if depth == 0:
            return nn.Conv2d(block.inner, block.inner, 3, block.stride, 1, groups=2, bias=False)
        return place(f"{name}.e{next(numbers)}", lambda option: operation(option, block.inner, norm))

    return grown(CELL, edge)


def _cell_a(place: Place, norm: Norm, name: str, block: Block) -> tree_a.TreeCell:
    """Return tree A of a block: fixed convolutions at the root, decided edges below."""

    def edge(option: str, channels: int) -> nn.Module:
        if option == "conv_1x1":
            return tree_a.convolution(channels, norm)
        return operation(option, channels, norm)

    def subtree(node: str) -> nn.Module:
        return tree_a.branch(node, place, f"{name}.", block.inner, edge)

    return tree_a.TreeCell(block.inner, block.stride, subtree)


def _edges_drawn(node: str, kept: Value) -> str:
    """Return the edges of a node that are kept, as conv1+max3; a dash for none."""
    parts = [option.split() for option in kept] if isinstance(kept, tuple) else []
    return f"{node}:" + ("+".join(part[0].split("_")[0] + part[0].split("_")[-1][:1] for part in parts) or "-")


def _edges(shape: Tree) -> int:
    """Return how many edges a tree has."""
    return sum(1 + _edges(child) for child in shape)
