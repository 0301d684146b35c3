"""ResNets for large images, the widths of their stages and inside their blocks to be chosen."""

from collections.abc import Mapping

from torch import nn

from renascent.core.errors import UserError
from renascent.core.fields import settings
from renascent.core.space import Arch, Space
from renascent.nets.sizes.space import ResolutionSpace
from renascent.nets.sizes.units import Chain, Classifier, Residual, Unit
from renascent.nets.sizes.widths import Multiplier, integers, percent, widened, width_decision

SHARES = percent(10, 160, 3)
"""Widths, as shares of the original's."""

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Layers of the original -> blocks in each stage."""

BASE = 64
"""Channels of the stem and inside the first stage; each stage has twice as many as the one before."""


@settings
class ResNetImages(ResolutionSpace):
    """The size space of NES on ResNet-50: the widths of the four stages and the inner width of each block.

    From 0.1 to 1.6 of the original's; the two inner widths of a bottleneck are one. The stem keeps its 64 channels;
    where blocks have no bottleneck, the first one adds them to its own, so that they are the first stage's width.

    Args:
        layers_count: of the original: 18, 34, 50 or 101.
        width: multiplies all channels of the original.
        small: for small images: a 3x3 stem that does not stride, and no pooling behind it.

    References:
        The networks: He, Zhang, Ren and Sun, Deep Residual Learning, CVPR 2016, arXiv:1512.03385, Table 1; a bottleneck
        strides in its 3x3 convolution.
    """

    layers_count: int = 50
    width: Multiplier = 1.0
    small: bool = False
    lowest: int = 224

    def __post_init__(self) -> None:
        if self.layers_count not in BLOCKS:
            raise UserError(f"layers_count is {self.layers_count}: give {', '.join(map(str, BLOCKS))}")
        super().__post_init__()

    @property
    def bottleneck(self) -> bool:
        """Whether a block is 1x1, 3x3, 1x1 with four times the width at its end."""
        return self.layers_count >= 50

    @property
    def space(self) -> Space:
        found = self.resolutions()
        found |= {name: width_decision(width, SHARES) for name, width in self.originals().items()}
        return Space(found, name=f"resnet{self.layers_count}")

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> nn.Module:
        """Build one architecture with fresh weights. `prune` changes nothing: every layer is used."""
        values, decision = integers(arch), None if self.bottleneck else "stage1.out"
        width = values[decision] if decision else widened(BASE, self.width)
        kernel, stride = (3, 1) if self.small else (7, 2)
        parts: dict[str, nn.Module] = {
            "stem": Unit(channels_in, width, kernel, stride, decision=decision),
            "pool": nn.Identity() if self.small else nn.MaxPool2d(3, 2, 1),
        }
        for stage, count in enumerate(BLOCKS[self.layers_count], start=1):
            blocks = []
            for block in range(1, count + 1):
                blocks.append(_residual(values, stage, block, width, bottleneck=self.bottleneck))
                width = values[f"stage{stage}.out"]
            parts[f"stage{stage}"] = nn.Sequential(*blocks)
        return Chain(**parts, classifier=Classifier(width, classes))

    def originals(self) -> dict[str, int]:
        """Return the original width of every width decision."""
        found = {}
        for stage, count in enumerate(BLOCKS[self.layers_count], start=1):
            base = BASE * 2 ** (stage - 1)
            for block in range(1, count + 1):
                found[f"stage{stage}.block{block}.middle"] = widened(base, self.width)
                found[f"stage{stage}.out"] = widened(base * 4 if self.bottleneck else base, self.width)
        return found


def _residual(values: Mapping[str, int], stage: int, block: int, inputs: int, *, bottleneck: bool) -> Residual:
    middle, out = f"stage{stage}.block{block}.middle", f"stage{stage}.out"
    stride = 2 if stage > 1 and block == 1 else 1
    convs = [(middle, 1, 1), (middle, 3, stride), (out, 1, 1)] if bottleneck else [(middle, 3, stride), (out, 3, 1)]
    units, width = [], inputs
    for decision, kernel, step in convs:
        activation = "none" if decision == out else "relu"
        units.append(Unit(width, values[decision], kernel, step, activation=activation, decision=decision))
        width = values[decision]
    if block > 1 or (stage == 1 and not bottleneck):
        return Residual(units)
    return Residual(units, Unit(inputs, width, 1, stride, activation="none", decision=out))
