"""ResNets for small images, every convolution of a width of its own and every stage of a depth of its own."""

from collections.abc import Mapping

from torch import nn

from renascent.core.errors import UserError
from renascent.core.fields import settings
from renascent.core.space import Arch, Integer, Space
from renascent.nets.sizes.space import ResolutionSpace
from renascent.nets.sizes.units import Chain, Classifier, Residual, Stage, Unit
from renascent.nets.sizes.widths import integers

SHARES = tuple(k / 10 for k in range(3, 11))
"""Widths, as shares of the original's."""

BASES = (16, 32, 64)
"""Channels of the three stages (four times as many behind a bottleneck)."""


@settings
class ResNetCifar(ResolutionSpace):
    """The size space of TAS on CIFAR: a width for every convolution, a depth for every stage.

    Args:
        layers_count: of the original: 6n + 2, or 9n + 2 with bottlenecks (164).
        widths: search the widths.
        depths: search the number of blocks of each stage.
        tied: one width for all maps that are added, so that nothing is padded.

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
        super().__post_init__()

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
        found = self.resolutions()
        for stage in range(1, 4) if self.depths else ():
            found[f"depth{stage}"] = Integer.range(1, self.blocks)
        for name, (width, stage, block) in self._originals().items() if self.widths else ():
            when = (f"depth{stage}", tuple(range(block, self.blocks + 1))) if self.depths and block > 1 else None
            found[name] = Integer.multiples(width, SHARES, when=when)
        return Space(found, name=f"resnet{self.layers_count}{'-tied' if self.tied else ''}")

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> nn.Module:
        """Build one architecture with fresh weights. `prune` changes nothing: every layer is used."""
        values = {name: width for name, (width, *_) in self._originals().items()} | integers(arch)
        width = values["stem"]
        parts: dict[str, nn.Module] = {"stem": Unit(channels_in, width, 3, decision="stem" if self.widths else None)}
        counts = {count: count for count in range(1, self.blocks + 1)}
        for stage in range(1, 4):
            blocks = []
            for block in range(1, values.get(f"depth{stage}", self.blocks) + 1):
                made, width = _block(self, values, stage, block, width)
                blocks.append(made)
            parts[f"stage{stage}"] = Stage(blocks, f"depth{stage}" if self.depths else None, counts)
        return Chain(**parts, classifier=Classifier(width, classes))

    def convs(self, stage: int, block: int) -> list[tuple[str, int, int]]:
        """Return (decision, original width, kernel) of each convolution of a block, in order."""
        base, kernels = BASES[stage - 1], (1, 3, 1) if self.bottleneck else (3, 3)
        found = []
        for number, kernel in enumerate(kernels, start=1):
            name = f"stage{stage}.block{block}.conv{number}"
            if number == len(kernels) and self.tied:
                name = f"stage{stage}.out" if stage > 1 or self.bottleneck else "stem"
            found.append((name, base * 4 if number == 3 else base, kernel))
        return found

    def _originals(self) -> dict[str, tuple[int, int, int]]:
        """Return the original width of every width decision, and the stage and the block that have it first."""
        found = {"stem": (BASES[0], 0, 0)}
        for stage in range(1, 4):
            for block in range(1, self.blocks + 1):
                for name, width, _ in self.convs(stage, block):
                    found.setdefault(name, (width, stage, block))
        return found


def _block(config: ResNetCifar, values: Mapping[str, int], stage: int, block: int, inputs: int) -> tuple[Residual, int]:
    """Return one block, and how wide its output is."""
    stride = 2 if stage > 1 and block == 1 else 1
    units, width, convs = [], inputs, config.convs(stage, block)
    strided_at = 1 if config.bottleneck else 0
    for number, (name, _, kernel) in enumerate(convs):
        decision, activation = name if config.widths else None, "none" if number == len(convs) - 1 else "relu"
        step = stride if number == strided_at else 1
        units.append(Unit(width, values[name], kernel, step, activation=activation, decision=decision))
        width = values[name]
    if block > 1 or (stage == 1 and not config.bottleneck):
        return Residual(units), max(width, inputs)
    shortcut = Unit(inputs, width, activation="none", decision=units[-1].decision)
    return Residual(units, shortcut, pooled=stride > 1), width
