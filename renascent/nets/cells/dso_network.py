"""The network of DSO-NAS's blocks, arXiv:1811.01567, Sec. 3.2: plain, and with scales on every connection."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from renascent.core.flow import flowing
from renascent.core.gates import Gate
from renascent.nets.cells.auxiliary import AuxiliaryHead
from renascent.nets.cells.darts_network import stem
from renascent.nets.cells.mix import weighted_sums
from renascent.nets.cells.ops import ConvBN, Norm, drop_paths
from renascent.nets.context import GateContext

OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")
"""The operations of every level, in order: node i.j is operation j of level i."""

INPUT, OUT = "input", "out"
"""What the first level reads, and what the block's last 1x1 convolution reads."""

Wiring = Mapping[str, tuple[str, ...]]
"""Node of a block, or `OUT` -> what it reads: earlier nodes and `INPUT`."""

Scaled = Sequence[tuple[str, Tensor | None, bool]]
"""What a node reads: source, scale (None for 1), whether only the scale wants a gradient."""


def complete(levels: int) -> dict[str, tuple[str, ...]]:
    """Return the wiring with every connection: earlier levels and the input, and all nodes at the output.

    >>> sum(map(len, complete(4).values()))
    128
    """
    found: dict[str, tuple[str, ...]] = {}
    for i in range(1, levels + 1):
        before = tuple(found)
        found |= {f"{i}.{j}": (INPUT, *before) for j in range(1, len(OPERATIONS) + 1)}
    return {**found, OUT: tuple(found)}


def living(wiring: Wiring) -> Wiring:
    """Return the connections that lie on a path from the block's input to its output; nodes without any are left out.

    >>> living({"1.1": ("input",), "2.1": ("1.2",), "out": ("1.1", "2.1")})
    {'1.1': ('input',), 'out': ('1.1',)}
    """
    return _living(tuple(wiring.items()))


@lru_cache(maxsize=1024)
def _living(wiring: tuple[tuple[str, tuple[str, ...]], ...]) -> Wiring:
    there = flowing([(source, node) for node, row in wiring for source in row], [INPUT], [OUT])
    kept = {node: tuple(source for source in row if (source, node) in there) for node, row in wiring}
    return {node: row for node, row in kept.items() if row}


def operation(node: str, channels: int, norm: Norm) -> nn.Module:
    """Return the operation of a node, (batch, channels, h, w) to the same shape; pools have no normalisation.

    A separable convolution is a depthwise one, a 1x1, normalisation and ReLU, once.
    """
    name = OPERATIONS[int(node.rpartition(".")[2]) - 1]
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, 1, 1)
    depthwise = nn.Conv2d(channels, channels, int(name[-1]), padding="same", groups=channels, bias=False)
    return nn.Sequential(depthwise, ConvBN(channels, channels, active=nn.ReLU(), norm=norm))


class Block(nn.Module):
    """A block of some connections, Eqs 3 and 4. One of none that lead from its input to its output is the identity.

    A node is the operation of the sum of what it reads. The output is the concatenation of what `OUT` reads, through a
    1x1 convolution, normalisation and ReLU, added to the block's input.
    """

    def __init__(self, wiring: Wiring, channels: int, norm: Norm) -> None:
        super().__init__()
        self.wiring = living(wiring)
        self.operations = nn.ModuleDict(
            {key(node): operation(node, channels, norm) for node in self.wiring if node != OUT}
        )
        if OUT in self.wiring:
            self.join = self._joining(self.wiring[OUT], channels, norm)

    def _joining(self, nodes: Sequence[str], channels: int, norm: Norm) -> nn.Module:
        return ConvBN(len(nodes) * channels, channels, active=nn.ReLU(), norm=norm)

    def _joined(self, maps: Mapping[str, Tensor], row: Scaled) -> Tensor:
        return self.join(torch.cat([maps[source] for source, _, _ in row], 1))  # type: ignore[no-any-return]

    def _wired(self) -> Mapping[str, Scaled]:
        """Return what each node reads in this forward pass, the computed ones only, in order."""
        return {node: [(source, None, False) for source in row] for node, row in self.wiring.items()}

    def forward(self, x: Tensor, drop_path: float) -> Tensor:
        """Map (batch, channels, h, w) to the same shape."""
        wired, maps = self._wired(), {INPUT: x}
        for _, level in itertools.groupby((node for node in wired if node != OUT), _level):
            nodes = list(level)
            for node, read in zip(nodes, _summed(maps, [wired[node] for node in nodes]), strict=True):
                out = self.operations[key(node)](read)
                maps[node] = drop_paths(out, drop_path) if self.training else out
        return x + self._joined(maps, wired[OUT]) if OUT in wired else x


class SharedBlock(Block):
    """A block of all connections, each with the scale that a gate has for it.

    What no active or probed connection feeds, and what leads to none, is not computed: removing it changes nothing.

    decisions: node -> the decision of what it reads.  place: of the block, among those that share the decisions.
    """

    def __init__(
        self, levels: int, channels: int, norm: Norm, context: GateContext, decisions: Mapping[str, str], place: int
    ) -> None:
        super().__init__(complete(levels), channels, norm)
        self.context, self.decisions, self.place = context, decisions, place

    def _joining(self, nodes: Sequence[str], channels: int, norm: Norm) -> nn.Module:
        return Join(nodes, channels, norm)

    def _joined(self, maps: Mapping[str, Tensor], row: Scaled) -> Tensor:
        return self.join(maps, row)  # type: ignore[no-any-return]

    def _wired(self) -> Mapping[str, Scaled]:
        gates = {node: self.context.gate(self.decisions[node]) for node in self.wiring}
        open_ = {n: tuple(self.wiring[n][k] for k in sorted({*g.active, *g.probe})) for n, g in gates.items()}
        return {node: self._scaled(node, row, gates[node]) for node, row in living(open_).items()}

    def _scaled(self, node: str, row: Sequence[str], gate: Gate) -> Scaled:
        weight = gate.weight if gate.weight.dim() == 1 else gate.weight[self.place]
        learns, options = weight.requires_grad, self.wiring[node]
        active = {options[k] for k in gate.active}
        if not learns and weight.device.type == "cpu" and bool((weight[list(gate.active)] == 1).all()):
            return [(source, None, False) for source in row if source in active]
        parts = dict(zip(options, weight.unbind(0), strict=True))
        return [(source, parts[source], source not in active) for source in row if learns or source in active]


class Join(nn.Module):
    """The 1x1 convolution at a block's output, with a part of its weight for every node: only those read are computed.

    The scales multiply the weight, which is smaller than the maps.
    """

    def __init__(self, nodes: Sequence[str], channels: int, norm: Norm) -> None:
        super().__init__()
        whole = nn.Conv2d(len(nodes) * channels, channels, 1, bias=False).weight.detach()
        parts = zip(nodes, torch.split(whole, channels, 1), strict=True)
        self.parts = nn.ParameterDict({key(node): nn.Parameter(part.clone()) for node, part in parts})
        self.bn = norm(channels)

    def forward(self, maps: Mapping[str, Tensor], row: Scaled) -> Tensor:
        if not row:  # probes only, that nobody asks for: the 1x1 convolution of nothing
            return F.relu(self.bn(torch.zeros_like(maps[INPUT])))
        weights = [_times(self.parts[key(source)], scale, probed) for source, scale, probed in row]
        read = torch.cat([maps[source].detach() if probed else maps[source] for source, _, probed in row], 1)
        return F.relu(self.bn(F.conv2d(read, torch.cat(weights, 1))))

    def weight(self, nodes: Iterable[str]) -> Tensor:
        """Return the weight that reads these nodes, (channels, nodes x channels, 1, 1)."""
        return torch.cat([self.parts[key(node)] for node in nodes], 1)


class Reduction(nn.Module):
    """Halve the map and double the channels: the sum of a 1x1 and a 3x3 convolution, each with norm and ReLU."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.small = ConvBN(channels, 2 * channels, 1, 2, active=nn.ReLU(), norm=norm)
        self.large = ConvBN(channels, 2 * channels, 3, 2, active=nn.ReLU(), norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.small(x) + self.large(x)  # type: ignore[no-any-return]


class Outline(NamedTuple):
    """What a network has apart from its blocks. channels: of the first.  blocks: of each stage.  small: its images.

    dropout: before the classifier.
    """

    channels: int
    blocks: tuple[int, ...]
    small: bool
    dropout: float


class DSONetwork(nn.Module):
    """Stem, stages of blocks with reductions between them, linear classifier: arXiv:1811.01567, Fig. 3.

    block: makes a block of a number and channels.
    drop_path: probability that what a node makes is dropped for an image while training, arXiv:1605.07648; settable at
    any time.
    """

    def __init__(
        self, shape: Outline, block: Callable[[int, int], Block], norm: Norm, channels_in: int, classes: int
    ) -> None:
        super().__init__()
        self.small, self.dropout, self.width, self.drop_path = shape.small, shape.dropout, shape.channels, 0.0
        width = self.width
        first = [ConvBN(channels_in, width, 3, norm=norm)] if self.small else stem(False, channels_in, width, norm)
        self.stem = nn.Sequential(*first, nn.ReLU())
        self.ends = tuple(itertools.accumulate(shape.blocks))
        widths = [width * 2**stage for stage, count in enumerate(shape.blocks) for _ in range(count)]
        self.blocks = nn.ModuleList(itertools.starmap(block, enumerate(widths)))
        self.reductions = nn.ModuleList(Reduction(widths[end - 1], norm) for end in self.ends[:-1])
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor, auxiliary: nn.Module | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Map (batch, channels, h, w) to (batch, classes); with an auxiliary head, to its answer too."""
        x, aside = self.stem(x), None
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, self.drop_path)
            if number in self.ends[:-1]:
                x = self.reductions[self.ends.index(number)](x)
            if auxiliary is not None and number == self.ends[:2][-1]:
                aside = auxiliary(x)
        # unlike mean(), its gradient keeps the memory layout of x, and mixed layouts are slow all the way down
        x = F.avg_pool2d(x, (x.shape[2], x.shape[3])).flatten(1)
        out: Tensor = self.classifier(F.dropout(x, self.dropout, self.training) if self.dropout else x)
        return out if aside is None else (out, aside)

    @property
    def auxiliary_size(self) -> int:
        """The smallest side of images for which an auxiliary head has a map to read."""
        return (8 if self.small else 56) << len(self.ends[1:3])

    def auxiliary_head(self) -> AuxiliaryHead:
        """Return a fresh head for the end of the second stage, its reduction included."""
        return AuxiliaryHead(self.width << len(self.ends[1:3]), self.classifier.out_features, 3 if self.small else 2)


def key(node: str) -> str:
    """Return a node's name among modules, which have no dot."""
    return node.replace(".", "-")


def _times(x: Tensor, scale: Tensor | None, probed: bool) -> Tensor:
    return x if scale is None else (x.detach() if probed else x) * scale


def _level(node: str) -> str:
    return node.partition(".")[0]


def _summed(maps: Mapping[str, Tensor], rows: Sequence[Scaled]) -> Sequence[Tensor]:
    """Return the sum of what each node of a level reads, times its scale. A probe adds nothing but its gradient."""
    if all(scale is None for row in rows for _, scale, _ in row):
        # zeros where a node reads probes that nobody asks for
        parts = [[maps[source] for source, _, _ in row] for row in rows]
        return [sum(row[1:], row[0]) if row else torch.zeros_like(maps[INPUT]) for row in parts]
    scales = [{source: _weight(scale, probed, maps[INPUT]) for source, scale, probed in row} for row in rows]
    sources, nothing = [source for source in maps if any(source in row for row in scales)], maps[INPUT].new_zeros(())
    weights = [torch.stack([row.get(source, nothing) for source in sources]) for row in scales]
    return weighted_sums([maps[source] for source in sources], torch.stack(weights))


def _weight(scale: Tensor | None, probed: bool, like: Tensor) -> Tensor:
    return like.new_ones(()) if scale is None else (scale - scale.detach() if probed else scale).to(like)
