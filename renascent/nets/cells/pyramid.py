"""PyramidNet whose 3x3 convolutions are trees of decided operations, arXiv:1812.00332, Sec. 4.1."""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Annotated, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from renascent.core.errors import UserError
from renascent.core.fields import Count, Range, settings
from renascent.core.space import Arch, Choice, Space
from renascent.core.text import aligned
from renascent.nets.cells.ops import Norm, drop_paths
from renascent.nets.cells.slots import ChoiceSpace, Place
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
    each, whose twelve operations are chosen for every block by itself.

    Args:
        blocks: number B of blocks in each of the three stages.
        final_channels: output channels F of the last block, a multiple of 4.

    References:
        Cai, Zhu and Han, ProxylessNAS, ICLR 2019, arXiv:1812.00332, Sec. 4.1 and Appendix A. The backbone: Han, Kim and
        Kim, Deep Pyramidal Residual Networks, CVPR 2017, arXiv:1610.02915. The cell: Cai, Yang, Zhang, Han and Yu,
        Path-Level Network Transformation for Efficient Architecture Search, ICML 2018, arXiv:1806.02639.
    """

    blocks: Count = 18
    final_channels: Annotated[int, Range(68)] = 400

    def __post_init__(self) -> None:
        if self.final_channels % 4:
            raise UserError(f"final_channels is {self.final_channels}: give a multiple of 4")

    @property
    def space(self) -> Space:
        edges = range(sum(_edges(child) for child in CELL))
        names = [f"block{k}.e{edge}" for k in range(STAGES * self.blocks) for edge in edges]
        return Space({name: Choice(OPERATIONS) for name in names}, name="pyramid-tree")

    @property
    def reference(self) -> Arch:
        """Every edge `sep_3x3`."""
        return self.space.arch(dict.fromkeys(self.space.decisions, "sep_3x3"))

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
        cells = [_cell(place, norm, f"block{k}", block) for k, block in enumerate(blocks)]
        return PyramidNet(
            stem=nn.Sequential(nn.Conv2d(channels_in, STEM, 3, padding=1, bias=False), norm(STEM)),
            blocks=[Pyramidal(block, cell, norm) for block, cell in zip(blocks, cells, strict=True)],
            last=nn.Sequential(norm(blocks[-1].outputs), nn.ReLU()),
            classifier=Classifier(blocks[-1].outputs, classes),
        )

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text, a block a line: its edges in order, `sep_3x3` as sep3, `identity` as a dash."""
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
    """A residual block without a convolution in its shortcut: that is pooled, and padded with channels of zeros."""

    def __init__(self, block: Block, cell: nn.Module, norm: Norm) -> None:
        super().__init__()
        self.stride = block.stride
        self.inside = nn.Sequential(
            norm(block.inputs),
            nn.Conv2d(block.inputs, block.inner, 1, bias=False),
            norm(block.inner),
            nn.ReLU(),
            cell,
            norm(block.inner),
            nn.ReLU(),
            nn.Conv2d(block.inner, block.outputs, 1, bias=False),
            norm(block.outputs),
        )

    def forward(self, x: Tensor, drop_path: float) -> Tensor:
        out = self.inside(x)
        out = drop_paths(out, drop_path) if self.training else out
        return padded_sum(out, functional.avg_pool2d(x, 2, ceil_mode=True) if self.stride > 1 else x)


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


def _edges(shape: Tree) -> int:
    """Return how many edges a tree has."""
    return sum(1 + _edges(child) for child in shape)
