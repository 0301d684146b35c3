"""MobileNet V1, its widths and its resolution to be chosen."""

from torch import nn

from renascent.core.fields import settings
from renascent.core.space import Arch, Space
from renascent.nets.sizes.space import ResolutionSpace
from renascent.nets.sizes.units import Chain, Classifier, Unit
from renascent.nets.sizes.widths import Multiplier, integers, percent, widened, width_decision

SHARES = percent(10, 160, 3)
"""Widths, as shares of the original's."""

STEM = 32
"""Channels of the first convolution, which are not chosen."""

BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *(((512, 1),) * 5),
    *((1024, 2), (1024, 1)),
)
"""Channels and stride of each block."""


@settings
class MobileNetV1(ResolutionSpace):
    """The size space of NES on MobileNet V1: the widths of its 13 pointwise convolutions, 0.1 to 1.6 of the original's.

    And the resolution. The first convolution keeps its width.

    Args:
        width: multiplies all channels of the original.
        small: for small images: the first convolution does not stride.

    References:
        The network: Howard et al., MobileNets, 2017, arXiv:1704.04861, Table 1.
    """

    width: Multiplier = 1.0
    small: bool = False

    @property
    def space(self) -> Space:
        found = self.resolutions()
        found |= {name: width_decision(width, SHARES) for name, width in self.originals().items()}
        return Space(found, name="mobilenet-v1")

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> nn.Module:
        """Build one architecture with fresh weights. `prune` changes nothing: every layer is used."""
        values, width = integers(arch), widened(STEM, self.width)
        stem = Unit(channels_in, width, 3, 1 if self.small else 2)
        source, blocks = None, []
        for name, (_, stride) in zip(self.originals(), BLOCKS, strict=True):
            depthwise = Unit(width, width, 3, stride, depthwise=True, tied=source)
            blocks.append(Chain(depthwise=depthwise, pointwise=Unit(width, values[name], decision=name)))
            width, source = values[name], name
        return Chain(stem=stem, blocks=nn.Sequential(*blocks), classifier=Classifier(width, classes))

    def originals(self) -> dict[str, int]:
        """Return the original width of every width decision."""
        return {f"block{k}.out": widened(channels, self.width) for k, (channels, _) in enumerate(BLOCKS, start=1)}
