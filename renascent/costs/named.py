"""Counted costs by name, for any space."""

from __future__ import annotations

import torch

from renascent.core.bounds import COSTS
from renascent.core.errors import UserError, unknown
from renascent.core.protocols import Priced, SpaceConfig
from renascent.core.space import Arch
from renascent.costs.counts import additive, macs, params


def cost_of(name: str, config: SpaceConfig, shape: tuple[int, int, int], classes: int) -> Priced:
    """Return a cost of a space, for inputs of `shape` (channels, h, w): the space's own, or counted on its networks.

    Raises UserError for an unknown name, and for the bytes of a space that cannot list its layers, or not all that
    is in memory with them: a model of the user's own.

    >>> from renascent.nets import SPACES
    >>> config = SPACES["resnet20"]()
    >>> cost_of("params", config, (3, 32, 32), 10).exact(config.space.indices(config.reference)[None]).tolist()
    [272474.0]
    """
    if name not in COSTS:
        raise unknown("cost", name, COSTS)
    if (own := config.cost(name, shape, classes)) is not None:
        return own
    if name not in ("macs", "params"):
        raise UserError(
            f"{name} is known for spaces of sizes only, not for '{config.space.name}': bound macs or params"
        )

    def count(arch: Arch) -> float:
        with torch.device("meta"):
            net = config.network(arch, shape[0], classes)
        return macs(net, shape) if name == "macs" else params(net)

    return additive(config.space, count)
