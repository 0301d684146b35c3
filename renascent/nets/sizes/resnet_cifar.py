"""ResNets for small images, every convolution of a width of its own and every stage of a depth of its own."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from renascent.core.errors import UserError
from renascent.core.fields import settings
from renascent.core.space import Arch, Integer, Space
from renascent.nets.sizes.mixture import padded_sum
from renascent.nets.sizes.resolution import resolutions
from renascent.nets.sizes.space import TracedSpace
from renascent.nets.sizes.units import Classifier, Stage, Unit

SHARES = tuple(k / 10 for k in range(3, 11))
"""Widths, as shares of the original's."""

BASES = (16, 32, 64)
"""Channels of the three stages (four times as many behind a bottleneck)."""


@settings
class ResNetCifar(TracedSpace):
    """The size space of TAS on CIFAR: a width for every convolution, a depth for every stage.

    Args:
        layers_count: of the original: 6n + 2, or 9n + 2 with bottlenecks (164).
        widths: search the widths.
        depths: search the number of blocks of each stage.
        tied: one width for all maps that are added, so that nothing is padded.
        lowest: side of the images, in pixels; where they are equal, it is the data's own.
        highest: side of the images, in pixels; where they are equal, it is the data's own.
        resolution_step: between two resolutions, in pixels.

    References:
        Dong and Yang, Network Pruning via Transformable Architecture Search, NeurIPS 2019, arXiv:1905.09717, Sec. 4.1.
        The networks: He, Zhang, Ren and Sun, Deep Residual Learning, CVPR 2016, arXiv:1512.03385, Sec. 4.2, with
        shortcuts by average pooling and 1x1 convolution. Additions pad the narrower map with zeros.
    """

    layers_count: int = 20
    widths: bool = True
    depths: bool = True
    tied: bool = False
    lowest: int = 32
    highest: int = 32
    resolution_step: int = 4

    def __post_init__(self) -> None:
        per = 9 if self.bottleneck else 6
        if self.layers_count < per + 2 or (self.layers_count - 2) % per:
            raise UserError(f"layers_count is {self.layers_count}: give 6n + 2 (20, 32, 56, 110) or 164")
        if not (self.widths or self.depths):
            raise UserError("neither widths nor depths are searched: leave one of them on")
        resolutions(self.lowest, self.highest, self.resolution_step)  # refuses an empty range

    @property
    def bottleneck(self) -> bool:
        """Whether a block is 1x1, 3x3, 1x1 with four times the width at its end."""
        return self.layers_count >= 164

    @property
    def blocks(self) -> int:
        """Blocks in each of the three stages of the original."""
        return (self.layers_count - 2) // (9 if self.bottleneck else 6)

    @property
    def space(self) -> Space:
        originals = self._originals()
        found = resolutions(self.lowest, self.highest, self.resolution_step)
        for stage in range(1, 4) if self.depths else ():
            found[f"depth{stage}"] = Integer.range(1, self.blocks)
        for name, width in originals.items() if self.widths else ():
            found[name] = Integer.multiples(width, SHARES, when=self._when(name))
        return Space(found, name=f"resnet{self.layers_count}{'-tied' if self.tied else ''}")

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> ResNet:
        """Build one architecture with fresh weights. `prune` changes nothing: every layer is used."""
        return ResNet(self, arch, channels_in, classes)

    def convs(self, stage: int, block: int) -> list[tuple[str, str, int, int]]:
        """Return (module, decision, original width, kernel) of each convolution of a block, in order."""
        base, last = BASES[stage - 1], 3 if self.bottleneck else 2
        kernels = (1, 3, 1) if self.bottleneck else (3, 3)
        found = []
        for number, kernel in enumerate(kernels, start=1):
            name = f"stage{stage}.block{block}.conv{number}"
            if number == last and self.tied:
                name = f"stage{stage}.out" if stage > 1 or self.bottleneck else "stem"
            found.append((f"conv{number}", name, base * 4 if number == 3 else base, kernel))
        return found

    def _originals(self) -> dict[str, int]:
        """Return the original width of every width decision."""
        found = {"stem": BASES[0]}
        for stage in range(1, 4):
            for block in range(1, self.blocks + 1):
                found |= {name: width for _, name, width, _ in self.convs(stage, block)}
        return found

    def _when(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """A block's widths matter where the stage is deep enough for it."""
        stage, _, rest = name.partition(".")
        if not self.depths or not rest.startswith("block"):
            return None
        block = int(rest.partition(".")[0].removeprefix("block"))
        return (f"depth{stage[-1]}", tuple(range(block, self.blocks + 1))) if block > 1 else None

    def _width(self, values: Mapping[str, int], name: str) -> int:
        return values[name] if self.widths else self._originals()[name]


class Block(nn.Module):
    """A residual block; the shortcut pools where it strides, and a 1x1 convolution brings it to the new width."""

    def __init__(self, units: list[Unit], shortcut: Unit | None, stride: int) -> None:
        super().__init__()
        for number, unit in enumerate(units, start=1):
            self.add_module(f"conv{number}", unit)
        self.count, self.stride, self.shortcut = len(units), stride, shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for number in range(1, self.count + 1):
            out = self.get_submodule(f"conv{number}")(out)
        if self.shortcut is not None:
            x = self.shortcut(functional.avg_pool2d(x, 2, ceil_mode=True) if self.stride > 1 else x)
        return functional.relu(padded_sum(out, x))


class ResNet(nn.Module):
    """One architecture, a plain module: (batch, channels, h, w) to (batch, classes)."""

    def __init__(self, config: ResNetCifar, arch: Arch, channels_in: int, classes: int) -> None:
        super().__init__()
        values = {name: int(value) for name, value in arch.items() if isinstance(value, int)}
        width = config._width(values, "stem")
        self.stem = Unit(channels_in, width, 3, decision="stem" if config.widths else None)
        for stage in range(1, 4):
            depth = values.get(f"depth{stage}", config.blocks)
            blocks = []
            for block in range(1, depth + 1):
                made, width = _block(config, values, stage, block, width)
                blocks.append(made)
            counts = {count: count for count in range(1, config.blocks + 1)}
            self.add_module(f"stage{stage}", Stage(blocks, f"depth{stage}" if config.depths else None, counts))
        self.classifier = Classifier(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in range(1, 4):
            x = self.get_submodule(f"stage{stage}")(x)
        return self.classifier(x)  # type: ignore[no-any-return]


def _block(config: ResNetCifar, values: Mapping[str, int], stage: int, block: int, inputs: int) -> tuple[Block, int]:
    """Return one block, and how wide its output is."""
    stride = 2 if stage > 1 and block == 1 else 1
    units, width, convs = [], inputs, config.convs(stage, block)
    strided_at = 1 if config.bottleneck else 0
    for number, (_, name, _, kernel) in enumerate(convs):
        outputs = config._width(values, name)
        decision, activation = name if config.widths else None, "none" if number == len(convs) - 1 else "relu"
        step = stride if number == strided_at else 1
        units.append(Unit(width, outputs, kernel, step, activation=activation, decision=decision))
        width = outputs
    if block > 1 or (stage == 1 and not config.bottleneck):
        return Block(units, None, stride), max(width, inputs)
    shortcut = Unit(inputs, width, activation="none", decision=units[-1].decision)
    return Block(units, shortcut, stride), width
