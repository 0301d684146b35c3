"""MobileNet V2, its widths, its resolution and the number of its repeated blocks to be chosen."""

from collections.abc import Mapping

from torch import Tensor, nn

from renascent.core.fields import settings
from renascent.core.space import Arch, Integer, Space
from renascent.nets.sizes.space import ResolutionSpace
from renascent.nets.sizes.units import Chain, Classifier, Stage, Unit
from renascent.nets.sizes.widths import Multiplier, integers, percent, widened, width_decision

SHARES = percent(20, 150, 5)
"""Widths, as shares of the original's."""

STEM, LAST = 32, 1280
"""Channels of the first convolution and of the last."""

STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
"""Expansion, channels and blocks of each stage."""

STRIDES, SMALL_STRIDES = (2, 1, 2, 2, 2, 1, 2, 1), (1, 1, 1, 2, 2, 1, 2, 1)
"""Strides of the stem and of each stage: for large images, and for small ones."""

LEAST = 2 + len(STAGES)
"""Depth without repeats: the stem, the first block of each stage, and the last convolution."""

REPEATS = [(stage, block) for stage, (_, _, blocks) in enumerate(STAGES, start=1) for block in range(2, blocks + 1)]
"""Stage and place of the blocks that repeat the one before. The last is left out first."""

DEPTHS = tuple(range(LEAST, LEAST + len(REPEATS) + 1))


@settings
class MobileNetV2(ResolutionSpace):
    """The size space of NES on MobileNet V2: widths, depth and resolution.

    The widths of the seven stages and of the last convolution, and the inner width of each of the 17 blocks (of the
    first: the stem's), from 0.2 to 1.5 of the original's; the depth, 9 to 19, counts the stem, the blocks and the last
    convolution, and leaves out the last of the ten repeated blocks first.

    Args:
        width: multiplies all channels of the original.
        small: for small images: the stem and the second stage do not stride.

    References:
        The network: Sandler, Howard, Zhu, Zhmoginov and Chen, MobileNetV2, CVPR 2018, arXiv:1801.04381, Table 2.
    """

    width: Multiplier = 1.0
    small: bool = False

    @property
    def space(self) -> Space:
        found = self.resolutions()
        found["depth"] = Integer(DEPTHS)
        repeats = {f"stage{stage}.block{block}.middle": k for k, (stage, block) in enumerate(REPEATS, start=1)}
        for name, width in self.originals().items():
            when = ("depth", DEPTHS[repeats[name] :]) if name in repeats else None
            found[name] = width_decision(width, SHARES, when)
        return Space(found, name="mobilenet-v2-cifar" if self.small else "mobilenet-v2")

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> nn.Module:
        """Build one architecture with fresh weights. `prune` changes nothing: every layer is used."""
        values, strides = integers(arch), SMALL_STRIDES if self.small else STRIDES
        width = values["stem"]
        parts: dict[str, nn.Module] = {
            "stem": Unit(channels_in, width, 3, strides[0], activation="relu6", decision="stem")
        }
        for stage in range(1, len(STAGES) + 1):
            counts = {depth: 1 + sum(s == stage for s, _ in REPEATS[: depth - LEAST]) for depth in DEPTHS}
            blocks = []
            for block in range(1, counts[values["depth"]] + 1):
                blocks.append(_block(values, stage, block, width, strides[stage] if block == 1 else 1))
                width = values[f"stage{stage}.out"]
            parts[f"stage{stage}"] = Stage(blocks, "depth", counts)
        last = Unit(width, values["last"], activation="relu6", decision="last")
        return Chain(**parts, last=last, classifier=Classifier(values["last"], classes))

    def originals(self) -> dict[str, int]:
        """Return the original width of every width decision."""
        found, inputs = {"stem": widened(STEM, self.width)}, STEM
        for stage, (expansion, channels, blocks) in enumerate(STAGES, start=1):
            for block in range(1, blocks + 1):
                if expansion > 1:
                    found[f"stage{stage}.block{block}.middle"] = widened(inputs * expansion, self.width)
                found[f"stage{stage}.out"] = widened(channels, self.width)
                inputs = channels
        return found | {"last": widened(LAST, self.width)}


class InvertedResidual(nn.Module):
    """1x1 convolution to the inner width, depthwise 3x3, 1x1 back; repeated blocks have a shortcut."""

    def __init__(self, expand: Unit | None, depthwise: Unit, project: Unit, *, shortcut: bool) -> None:
        super().__init__()
        self.expand, self.depthwise, self.project, self.shortcut = expand, depthwise, project, shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.depthwise(x if self.expand is None else self.expand(x)))
        return out + x if self.shortcut else out  # type: ignore[no-any-return]


def _block(values: Mapping[str, int], stage: int, block: int, inputs: int, stride: int) -> InvertedResidual:
    name, out, expand = f"stage{stage}.block{block}.middle", f"stage{stage}.out", None
    if name in values:
        expand = Unit(inputs, values[name], activation="relu6", decision=name)
    else:  # the first block, which has the stem's width
        name = "stem"
    middle = values[name]
    depthwise = Unit(middle, middle, 3, stride, depthwise=True, activation="relu6", tied=name)
    project = Unit(middle, values[out], activation="none", decision=out)
    return InvertedResidual(expand, depthwise, project, shortcut=block > 1)
