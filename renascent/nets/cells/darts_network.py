"""The plain network of the cells of DARTS: what is decided in it is placed by a function."""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from renascent.core.codecs.darts_cells import edge_name, edges
from renascent.nets.cells.auxiliary import AuxiliaryHead
from renascent.nets.cells.darts_ops import FactorisedReduction, Preprocess, factorised, operation, pooled
from renascent.nets.cells.ops import Norm, Parallel, Zero, drop_paths
from renascent.nets.cells.slots import Place


class Skeleton(NamedTuple):
    """What a network has apart from its cells.

    channels: of the first cells.  nodes: of a cell.  cells: how many.  reductions: which of them halve the map.
    fixed: whether these are GDAS's.  small: the stem's images.
    normed: whether pools, and the map that the classifier reads, have a normalisation behind them: sums of many
        operations grow from node to node, and a classifier of such a sum does not learn.
    """

    channels: int
    nodes: int
    cells: int
    reductions: tuple[int, int]
    fixed: bool
    small: bool
    normed: bool


class Inputs(nn.Module):
    """Nodes 0 and 1 of a cell: the outputs of the last but one and of the last cell, brought to its width.

    widths: of both, and of the cell.  reduced: whether the last cell halved the map, and so this one the other.
    """

    def __init__(self, widths: tuple[int, int, int], reduced: bool, norm: Norm) -> None:
        super().__init__()
        first, last, width = widths
        self.first = FactorisedReduction(first, width, norm) if reduced else Preprocess(first, width, norm)
        self.last = Preprocess(last, width, norm)

    def forward(self, first: Tensor, last: Tensor) -> list[Tensor]:
        return [self.first(first), self.last(last)]


class Cell(nn.Module):
    """Every node is the sum of its edges from earlier nodes; the output is the concatenation of the nodes.

    kind: "normal" or "reduce": then edges from both inputs halve the map.
    """

    def __init__(self, kind: str, shape: Skeleton, inputs: Inputs, width: int, place: Place, norm: Norm) -> None:
        super().__init__()
        self.inputs, self.nodes, self.stride = inputs, shape.nodes, 2 if kind == "reduce" else 1
        self.edges = nn.ModuleDict()
        make = partial(operation, channels=width, norm=norm, pools_normed=shape.normed)
        for source, target in edges(shape.nodes):
            build = partial(make, stride=self.stride if source < 2 else 1)
            placed = place(edge_name(kind, source, target), build)
            if not isinstance(placed, Zero):
                self.edges[f"{source}-{target}"] = placed

    def forward(self, first: Tensor, last: Tensor, drop_path: float) -> Tensor:
        """Map (batch, first, h or 2 h, ..) and (batch, last, h, w) to (batch, nodes x width, h / stride, ...)."""
        values = self.inputs(first, last)
        for target in range(2, self.nodes + 2):
            names = {source: f"{source}-{target}" for source in range(target)}
            parts = [self._edge(name, values[k], drop_path) for k, name in names.items() if name in self.edges]
            values.append(sum(parts[1:], parts[0]) if parts else self._nothing(values[1]))
        return torch.cat(values[2:], 1)

    def _nothing(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])

    def _edge(self, name: str, x: Tensor, drop_path: float) -> Tensor:
        op = self.edges[name]
        found = [self._dropped(each, x, drop_path) for each in (op if isinstance(op, Parallel) else [op])]
        return sum(found[1:], found[0])

    def _dropped(self, op: nn.Module, x: Tensor, drop_path: float) -> Tensor:
        out: Tensor = op(x)
        return drop_paths(out, drop_path) if self.training and not isinstance(op, nn.Identity) else out


class FixedReduction(nn.Module):
    """GDAS's fixed reduction cell: of each input a factorised 3x3 convolution and a 3x3 max pooling, concatenated."""

    def __init__(self, inputs: Inputs, width: int, norm: Norm) -> None:
        super().__init__()
        self.inputs = inputs
        self.convolutions = nn.ModuleList(factorised(width, norm) for _ in range(2))
        self.pools = nn.ModuleList(pooled(width, norm) for _ in range(2))

    def forward(self, first: Tensor, last: Tensor, drop_path: float) -> Tensor:
        """Map (batch, first, h or 2 h, ...) and (batch, last, h, w) to (batch, 4 width, h / 2, w / 2)."""
        values = self.inputs(first, last)
        parts = [op(x) for ops in (self.convolutions, self.pools) for op, x in zip(ops, values, strict=True)]
        return torch.cat([drop_paths(part, drop_path) for part in parts] if self.training else parts, 1)


class DartsNetwork(nn.Module):
    """Stem, normal and reduction cells, linear classifier: arXiv:1806.09055, Sec. 3.1 and A.2; GDAS, Fig. 3.

    place: what stands where an operation is decided.  norm: of all normalisations.
    drop_path: probability that an edge other than a skip is dropped for an image while training, arXiv:1605.07648;
    settable at any time.
    """

    def __init__(self, shape: Skeleton, place: Place, norm: Norm, channels_in: int, classes: int) -> None:
        super().__init__()
        self.small, self.reductions = shape.small, shape.reductions
        self.stem = nn.ModuleList(stem(self.small, channels_in, shape.channels, norm))
        self.cells = nn.ModuleList()
        width = shape.channels
        first = last = width if not self.small else 3 * width
        reduced = not self.small
        for k in range(shape.cells):
            reduces = k in self.reductions
            width *= 2 if reduces else 1
            inputs = Inputs((first, last, width), reduced, norm)
            if reduces and shape.fixed:
                self.cells.append(FixedReduction(inputs, width, norm))
                first, last = last, 4 * width
            else:
                self.cells.append(Cell("reduce" if reduces else "normal", shape, inputs, width, place, norm))
                first, last = last, shape.nodes * width
            if reduces:
                self.after_reductions = last
            reduced = reduces
        self.last_norm = norm(last) if shape.normed else nn.Identity()
        self.classifier = nn.Linear(last, classes)
        self.drop_path = 0.0

    def forward(self, x: Tensor, auxiliary: nn.Module | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Map (batch, channels, h, w) to (batch, classes); with an auxiliary head, to its answer too."""
        first = self.stem[0](x)
        last = first if self.small else self.stem[1](first)
        aside = None
        for k, cell in enumerate(self.cells):
            first, last = last, cell(first, last, self.drop_path)
            if auxiliary is not None and k == max(self.reductions):
                aside = auxiliary(last)
        last = self.last_norm(last)
        # unlike mean(), its gradient keeps the memory layout of x, and mixed layouts are slow all the way down
        out: Tensor = self.classifier(F.avg_pool2d(last, (last.shape[2], last.shape[3])).flatten(1))
        return out if aside is None else (out, aside)

    @property
    def auxiliary_size(self) -> int:
        """The smallest side of images for which an auxiliary head has a map to read."""
        return 32 if self.small else 224

    def auxiliary_head(self) -> AuxiliaryHead:
        """Return a fresh head for the output of the last reduction cell."""
        return AuxiliaryHead(self.after_reductions, self.classifier.out_features, 3 if self.small else 2)


def stem(small: bool, channels_in: int, channels: int, norm: Norm) -> list[nn.Module]:
    """Return what makes the inputs of the first cell: one part for both, or one for each."""

    def conv(before: int, width: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(before, width, 3, stride, 1, bias=False), norm(width)]

    if small:
        return [nn.Sequential(*conv(channels_in, 3 * channels, 1))]
    half = max(channels // 2, 1)
    first = [*conv(channels_in, half, 2), nn.ReLU(), *conv(half, channels, 2)]
    return [nn.Sequential(*first), nn.Sequential(nn.ReLU(), *conv(channels, channels, 2))]
