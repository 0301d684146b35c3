"""Uniform scaling: every width of the reference network times one factor, and nothing is searched."""

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.core.fields import settings
from renascent.core.nested import uniform_rows
from renascent.core.protocols import Setup


@settings
class Uniform:
    """Scale all widths, or depths, by one factor, the largest that the budget allows. No search.

    Each size is the option nearest to the reference's times the factor. Sizes in the middle of two options round up one
    after another, the first of the network first, as far as the budget goes. Which factors matter is computed, not
    sampled: the row holds every network that one factor can give.

    Args:
        widths: scale the widths.
        depth: scale the numbers of blocks.
        resolution: scale the size of the input.

    References:
        The width multiplier of Howard et al., MobileNets, 2017, arXiv:1704.04861, Sec. 3.3; one factor for widths,
        depths and resolution: Tan and Le, EfficientNet, ICML 2019, arXiv:1905.11946, Sec. 3.2.
    """

    widths: bool = True
    depth: bool = False
    resolution: bool = False

    def family(self, setup: Setup) -> NDArray[np.int64]:
        if setup.reference is None:
            raise UserError(f"space '{setup.space.name}' has no reference network to be scaled: search it")
        scaled = {"widths": self.widths, "depth": self.depth, "resolution": self.resolution}
        rows = uniform_rows(setup.space, setup.reference, **scaled)
        if len(rows) == 1:
            named = ", ".join(name for name, moved in scaled.items() if moved) or "none of widths, depth, resolution"
            raise UserError(f"uniform would scale {named}, and space '{setup.space.name}' decides none of that")
        return rows
