"""The space of DSO-NAS: blocks of which any connections may be kept, arXiv:1811.01567."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial, reduce
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from renascent.core.bounds import COSTS
from renascent.core.decisions import Value
from renascent.core.dependencies import Graph
from renascent.core.errors import UserError
from renascent.core.fields import Count, OneOf, Range, settings
from renascent.core.gates import Gates, moved
from renascent.core.space import Arch, Space, Subset
from renascent.core.spaces import Priced, SpaceConfig, Supernet
from renascent.core.text import aligned
from renascent.nets.cells.darts import STEMS
from renascent.nets.cells.dso_costs import Prices, SubsetCost, prices
from renascent.nets.cells.dso_network import (
    INPUT,
    OPERATIONS,
    OUT,
    Block,
    DSONetwork,
    Join,
    Outline,
    SharedBlock,
    Wiring,
    complete,
    living,
)
from renascent.nets.cells.listing import Placed, ran
from renascent.nets.cells.norm import BatchStatisticsNorm
from renascent.nets.cells.ops import Norm
from renascent.nets.context import GateContext
from renascent.nets.sizes.counted import COUNTED


@settings
class DSO(SpaceConfig):
    """Blocks of levels of four operations. Each reads any of what is before it, and the output any of them all.

    Args:
        channels: width C of the first stage; every further one has twice as many.
        blocks: how many blocks each stage has.
        levels: number M of levels in a block, of the operations sep_conv_3x3, sep_conv_5x5, avg_pool_3x3, max_pool_3x3.
        share: whether all blocks keep the same connections (DSO-NAS-share), or each its own (DSO-NAS-full).
        stem: what stands before the blocks, one convolution for small images or three of stride 2 for ImageNet's.
        dropout: probability of dropping a feature ahead of the classifier while training.

    References:
        Zhang, Huang and Wang, You Only Search Once: Single Shot Neural Architecture Search via Direct Sparse
        Optimization, arXiv:1811.01567, Sec. 3.2, Eqs 3-4.
    """

    channels: Count = 16
    blocks: Annotated[tuple[int, ...], Range(1, 100)] = (8, 8, 8)
    levels: Annotated[int, Range(1, 15)] = 4
    share: bool = False
    stem: Annotated[str, OneOf("stem", STEMS)] = "cifar"
    dropout: Annotated[float, Range(0, 0.9999)] = 0.0

    def __post_init__(self) -> None:
        if not self.blocks:
            raise UserError("blocks is (): give how many each stage has, as in 8,8,8")

    @property
    def space(self) -> Space:
        whole = complete(self.levels)
        decisions = {name: Subset(whole[node]) for part in self.parts for node, name in part.items()}
        return Space(decisions, name="dso", alive=self.alive)

    @property
    def parts(self) -> tuple[Mapping[str, str], ...]:
        """The decision of every node of a block: of all blocks alike, or of each."""
        nodes = complete(self.levels)
        if self.share:
            return ({node: node if node == OUT else f"op.{node}" for node in nodes},)
        return tuple({node: f"block{k}.{node}" for node in nodes} for k in range(sum(self.blocks)))

    def part(self, block: int) -> Mapping[str, str]:
        """Return the decisions of a block by its number."""
        return self.parts[0 if self.share else block]

    def alive(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Take out the connections that lie on no path from their block's input to its output."""
        found: dict[str, Value] = {}
        for part in self.parts:
            there = living(_wiring(values, part))
            found |= {name: there.get(node, ()) for node, name in part.items()}
        return found

    @property
    def reference(self) -> Arch:
        """The complete network: the published blocks are not known to the last connection."""
        space = self.space
        return space.arch({name: space.options(name) for name in space.decisions})

    @property
    def costs(self) -> tuple[str, ...]:
        """The counted costs that it knows: all that add up."""
        return COSTS[:3]

    def cost(self, name: str, shape: tuple[int, int, int], classes: int) -> Priced | None:
        """Return a counted cost for data of `shape` (channels, h, w): of what is alive."""
        if name not in self.costs:
            return None
        of, parts = COUNTED[name][0], self.parts
        nothing = self.space.arch(dict.fromkeys(self.space.decisions, ()))
        around = ran(Placed(nothing), lambda _: self.network(nothing, shape[0], classes), shape)
        each = [prices(of, self.levels, channels, size) for channels, size in self._blocks(shape[1:])]
        each = [reduce(Prices.__add__, each)] if self.share else each
        return SubsetCost(self.space, self.levels, sum(of(layer) for _, layer in around), parts, each)

    def _blocks(self, size: tuple[int, int]) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield channels and (h, w) of the map of every block, for images of `size`."""
        strides = 1 if self.stem == "cifar" else 8
        for stage, count in enumerate(self.blocks):
            smaller = strides * 2**stage
            yield from [(self.channels * 2**stage, (-(-size[0] // smaller), -(-size[1] // smaller)))] * count

    def check_size(self, shape: tuple[int, int, int]) -> None:
        """Raise UserError for images so small that a layer would stride over a map of one pixel."""
        strides = len(self.blocks) - 1 + (0 if self.stem == "cifar" else 3)
        if strides and min(shape[1:]) <= 2 ** (strides - 1):
            raise UserError(
                f"images of {shape[1]} x {shape[2]} are too small for 'dso': a layer would stride over a map of one "
                f"pixel; give a side of at least {2 ** (strides - 1) + 1}, or fewer stages"
            )

    def supernet(self, channels_in: int, classes: int) -> DSOSupernet:
        """Build the shared-weight network for (batch, channels_in, h, w) images."""
        return DSOSupernet(self, channels_in, classes)

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> DSONetwork:
        """Build one architecture with fresh weights. `prune` changes nothing: what is dead is never there."""

        def block(number: int, channels: int) -> Block:
            return Block(_wiring(arch, self.part(number)), channels, nn.BatchNorm2d)

        return DSONetwork(self.outline, block, nn.BatchNorm2d, channels_in, classes)

    @property
    def outline(self) -> Outline:
        """What its networks have apart from their blocks."""
        return Outline(self.channels, self.blocks, self.stem == "cifar", self.dropout)

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text: what each node reads that is there, or what is there of each of many blocks."""
        found = [(part, living(_wiring(arch, part))) for part in self.parts]
        if len(found) > 1:
            return aligned([(part[OUT].partition(".")[0], *_kept(there)) for part, there in found], "<<<")
        (part, there), *_ = found
        lines = [(part[node], _operation(node), "<-", " ".join(row)) for node, row in there.items()]
        return aligned(lines or [(part[OUT], OUT, "<-", "nothing: the identity")], "<<<<")


class DSOSupernet(Supernet):
    """The complete network with a scale on every connection: all that its gates leave out is not computed.

    Batch normalisation uses batch statistics, training or not; its scale is fixed at one, so that it undoes no scale.
    """

    def __init__(self, config: DSO, channels_in: int, classes: int) -> None:
        super().__init__()
        self.config, self.space = config, config.space
        self.channels_in, self.classes = channels_in, classes
        self.context = GateContext(self.space)
        norm: Norm = partial(BatchStatisticsNorm, scaled=False)

        def block(number: int, channels: int) -> Block:
            return SharedBlock(config.levels, channels, norm, self.context, config.part(number), number)

        self.net = DSONetwork(config.outline, block, norm, channels_in, classes)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        with self.context.active(moved(gates, x.device)):
            return self.net(x)  # type: ignore[no-any-return]

    def places(self, decision: str) -> int:
        """Return how many blocks share a decision."""
        return sum(self.config.blocks) if self.config.share else 1

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """A block for each set of decisions, from its input to its output, which has the input too."""
        whole = complete(self.config.levels)
        rows = [
            {part[node]: [(source, node) for source in row] for node, row in whole.items()}
            for part in self.config.parts
        ]
        return tuple(Graph(row, frozenset([INPUT]), frozenset([OUT]), bypassed=True) for row in rows)

    def penalties(self, cost: str, arch: Arch, size: tuple[int, int]) -> NDArray[np.float64]:
        """Return the adaptive weights of a sparse penalty, (decisions, options): arXiv:1811.01567, Eqs 9 and 10.

        cost: "macs", by which all connections of a block have the part of its multiply-accumulates that is alive in
        `arch`, Eq. 9; or "memory_access_bytes", by which those into an operation have its bytes over the most that any
        operation of the complete network moves, Eq. 10. Blocks that share decisions are added up.
        size: (h, w) of images.
        """
        price = self.config.cost(cost, (self.channels_in, *size), self.classes)
        assert isinstance(price, SubsetCost)
        rows = np.stack([self.space.indices(each) for each in (arch, self.config.reference)])
        now, whole = price.split(rows)
        if cost == "macs":
            factors = np.broadcast_to(now.sum(-1, keepdims=True) / whole.sum(-1, keepdims=True), now.shape)
        else:
            factors = now / whole.max()
        return np.repeat(factors.reshape(-1, 1), max(self.space.counts), 1)

    def extract(self, arch: Arch) -> nn.Module:
        """Return `arch` with a copy of the shared weights; its running statistics are still to be estimated."""
        net = self.config.network(arch, self.channels_in, self.classes).to(next(self.parameters()))
        shared = self.net.state_dict()
        names = {module: name for name, module in net.named_modules()}
        for own, block in zip(self.net.blocks, net.blocks, strict=True):
            assert isinstance(own, Block) and isinstance(block, Block)
            if OUT in block.wiring:
                assert isinstance(own.join, Join)
                shared[f"{names[block]}.join.conv.weight"] = own.join.weight(block.wiring[OUT]).detach()
        net.load_state_dict({name: shared.get(name, value) for name, value in net.state_dict().items()})
        return net

    @property
    def plain(self) -> nn.Module:
        return self.net


def _wiring(values: Mapping[str, Value], part: Mapping[str, str]) -> Wiring:
    return {node: tuple(values[name]) for node, name in part.items()}  # type: ignore[arg-type]


def _operation(node: str) -> str:
    return OUT if node == OUT else OPERATIONS[int(node.rpartition(".")[2]) - 1]


def _kept(there: Wiring) -> tuple[str, str]:
    """Return how many connections of a block are there, and which nodes."""
    nodes = " ".join(node for node in there if node != OUT)
    return f"{sum(map(len, there.values()))} connections", nodes or "the identity"
