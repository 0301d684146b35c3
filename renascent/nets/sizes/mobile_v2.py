"""MobileNet V2, its widths, its resolution and the number of its repeated blocks to be chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

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


class Place(NamedTuple):
    """Where a block is, and its widths. middle: the decision that sets its inner width.

    depth: from which depth on it is there.
    """

    stage: int
    block: int
    middle: str
    depth: int


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
        repeats = {place.middle: place.depth for place in self.places() if place.block > 1}
        most = LEAST + len(repeats)
        found["depth"] = Integer.range(LEAST, most)
        for name, width in self.originals().items():
            when = ("depth", tuple(range(repeats[name], most + 1))) if name in repeats else None
            found[name] = width_decision(width, SHARES, when)
        return Space(found, name="mobilenet-v2-cifar" if self.small else "mobilenet-v2")

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> nn.Module:
        """Build one architecture with fresh weights. `prune` changes nothing: every layer is used."""
        values, places, strides = integers(arch), list(self.places()), SMALL_STRIDES if self.small else STRIDES
        width = values["stem"]
        parts: dict[str, nn.Module] = {
            "stem": Unit(channels_in, width, 3, strides[0], activation="relu6", decision="stem")
        }
        for stage in range(1, len(STAGES) + 1):
            blocks = []
            for place in (p for p in places if p.stage == stage and p.depth <= values["depth"]):
                blocks.append(_block(values, place, width, strides[stage] if place.block == 1 else 1))
                width = values[f"stage{stage}.out"]
            parts[f"stage{stage}"] = Stage(blocks, "depth", _counts(places, stage))
        last = Unit(width, values["last"], activation="relu6", decision="last")
        return Chain(**parts, last=last, classifier=Classifier(values["last"], classes))

    def places(self) -> Iterator[Place]:
        """Every block of the original, in order."""
        depth = LEAST
        for stage, (expansion, _, blocks) in enumerate(STAGES, start=1):
            for block in range(1, blocks + 1):
                depth += block > 1
                middle = f"stage{stage}.block{block}.middle" if expansion > 1 else "stem"
                yield Place(stage, block, middle, depth if block > 1 else LEAST)

    def originals(self) -> dict[str, int]:
        """Return the original width of every width decision."""
        found, inputs = {"stem": widened(STEM, self.width)}, STEM
        for place in self.places():
            expansion, channels, _ = STAGES[place.stage - 1]
            if expansion > 1:
                found[place.middle] = widened(inputs * expansion, self.width)
            found[f"stage{place.stage}.out"] = widened(channels, self.width)
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


def _block(values: Mapping[str, int], place: Place, inputs: int, stride: int) -> InvertedResidual:
    middle, out = values[place.middle], f"stage{place.stage}.out"
    expand = None
    if place.middle != "stem":
        expand = Unit(inputs, middle, activation="relu6", decision=place.middle)
    depthwise = Unit(middle, middle, 3, stride, depthwise=True, activation="relu6", tied=place.middle)
    project = Unit(middle, values[out], activation="none", decision=out)
    return InvertedResidual(expand, depthwise, project, shortcut=place.block > 1)


def _counts(places: list[Place], stage: int) -> dict[int, int]:
    """Return the number of blocks of a stage for each depth."""
    depths = range(LEAST, max(place.depth for place in places) + 1)
    return {depth: sum(p.stage == stage and p.depth <= depth for p in places) for depth in depths}
