"""MobileNet V1, its widths and its resolution to be chosen."""

from __future__ import annotations

from torch import Tensor, nn

from renascent.core.fields import settings
from renascent.core.space import Arch, Space
from renascent.nets.sizes.resolution import resolutions
from renascent.nets.sizes.space import TracedSpace
from renascent.nets.sizes.units import Classifier, Unit
from renascent.nets.sizes.widths import Multiplier, percent, widened, width_decision

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
class MobileNetV1(TracedSpace):
    """The size space of NES on MobileNet V1: the widths of its 13 pointwise convolutions, 0.1 to 1.6 of the original's.

    And the resolution. The first convolution keeps its width.

    Args:
        width: multiplies all channels of the original.
        small: for small images: the first convolution does not stride.
        lowest: side of the images, in pixels; where they are equal, it is the data's own.
        highest: side of the images, in pixels; where they are equal, it is the data's own.
        resolution_step: between two resolutions, in pixels.

    References:
        The network: Howard et al., MobileNets, 2017, arXiv:1704.04861, Table 1.
    """

    width: Multiplier = 1.0
    small: bool = False
    lowest: int = 96
    highest: int = 224
    resolution_step: int = 1

    def __post_init__(self) -> None:
        resolutions(self.lowest, self.highest, self.resolution_step)  # refuses an empty range

    @property
    def space(self) -> Space:
        found = resolutions(self.lowest, self.highest, self.resolution_step)
        found |= {name: width_decision(width, SHARES) for name, width in self.originals().items()}
        return Space(found, name="mobilenet-v1")

    @property
    def stem(self) -> tuple[int, int]:
        """Channels and stride of the first convolution."""
        return widened(STEM, self.width), 1 if self.small else 2

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> MobileNetV1Network:
        """Build one architecture with fresh weights. `prune` changes nothing: every layer is used."""
        return MobileNetV1Network(self, arch, channels_in, classes)

    def originals(self) -> dict[str, int]:
        """Return the original width of every width decision."""
        return {f"block{k}.out": widened(channels, self.width) for k, (channels, _) in enumerate(BLOCKS, start=1)}


class Separable(nn.Module):
    """Depthwise 3x3 convolution, then 1x1 convolution."""

    def __init__(self, inputs: int, width: int, stride: int, source: str | None, decision: str) -> None:
        super().__init__()
        self.depthwise = Unit(inputs, inputs, 3, stride, depthwise=True, tied=source)
        self.pointwise = Unit(inputs, width, decision=decision)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))  # type: ignore[no-any-return]


class MobileNetV1Network(nn.Module):
    """One architecture, a plain module: (batch, channels, h, w) to (batch, classes)."""

    def __init__(self, config: MobileNetV1, arch: Arch, channels_in: int, classes: int) -> None:
        super().__init__()
        width, stride = config.stem
        self.stem = Unit(channels_in, width, 3, stride)
        self.blocks = nn.ModuleList()
        source = None
        for name, (_, stride) in zip(config.originals(), BLOCKS, strict=True):
            outputs = arch[name]
            assert isinstance(outputs, int)
            self.blocks.append(Separable(width, outputs, stride, source, name))
            width, source = outputs, name
        self.classifier = Classifier(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(x)  # type: ignore[no-any-return]
