"""The FBNet space: a chain of 22 blocks, each of one of nine kinds, arXiv:1812.03443, Sec. 3.1."""

from collections.abc import Iterator
from typing import Annotated

from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.fields import Range, settings
from renascent.core.space import Arch, Choice, Space
from renascent.core.spaces import ChainBlock
from renascent.core.text import aligned
from renascent.nets.cells.chain import Block, blocks_of
from renascent.nets.cells.ops import ConvBN, Norm, Zero, residual
from renascent.nets.cells.slots import ChoiceSpace, Place
from renascent.nets.sizes.units import Chain, Classifier
from renascent.nets.sizes.widths import Multiplier, widened

KINDS = {
    "k3_e1": (3, 1, 1),
    "k3_e1_g2": (3, 1, 2),
    "k3_e3": (3, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e1": (5, 1, 1),
    "k5_e1_g2": (5, 1, 2),
    "k5_e3": (5, 3, 1),
    "k5_e6": (5, 6, 1),
}
"""Kernel, expansion and groups of each kind of block, in the order of HELP's measurements; `SKIP` comes last."""

SKIP = "skip"

STAGES = ((16, 1), (24, 1), (32, 2), (64, 2), (112, 1), (184, 2), (352, 1))
"""Channels and first stride of each stage, Table 1, on images of 32 x 32 as HELP has it, arXiv:2106.08630."""

STEM, LAST = 16, 1984
"""Channels of the first convolution and of the last."""


@settings
class FBNet(ChoiceSpace):
    """A chain of inverted residual blocks of eight kinds, or skips, for images of 32 x 32.

    Architectures are written in the order of HELP's measurements: an index row is a row of that file.

    Args:
        width: multiplies all channels, rounded down to a multiple of 8; decided before the search, never after it.
        blocks: how many each of the seven stages has.

    References:
        Wu, Dai, Zhang, Wang, Sun, Wu, Tian, Vajda, Jia and Keutzer, FBNet: Hardware-Aware Efficient ConvNet Design via
        Differentiable Neural Architecture Search, CVPR 2019, arXiv:1812.03443, Sec. 3.1, Table 1. Lee, Lee, Shin and
        Hwang, HELP: Hardware-Adaptive Efficient Latency Prediction for NAS via Meta-Learning, NeurIPS 2021,
        arXiv:2106.08630.
    """

    width: Multiplier = 1.0
    blocks: Annotated[tuple[int, ...], Range(1, 100)] = (1, 4, 4, 4, 4, 4, 1)

    def __post_init__(self) -> None:
        if len(self.blocks) != len(STAGES):
            raise UserError(f"blocks is {self.blocks}: give {len(STAGES)} numbers, one for each stage")

    @property
    def space(self) -> Space:
        return Space({block.decision: Choice((*KINDS, SKIP)) for block in self.places()}, name="fbnet")

    @property
    def reference(self) -> Arch:
        """Every block with kernel 3 and expansion 6."""
        space = self.space
        return space.arch(dict.fromkeys(space.decisions, "k3_e6"))

    def places(self) -> Iterator[Block]:
        """Yield the places of the chain in order."""
        inputs = self.channels(STEM)
        for stage, ((width, first), count) in enumerate(zip(STAGES, self.blocks, strict=True), start=1):
            for block in range(1, count + 1):
                outputs, stride = self.channels(width), first if block == 1 else 1
                shortcut = stride == 1 and inputs == outputs
                yield Block(f"stage{stage}.block{block}", inputs, outputs, stride, shortcut)
                inputs = outputs

    def channels(self, original: int) -> int:
        """Return the channels of a layer that has so many in the original."""
        return max(8, widened(original, self.width) // 8 * 8)

    def build(self, place: Place, norm: Norm, channels_in: int, classes: int) -> nn.Module:
        """Build the network. place: makes what is decided.  norm: makes a batch normalisation of so many channels."""
        stem, before, last = map(self.channels, (STEM, STAGES[-1][0], LAST))
        found: list[nn.Module] = [_block(place, norm, block) for block in self.places()]
        return Chain(
            stem=ConvBN(channels_in, stem, 3, active=nn.ReLU(), norm=norm),
            blocks=nn.Sequential(*found),
            last=ConvBN(before, last, active=nn.ReLU(), norm=norm),
            classifier=Classifier(last, classes),
        )

    def chain(self, arch: Arch, size: tuple[int, int]) -> list[ChainBlock]:
        """List the blocks of an architecture in order, for images of `size` (h, w)."""
        kinds = {option: (kernel, expansion) for option, (kernel, expansion, _) in KINDS.items()}
        return list(blocks_of(self.places(), kinds, arch, size))

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text: a block a line, its kind, and its channels."""
        rows = [
            (b.decision, str(arch[b.decision]), f"{b.inputs} -> {b.outputs}, stride {b.stride}") for b in self.places()
        ]
        return aligned(rows, "<<<")


class Shuffle(nn.Module):
    """The channels of all groups in turns, so that what follows sees some of each: arXiv:1707.01083."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, h, w = x.shape
        return x.view(batch, self.groups, channels // self.groups, h, w).transpose(1, 2).flatten(1, 2)


def _block(place: Place, norm: Norm, block: Block) -> nn.Module:
    def option(name: str) -> nn.Module:
        if name in KINDS:
            return _inverted(block, *KINDS[name], norm)
        skip = ConvBN(block.inputs, block.outputs, 1, block.stride, active=nn.ReLU(), norm=norm)
        return Zero() if block.shortcut else skip

    inside = place(block.decision, option)
    return residual(inside) if block.shortcut else inside


def _inverted(block: Block, kernel: int, expansion: int, groups: int, norm: Norm) -> nn.Sequential:
    """Return a block without its shortcut: 1x1 to the inner width, depthwise, 1x1 back; shuffled where grouped."""
    middle = block.inputs * expansion
    depthwise = ConvBN(middle, middle, kernel, block.stride, groups=middle, active=nn.ReLU(), norm=norm)
    return nn.Sequential(
        ConvBN(block.inputs, middle, groups=groups, active=nn.ReLU(), norm=norm),
        *([Shuffle(groups)] if groups > 1 else []),
        depthwise,
        ConvBN(middle, block.outputs, groups=groups, norm=norm),
    )
