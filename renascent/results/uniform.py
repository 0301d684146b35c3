"""Uniform scaling beside the result of a search of sizes: the network that the same budget buys without a search."""

import contextlib
from collections.abc import Mapping, Sequence

from renascent.core.decisions import is_depth
from renascent.core.errors import BudgetError, UserError
from renascent.core.nested import uniform_rows
from renascent.core.protocols import Goal, SpaceConfig
from renascent.core.space import Arch
from renascent.core.within import largest
from renascent.costs import params
from renascent.costs.counts import cost_of
from renascent.costs.scaling import is_size_space
from renascent.nets.macs import count
from renascent.nets.sizes.resolution import RESOLUTION, input_shape
from renascent.results.facts import Scaled

WAYS: tuple[Mapping[str, bool], ...] = (
    {"depth": True},
    {"depth": True, "resolution": True},
    {"depth_first": True},
)
"""What is scaled: widths and depths, with them the resolution; depths, and then the widths."""

MORE = 2
"""Another way is the baseline where it keeps so many times the multiply-accumulates: what bounds latency is often the
number of layers, of which narrow ones are as many."""


def uniform_within(space: SpaceConfig, goals: Sequence[Goal], shape: tuple[int, int, int], classes: int) -> Arch | None:
    """Return the scaled reference, the largest inside a budget.

    Its widths and depths are scaled by one factor; the resolution, too, or depths first, where these cannot keep the
    budget or leave less than half of the multiply-accumulates that another way would.
    shape: (channels, h, w) of the data.  None where a space is not all sizes, or no such network is inside.
    """
    reference, inside = space.reference, list[Arch]()
    if reference is None or not goals or not is_size_space(space):
        return None
    for way in WAYS:
        rows = uniform_rows(space.space, reference, **way)
        with contextlib.suppress(BudgetError):
            inside.append(largest(space.space, goals, rows))
    with contextlib.suppress(UserError):  # not of every model it is known what it multiplies
        work = cost_of("macs", space, shape, classes)
        kept = [float(work.exact(space.space.indices(arch)[None])[0]) for arch in inside]
        if kept and max(kept) > MORE * kept[0]:
            return inside[kept.index(max(kept))]
    return inside[0] if inside else None


def beside_uniform(
    space: SpaceConfig, goals: Sequence[Goal], shape: tuple[int, int, int], classes: int
) -> Scaled | None:
    """Return that network and what it costs, counted and, of what is bounded, as predicted; None if there is none."""
    arch = uniform_within(space, goals, shape, classes)
    if arch is None:
        return None
    net, row = space.network(arch, shape[0], classes), space.space.indices(arch)[None]
    counted = {"params": float(params(net)), "macs": float(count(net, input_shape(arch, shape)).macs)}
    bounded = {goal.name: float(goal.exact(row)[0]) for goal in goals}
    return Scaled(arch=space.space.format(arch), costs=counted | bounded)


def scaled_parts(space: SpaceConfig, arch: Arch) -> str:
    """Say which sizes of the reference an architecture changes.

    >>> from renascent.nets.sizes.resnet_cifar import ResNetCifar
    >>> config = ResNetCifar(layers_count=14)
    >>> scaled_parts(config, config.space.arch({**config.reference, "stem": 8, "depth2": 1}))
    'widths and depths'
    """
    before = space.reference or arch
    changed = {_part(name) for name in space.space.active(arch) if arch[name] != before[name]}
    found = [part for part in ("widths", "depths", "resolution") if part in changed]
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found) or "nothing"


def _part(name: str) -> str:
    return "resolution" if name == RESOLUTION else "depths" if is_depth(name) else "widths"
