"""What size spaces have in common: layers, supernet, reference and drawing come from their plain network."""

import itertools
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from renascent.core.fields import settings
from renascent.core.space import Arch, Integer, Space
from renascent.core.spaces import Ranked, SpaceConfig
from renascent.core.text import aligned
from renascent.nets.sizes.counted import COUNTED, Sized
from renascent.nets.sizes.layers import Layer
from renascent.nets.sizes.ranked import ranked
from renascent.nets.sizes.resolution import resolutions
from renascent.nets.sizes.sized import SizedSupernet, widest_arch
from renascent.nets.sizes.tracing import Step, layers_of, trace


class SizedSpace(SpaceConfig):
    """A search space of sizes: its decisions are `Integer`. It says these, the widths of its original, and its network.

    The rest follows. Its network is built of the modules of `nets.sizes.units`; spaces of equal parameters share one
    trace.
    """

    def originals(self) -> dict[str, int]:
        """Return the original's value of every decision for which it is not the largest option."""
        return {}

    def whole(self, channels_in: int, classes: int) -> nn.Module:
        """Build the widest network. It has every layer that any architecture has."""
        return self.network(widest_arch(self.space), channels_in, classes)

    @property
    def reference(self) -> Arch:
        """The published network, at the highest resolution, of which a budget such as macs<=0.5x takes half."""
        space = self.space
        return space.arch({**widest_arch(space), **self.originals()})

    def supernet(self, channels_in: int, classes: int) -> SizedSupernet:
        """Build the shared-weight network for (batch, channels_in, h, w) images."""
        return SizedSupernet(self, self.whole(channels_in, classes), channels_in, classes)

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text."""
        return draw_sizes(self.space, self.reference, arch)

    def cost(self, name: str, shape: tuple[int, int, int], classes: int) -> Sized:
        """Return a cost by its name: a sum over the layers, or their peak."""
        return Sized(self, shape, classes, *COUNTED[name])

    def ranked(self, state: Mapping[str, Tensor] | None, channels_in: int, classes: int) -> Ranked:
        """Return the trained reference network, its channels in order; nothing where there is none."""
        if state is None:
            return Ranked({}, {})
        with torch.random.fork_rng([]):  # what is drawn for its weights is overwritten
            net = self.network(self.reference, channels_in, classes)
        return ranked(net, state, channels_in)

    def layers(self, values: Mapping[str, Any], shape: tuple[int, int, int], classes: int) -> list[Layer]:
        """List the layers for the values of all decisions and an input of `shape` (channels, h, w)."""
        return layers_of(_steps(self), values, shape, classes)


@lru_cache(maxsize=64)
def _steps(config: SizedSpace) -> tuple[Step, ...]:
    with torch.device("meta"):
        net = config.whole(1, 1)
    return trace(net)


@settings
class ResolutionSpace(SizedSpace):
    """A size space that may decide the resolution, too.

    Args:
        lowest: side of the images, in pixels; where they are equal, it is the data's own.
        highest: side of the images, in pixels; where they are equal, it is the data's own.
        resolution_step: between two resolutions, in pixels.
    """

    lowest: int = 96
    highest: int = 224
    resolution_step: int = 1

    def __post_init__(self) -> None:
        self.resolutions()  # refuses an empty range

    def resolutions(self) -> dict[str, Integer]:
        """Return the decision by its name; nothing where there is one resolution only."""
        return resolutions(self.lowest, self.highest, self.resolution_step)


LINES = 40
"""More decisions than this share lines."""


def draw_sizes(space: Space, reference: Mapping[str, Any], arch: Arch) -> str:
    """Return one line a decision that matters in `arch`: its value, the reference's, a bar of the share that is left.

    Decisions of dropped blocks are left out. With more than 40 decisions, those of a block share a line.

    >>> from renascent.core.space import Integer
    >>> space = Space({"stem": Integer((8, 16))})
    >>> print(draw_sizes(space, {"stem": 16}, space.arch({"stem": 8})))
    stem  8  of  16  ##########..........
    """
    names = space.active(arch)
    if len(names) > LINES:
        return _in_blocks({name: f"{arch[name]} of {reference[name]}" for name in names})
    return aligned([(name, *_change(reference[name], arch[name])) for name in names], "<><><")


def _change(before: int, after: Any) -> tuple[str, ...]:
    filled = round(20 * min(after / max(before, 1), 1.5))
    return str(after), "of", str(before), "#" * filled + "." * (20 - filled)


def _in_blocks(values: Mapping[str, str]) -> str:
    """Return one line for each run of decisions whose names differ behind the last dot only."""
    lines: list[tuple[str, str]] = []
    for place, names in itertools.groupby(values, key=lambda name: name.rpartition(".")[0]):
        if place:
            parts = [f"{name.rpartition('.')[2]} {values[name]}" for name in names]
            lines.append((place, ", ".join(parts)))
        else:
            lines += [(name, values[name]) for name in names]
    return aligned(lines)
