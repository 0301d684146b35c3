"""Uniform scaling: the sizes of the reference network times one factor, and nothing is searched."""

import numpy as np
from numpy.typing import NDArray

from renascent.core.decisions import is_depth
from renascent.core.errors import UserError
from renascent.core.fields import settings
from renascent.core.nested import uniform_rows
from renascent.core.protocols import Setup


@settings
class Uniform:
    """Scale all widths by one factor, the largest that the budget allows. No search.

    Each size is the option nearest to the reference's times the factor. Sizes in the middle of two options round up one
    after another, the first of the network first, as far as the budget goes. Which factors matter is computed, not
    sampled: the row holds every network that one factor can give.

    Args:
        depth: scale the numbers of blocks, too.
        resolution: scale the size of the input, too.
        depth_first: scale the numbers of blocks alone, by a factor of their own, and the rest only where the fewest are
            too many; not with depth. Inside a latency narrow blocks cost nearly what wide ones do.

    References:
        The width multiplier of Howard et al., MobileNets, 2017, arXiv:1704.04861, Sec. 3.3; one factor for widths,
        depths and resolution: Tan and Le, EfficientNet, ICML 2019, arXiv:1905.11946, Sec. 3.2.
    """

    depth: bool = False
    resolution: bool = False
    depth_first: bool = False

    def family(self, setup: Setup) -> NDArray[np.int64]:
        if setup.reference is None:
            raise UserError(f"space '{setup.space.name}' has no reference network to be scaled: search it")
        if self.depth_first and self.depth:
            raise UserError("depth scales numbers of blocks with the widths, depth_first before them: give one of them")
        if self.depth_first and not any(map(is_depth, setup.space.decisions)):
            raise UserError(f"space '{setup.space.name}' decides no depth: leave depth_first out")
        how = {"depth": self.depth, "resolution": self.resolution, "depth_first": self.depth_first}
        return uniform_rows(setup.space, setup.reference, **how)
