"""The chain of inverted residual blocks that ProxylessNAS searched on ImageNet, arXiv:1812.00332, Sec. 4.2."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated

from torch import nn

from renascent.core.errors import UserError
from renascent.core.fields import Range, settings
from renascent.core.space import Arch, Choice, Space
from renascent.core.spaces import ChainBlock
from renascent.core.text import aligned
from renascent.nets.cells.chain import Block, blocks_of, halved
from renascent.nets.cells.ops import ConvBN, Norm, Zero, residual
from renascent.nets.cells.slots import ChoiceSpace, Place
from renascent.nets.sizes.units import Chain, Classifier
from renascent.nets.sizes.widths import Multiplier, widened

STEM, FIRST, LAST = 32, 16, 1280
"""Channels of the first convolution, of the block behind it, and of the last convolution."""

WIDTHS = (24, 40, 80, 96, 192, 320)
"""Channels of each stage."""

STRIDES, SMALL_STRIDES = (2, 2, 2, 2, 1, 2, 1), (1, 1, 2, 2, 1, 2, 1)
"""Strides of the stem and of the first block of each stage: for large images, and for small ones."""

BLOCKS = {"mb3_k3": (3, 3), "mb6_k3": (6, 3), "mb3_k5": (3, 5), "mb6_k5": (6, 5), "mb3_k7": (3, 7), "mb6_k7": (6, 7)}
"""Option -> expansion and kernel size."""

ZERO = "zero"


@settings
class MBConv(ChoiceSpace):
    """A chain of inverted residual blocks: kernel and expansion of each to be chosen, and whether it is there.

    Args:
        width: multiplies all channels, rounded down to a multiple of 8; decided before the search, never after it.
        small: for small images: the stem and the first stage do not stride.
        blocks: how many each of the six stages has; all but a stage's first may be left out.

    References:
        Cai, Zhu and Han, ProxylessNAS, ICLR 2019, arXiv:1812.00332, Sec. 4.2. The block: Sandler, Howard, Zhu,
        Zhmoginov and Chen, MobileNetV2, CVPR 2018, arXiv:1801.04381, Table 1.
    """

    width: Multiplier = 1.0
    small: bool = False
    blocks: Annotated[tuple[int, ...], Range(1, 100)] = (4, 4, 4, 4, 4, 1)

    def __post_init__(self) -> None:
        if len(self.blocks) != len(WIDTHS):
            raise UserError(f"blocks is {self.blocks}: give {len(WIDTHS)} numbers, one for each stage")

    @property
    def space(self) -> Space:
        found = {b.decision: Choice((ZERO, *BLOCKS) if b.shortcut else tuple(BLOCKS)) for b in self.places()}
        return Space(found, name="mbconv")

    @property
    def reference(self) -> Arch:
        """Every block `mb6_k3`, as MobileNet V2 has them."""
        return self.space.arch(dict.fromkeys(self.space.decisions, "mb6_k3"))

    def places(self) -> Iterator[Block]:
        """Yield the places of the chain in order."""
        strides = (SMALL_STRIDES if self.small else STRIDES)[1:]
        for stage, (inputs, outputs) in enumerate(pairwise(self.channels(FIRST, *WIDTHS)), start=1):
            for block in range(1, self.blocks[stage - 1] + 1):
                name, first = f"stage{stage}.block{block}", block == 1
                yield Block(name, inputs if first else outputs, outputs, strides[stage - 1] if first else 1, not first)

    def channels(self, *originals: int) -> list[int]:
        """Return the channels of layers that have so many in the original."""
        return [max(8, widened(channels, self.width) // 8 * 8) for channels in originals]

    def build(self, place: Place, norm: Norm, channels_in: int, classes: int) -> nn.Module:
        """Build the network. place: makes what is decided.  norm: makes a batch normalisation of so many channels."""
        stem, first, before, last = self.channels(STEM, FIRST, WIDTHS[-1], LAST)
        stride = (SMALL_STRIDES if self.small else STRIDES)[0]
        found: list[nn.Module] = [_block(place, norm, block) for block in self.places()]
        return Chain(
            stem=ConvBN(channels_in, stem, 3, stride, active=nn.ReLU6(), norm=norm),
            first=inverted(stem, first, 1, 3, 1, norm),
            blocks=nn.Sequential(*found),
            last=ConvBN(before, last, active=nn.ReLU6(), norm=norm),
            classifier=Classifier(last, classes),
        )

    def chain(self, arch: Arch, size: tuple[int, int]) -> list[ChainBlock]:
        """List the blocks of an architecture in order, for images of `size` (h, w)."""
        kinds = {option: (kernel, expansion) for option, (expansion, kernel) in BLOCKS.items()}
        return list(blocks_of(self.places(), kinds, arch, halved(size, (SMALL_STRIDES if self.small else STRIDES)[0])))

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text: a block a line, its kernel size, its expansion, and its channels."""
        rows = []
        for block in self.places():
            expansion, kernel = BLOCKS.get(str(arch[block.decision]), (0, 0))
            what = (f"{kernel}x{kernel}", f"MB{expansion}", "#" * expansion) if kernel else ("-", "", "")
            rows.append((block.decision, *what, f"{block.inputs} -> {block.outputs}, stride {block.stride}"))
        return aligned(rows, "<<<<<")


def inverted(inputs: int, outputs: int, expansion: int, kernel: int, stride: int, norm: Norm) -> nn.Sequential:
    """Return an inverted residual block without its shortcut: 1x1 to the inner width, depthwise, 1x1 back."""
    middle = inputs * expansion
    expand = [ConvBN(inputs, middle, active=nn.ReLU6(), norm=norm)] if expansion > 1 else []
    depthwise = ConvBN(middle, middle, kernel, stride, groups=middle, active=nn.ReLU6(), norm=norm)
    return nn.Sequential(*expand, depthwise, ConvBN(middle, outputs, norm=norm))


def _block(place: Place, norm: Norm, block: Block) -> nn.Module:
    def option(name: str) -> nn.Module:
        return Zero() if name == ZERO else inverted(block.inputs, block.outputs, *BLOCKS[name], block.stride, norm)

    inside = place(block.decision, option)
    return residual(inside) if block.shortcut else inside
