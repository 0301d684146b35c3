"""The NATS-Bench size space: five widths of a fixed network of cells, arXiv:2009.00437, Sec. 3.2."""

from torch import Tensor, nn
from torch.nn import functional

from renascent.core.codecs.nats_size import LAYERS, size_space
from renascent.core.fields import settings
from renascent.core.space import Arch, Space
from renascent.nets.sizes.sized import widest_arch
from renascent.nets.sizes.space import SizedSpace
from renascent.nets.sizes.units import Chain, Classifier, Norm, Skip, Unit
from renascent.nets.sizes.widths import integers

CONVOLUTIONS = ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))
"""Edges of the cell that are ReLU, 3x3 convolution, BN; the edge from 0 to 3 is a skip. It is the best cell of the
topology space on CIFAR-100: number 9930."""

BLOCKS = (1, 3)
"""Which of the five are residual blocks that halve the map; the others are cells."""


@settings
class NatsSize(SizedSpace):
    """The widths of a small network: of the stem and first cell, of a residual block, a cell, a block and a cell.

    A skip between unequal widths is a 1x1 convolution with its normalisation; in the shared-weight network, wherever
    the two widths may be unequal.

    References:
        Dong, Liu, Musial and Gabrys, NATS-Bench, TPAMI 2021, arXiv:2009.00437, Sec. 3.2.
    """

    @property
    def space(self) -> Space:
        return size_space()

    def whole(self, channels_in: int, classes: int) -> nn.Module:
        """Build the widest network, with a convolution for every skip that may need one."""
        return _network(widest_arch(self.space), channels_in, classes, forced=True)

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> nn.Module:
        """Build one architecture with fresh weights. `prune` changes nothing: every layer is used."""
        return _network(arch, channels_in, classes)


class Cell(nn.Module):
    """The fixed cell, (batch, inputs, h, w) to (batch, width, h, w); a ReLU comes before each convolution."""

    def __init__(self, inputs: int, width: int, source: str, decision: str, *, forced: bool) -> None:
        super().__init__()
        for start, end in CONVOLUTIONS:
            channels = inputs if start == 0 else width
            unit = Unit(channels, width, 3, activation="none", decision=decision)
            self.add_module(f"conv{start}{end}", unit)
        same = source == decision
        self.skip = nn.Identity() if same else Skip(inputs, width, source, decision, forced=forced)

    def forward(self, x: Tensor) -> Tensor:
        rectified = functional.relu(x)
        first = functional.relu(self.get_submodule("conv01")(rectified))
        second = functional.relu(self.get_submodule("conv02")(rectified) + self.get_submodule("conv12")(first))
        out: Tensor = self.get_submodule("conv13")(first) + self.skip(x) + self.get_submodule("conv23")(second)
        return out


class Block(nn.Module):
    """The residual block that halves the map and changes the width."""

    def __init__(self, inputs: int, width: int, decision: str) -> None:
        super().__init__()
        self.conv_a = Unit(inputs, width, 3, 2, activation="none", decision=decision)
        self.conv_b = Unit(width, width, 3, activation="none", decision=decision)
        self.shortcut = Unit(inputs, width, activation="none", decision=decision, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv_b(functional.relu(self.conv_a(functional.relu(x))))
        return self.shortcut(functional.avg_pool2d(x, 2, ceil_mode=True)) + out  # type: ignore[no-any-return]


def _network(arch: Arch, channels_in: int, classes: int, *, forced: bool = False) -> nn.Module:
    """Build one architecture. forced: hold the convolutions of skips although their widths are equal."""
    widths, parts, source = integers(arch), nn.Sequential(), LAYERS[0]
    stem = Unit(channels_in, widths[source], 3, activation="none", decision=source)
    for k, name in enumerate(LAYERS):
        inputs, width = widths[source], widths[name]
        parts.append(Block(inputs, width, name) if k in BLOCKS else Cell(inputs, width, source, name, forced=forced))
        source = name
    last, classifier = Norm(widths[source], tied=source), Classifier(widths[source], classes)
    return Chain(stem=stem, parts=parts, last=last, classifier=classifier)
