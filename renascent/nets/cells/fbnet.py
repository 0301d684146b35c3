"""The FBNet space: a chain of 22 blocks, each of one of nine kinds, arXiv:1812.03443, Sec. 3.1."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor, nn

from renascent.core.fields import settings
from renascent.core.space import Arch, Choice, Space
from renascent.nets.cells.ops import Norm, Zero
from renascent.nets.cells.slots import ChoiceSpace, Place
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
"""Kernel, expansion and groups of each kind of block, in the order of HELP's measurements; `skip` comes last."""

STAGES = ((1, 16, 1), (4, 24, 1), (4, 32, 2), (4, 64, 2), (4, 112, 1), (4, 184, 2), (1, 352, 1))
"""Blocks, channels and first stride of each stage, Table 1, on images of 32 x 32 as HELP has it, arXiv:2106.08630."""

STEM, LAST = 16, 1984
"""Channels of the first convolution and of the last."""


class Spot(NamedTuple):
    """Where a block stands. inputs, outputs: channels."""

    name: str
    inputs: int
    outputs: int
    stride: int

    @property
    def shortcut(self) -> bool:
        """Whether it has a shortcut: then a skip is that alone."""
        return self.stride == 1 and self.inputs == self.outputs


@settings
class FBNet(ChoiceSpace):
    """A chain of inverted residual blocks of nine kinds, one of which is skipped, for images of 32 x 32.

    Architectures are written in the order of HELP's measurements: an index row is a row of that file.

    Args:
        width: multiplies all channels, which are then rounded down to a multiple of 8, at least 8.

    References:
        Wu, Dai, Zhang, Wang, Sun, Wu, Tian, Vajda, Jia and Keutzer, FBNet: Hardware-Aware Efficient ConvNet Design via
        Differentiable Neural Architecture Search, CVPR 2019, arXiv:1812.03443, Sec. 3.1, Table 1. Lee, Lee, Shin and
        Hwang, HELP: Hardware-Adaptive Efficient Latency Prediction for NAS via Meta-Learning, NeurIPS 2021,
        arXiv:2106.08630.
    """

    width: Multiplier = 1.0

    @property
    def space(self) -> Space:
        return Space({spot.name: Choice((*KINDS, "skip")) for spot in self.spots()}, name="fbnet")

    @property
    def reference(self) -> Arch:
        """Every block with kernel 3 and expansion 6."""
        space = self.space
        return space.arch(dict.fromkeys(space.decisions, "k3_e6"))

    def spots(self) -> Iterator[Spot]:
        """List where blocks stand, in order."""
        inputs = self.channels(STEM)
        for stage, (blocks, width, first) in enumerate(STAGES, start=1):
            for block in range(blocks):
                outputs = self.channels(width)
                yield Spot(f"stage{stage}.block{block + 1}", inputs, outputs, first if block == 0 else 1)
                inputs = outputs

    def channels(self, original: int) -> int:
        """Return channels times the width, rounded down to a multiple of 8, at least 8."""
        return max(8, widened(original, self.width) // 8 * 8)

    def build(self, place: Place, norm: Norm, channels_in: int, classes: int) -> nn.Module:
        """Build the network. place: makes what is decided.  norm: makes a batch normalisation of so many channels."""
        blocks = []
        for spot in self.spots():
            part = place(spot.name, _options(spot, norm))
            blocks.append(Residual(part) if spot.shortcut else part)
        stem, last = self.channels(STEM), self.channels(LAST)
        first = _conv(channels_in, stem, 3, norm=norm)
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes)
        return nn.Sequential(first, *blocks, _conv(spot.outputs, last, norm=norm), *head)

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text: a line a stage."""
        names = [[f"stage{k}.block{b + 1}" for b in range(blocks)] for k, (blocks, *_) in enumerate(STAGES, start=1)]
        return "\n".join(f"stage {k}: {'  '.join(str(arch[n]) for n in row)}" for k, row in enumerate(names, start=1))


class Residual(nn.Module):
    """A map plus what a part makes of it; the map itself where that is `Zero`."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        return x if isinstance(self.part, Zero) else x + self.part(x)  # type: ignore[no-any-return]


class Shuffle(nn.Module):
    """The channels of all groups in turns, so that what follows sees some of each: arXiv:1707.01083."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


def _options(spot: Spot, norm: Norm) -> Callable[[str], nn.Module]:
    """Return what builds the options of a place by name."""

    def build(name: str) -> nn.Module:
        if name == "skip":
            return Zero() if spot.shortcut else _conv(spot.inputs, spot.outputs, stride=spot.stride, norm=norm)
        kernel, expansion, groups = KINDS[name]
        middle = spot.inputs * expansion
        return nn.Sequential(
            _conv(spot.inputs, middle, groups=groups, norm=norm),
            *([Shuffle(groups)] if groups > 1 else []),
            _conv(middle, middle, kernel, spot.stride, middle, norm),
            _conv(middle, spot.outputs, groups=groups, norm=norm)[:2],
        )

    return build


def _conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, norm: Norm = nn.BatchNorm2d
) -> nn.Sequential:
    """Return convolution, batch normalisation, ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, norm(outputs), nn.ReLU())
