"""Magnitude pruning in one shot: the weakest channels of a trained network go, and nothing is searched."""

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.core.fields import settings
from renascent.core.nested import magnitude_rows
from renascent.core.protocols import Setup


@settings
class Magnitude:
    """Keep the channels of a trained network that have the largest weights, by one threshold. No search.

    Channels that must go together are one: a group's channel is as strong as the squared L2 norm of all weights that
    make or read it, divided by the mean of its group. So a layer whose weights are all larger is not kept for that, and
    groups can be ranked together. Each width is the option nearest to the number of channels above the threshold, the
    smaller one of two that are as near, and the threshold is the lowest that the budget allows. Depths and the size of
    the input stay.

    References:
        The relative score of a group's channel: Fang et al., DepGraph, CVPR 2023, arXiv:2301.12900, Sec. 3.3, with all
        channels of the group in its mean. Norms of filters: Li et al., ICLR 2017, arXiv:1608.08710.
    """

    def family(self, setup: Setup) -> NDArray[np.int64]:
        if setup.reference is None or not setup.channels:
            raise UserError(
                "magnitude ranks the channels of a trained network: give its weights (`pretrained`), or use uniform"
            )
        return magnitude_rows(setup.space, setup.reference, setup.channels)
