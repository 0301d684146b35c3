"""Uniform scaling beside the result of a search of sizes: the network that the same budget buys without a search."""

from collections.abc import Mapping, Sequence

from renascent.core.decisions import is_depth
from renascent.core.protocols import Goal, SpaceConfig
from renascent.core.space import Arch
from renascent.core.text import listed
from renascent.costs import params
from renascent.costs.scaling import scaled
from renascent.nets.macs import count
from renascent.nets.sizes.resolution import RESOLUTION, input_shape
from renascent.results.facts import Scaled


def beside_uniform(
    space: SpaceConfig, goals: Sequence[Goal], shape: tuple[int, int, int], classes: int
) -> Scaled | None:
    """Return the scaled reference and what it costs, counted and, of what is bounded, as predicted.

    shape: (channels, h, w) of the data.  None where there is none, as in `scaled`.
    """
    found = scaled(space, goals, shape, classes)
    return found and costed(space, found.arch, found.way, goals, shape, classes)


def costed(
    space: SpaceConfig,
    arch: Arch,
    way: Mapping[str, bool] | None,
    goals: Sequence[Goal],
    shape: tuple[int, int, int],
    classes: int,
) -> Scaled:
    """Return a network made without a search, and what it costs. way: in which it was scaled."""
    net, row = space.network(arch, shape[0], classes), space.space.indices(arch)[None]
    counted = {"params": float(params(net)), "macs": float(count(net, input_shape(arch, shape)).macs)}
    bounded = {goal.name: float(goal.exact(row)[0]) for goal in goals}
    return Scaled(arch=space.space.format(arch), way=way, costs=counted | bounded)


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
    return listed(found) or "nothing"


def _part(name: str) -> str:
    return "resolution" if name == RESOLUTION else "depths" if is_depth(name) else "widths"
