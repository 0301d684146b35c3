"""What the size spaces whose layers come from their plain network have in common."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from renascent.core.space import Arch
from renascent.nets.sizes.counted import SizedSpace
from renascent.nets.sizes.drawing import draw_sizes
from renascent.nets.sizes.layers import Layer
from renascent.nets.sizes.sized import SizedSupernet, widest_arch
from renascent.nets.sizes.tracing import Program, trace


class TracedSpace(SizedSpace):
    """A size space that says its decisions, the widths of its original, and its plain network. The rest follows.

    Its network is built of the modules of `nets.sizes.units`. Spaces of equal parameters share one trace.
    """

    def originals(self) -> dict[str, int]:
        """Return the original's value of every decision for which it is not the largest option."""
        return {}

    def whole(self, channels_in: int, classes: int) -> nn.Module:
        """Build the widest network. It has every layer that any architecture has."""
        return self.network(widest_arch(self.space), channels_in, classes)

    @property
    def reference(self) -> Arch:
        """The original network, at the highest resolution."""
        space = self.space
        return space.arch({**widest_arch(space), **self.originals()})

    def supernet(self, channels_in: int, classes: int) -> SizedSupernet:
        """Build the shared-weight network for (batch, channels_in, h, w) images."""
        return SizedSupernet(self, self.whole(channels_in, classes), channels_in, classes)

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text."""
        return draw_sizes(self.space, self.reference, arch)

    def layers(self, values: Mapping[str, Any], shape: tuple[int, int, int], classes: int) -> list[Layer]:
        """List the layers for the values of all decisions and an input of `shape` (channels, h, w)."""
        return _program(self).layers(values, shape, classes)


@lru_cache(maxsize=64)
def _program(config: TracedSpace) -> Program:
    with torch.device("meta"):
        return trace(config.whole(1, 1))
