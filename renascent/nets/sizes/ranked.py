"""The channels of a trained network of a size space: how strong each is, and the network with the strongest first."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.spaces import Ranked
from renascent.nets.adapt.groups import Grouping, grouped
from renascent.nets.adapt.labelling import label
from renascent.nets.adapt.order import magnitude, ordered, strengths
from renascent.nets.adapt.rules import RULES
from renascent.nets.adapt.trace import trace
from renascent.nets.sizes.units import Unit

SIDE = 32
"""Of the images on which a network runs once, in pixels: which channels go together does not depend on it."""


def ranked(net: nn.Module, state: Mapping[str, Tensor], channels_in: int) -> Ranked:
    """Return a trained network of units with its channels in order, and how strong those of each width are.

    What goes together is found as in a user's model. Widths that are decided apart, but are one group in this network,
    as those that are added to one another, are as strong as each other; one that is several groups, as strong as they
    are on average.

    net: the network as it is built.  state: its weights, which `net` takes.
    Raises UserError where the weights are of another network.
    """
    other = [name for name, p in net.named_parameters() if name not in state or state[name].shape != p.shape]
    if other:
        raise UserError(
            f"'{other[0]}' of the trained network is missing or of another shape than in the reference network, whose "
            "channels are to be ranked: give the weights of that one"
        )
    net.load_state_dict(dict(state), strict=False)
    found = grouped(label(trace(net, (channels_in, SIDE, SIDE)), RULES))
    units = {number: group.units for number, group in enumerate(found.groups)}
    strong = strengths(net, found.axes, units)
    widths = {
        name: np.mean([strong[group] for group in sorted(groups)], axis=0)
        for names, groups in _together(net, found)
        for name in names
    }
    return Ranked(ordered(net, found.axes, magnitude(net, found.axes, units)).state_dict(), widths)


def _together(net: nn.Module, found: Grouping) -> list[tuple[set[str], set[int]]]:
    """Return the widths whose channels go together, with their groups. A width of one channel has no group."""
    own: dict[str, set[int]] = defaultdict(set)
    for name, module in net.named_modules():
        axis = found.axes.get(f"{name}.conv.weight", {}).get(0) if isinstance(module, Unit) else None
        if axis and module.decision:
            own[str(module.decision)].update(axis.groups)
    tied: list[tuple[set[str], set[int]]] = []
    for decision, groups in own.items():
        joined = [part for part in tied if part[1] & groups]
        tied = [part for part in tied if not part[1] & groups]
        tied.append(({decision}.union(*(p[0] for p in joined)), groups.union(*(p[1] for p in joined))))
    return tied
