"""The NATS-Bench size space: five widths of a fixed network of cells, arXiv:2009.00437, Sec. 3.2."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from renascent.core.codecs.nats_size import LAYERS, size_space
from renascent.core.fields import settings
from renascent.core.space import Arch, Space
from renascent.nets.sizes.sized import widest_arch
from renascent.nets.sizes.space import TracedSpace
from renascent.nets.sizes.units import Classifier, Norm, Skip, Unit

CONVOLUTIONS = ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))
"""Edges of the cell that are ReLU, 3x3 convolution, BN; the edge from 0 to 3 is a skip. It is the best cell of the
topology space on CIFAR-100: number 9930."""

BLOCKS = (1, 3)
"""Which of the five are residual blocks that halve the map; the others are cells."""


@settings
class NatsSize(TracedSpace):
    """The widths of a small network: of the stem and first cell, of a residual block, a cell, a block and a cell.

    A skip between unequal widths is a 1x1 convolution with its normalisation; in the shared-weight network, wherever
    the two widths may be unequal.

    References:
        Dong, Liu, Musial and Gabrys, NATS-Bench, TPAMI 2021, arXiv:2009.00437, Sec. 3.2.
    """

    @property
    def space(self) -> Space:
        return size_space()

    def whole(self, channels_in: int, classes: int) -> NatsSizeNetwork:
        """Build the widest network, with a convolution for every skip that may need one."""
        return NatsSizeNetwork(widest_arch(self.space), channels_in, classes, forced=True)

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> NatsSizeNetwork:
        """Build one architecture with fresh weights. `prune` changes nothing: every layer is used."""
        return NatsSizeNetwork(arch, channels_in, classes)


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


class NatsSizeNetwork(nn.Module):
    """One architecture, a plain module: (batch, channels, h, w) to (batch, classes).

    forced: hold the convolutions of skips although their widths are equal.
    """

    def __init__(self, arch: Arch, channels_in: int, classes: int, *, forced: bool = False) -> None:
        super().__init__()
        widths = [int(arch[name]) for name in LAYERS]  # type: ignore[arg-type]
        self.stem = Unit(channels_in, widths[0], 3, activation="none", decision=LAYERS[0])
        self.parts = nn.ModuleList()
        before = [(LAYERS[0], widths[0]), *zip(LAYERS, widths, strict=True)]
        for k, (name, width) in enumerate(zip(LAYERS, widths, strict=True)):
            source, inputs = before[k]
            part = Block(inputs, width, name) if k in BLOCKS else Cell(inputs, width, source, name, forced=forced)
            self.parts.append(part)
        self.last = Norm(widths[-1], tied=LAYERS[-1])
        self.classifier = Classifier(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for part in self.parts:
            x = part(x)
        return self.classifier(self.last(x))  # type: ignore[no-any-return]
