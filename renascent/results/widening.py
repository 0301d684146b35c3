"""The widest network of an architecture inside a budget: fresh, none of its weights cut or rounded."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import fields, replace

import torch

from renascent.core.bounds import read_budget
from renascent.core.errors import UserError
from renascent.core.protocols import SpaceConfig
from renascent.core.space import Arch
from renascent.costs import cost_of, macs, params

MOST = 512
"""Channels of the widest network that is tried."""


def widened(config: SpaceConfig, arch: Arch, shape: tuple[int, int, int], classes: int, budget: str) -> SpaceConfig:
    """Return the space with the most channels whose network of `arch` keeps a budget, as in "params<=3M".

    shape: (channels, h, w) of the data.

    Raises UserError for a budget that is relative, of latency, or below the narrowest network, and for a space without
    channels to set.
    """
    bounds = read_budget(budget)
    config.check_size(shape)
    for bound in bounds:
        if bound.relative or bound.name not in config.costs:
            raise UserError(
                f"'{bound}' cannot be widened to: bound {', '.join(config.costs)} by a number, as in macs<=40M"
            )
    if (found := widest(config, arch, shape, classes, {bound.name: bound.value for bound in bounds})) is None:
        raise UserError(f"budget '{budget}' is below the narrowest network of '{config.space.name}': allow more")
    return found


def widest(
    config: SpaceConfig,
    arch: Arch,
    shape: tuple[int, int, int],
    classes: int,
    limits: Mapping[str, float],
    *,
    step: int = 1,
    most: int = MOST,
) -> SpaceConfig | None:
    """Return the space with the most channels, a multiple of `step`, whose network keeps limits; None if none does.

    limits: cost -> the most allowed.
    """

    def usage(wider: SpaceConfig) -> float:
        return max(_cost(name, wider, arch, shape, classes) / limit for name, limit in limits.items())

    allowed = [wider for k in range(step, most + 1, step) if (wider := _of(config, k)) is not None]
    first = bisect_right(allowed, 1.0, key=usage)
    return allowed[first - 1] if first else None


def _of(config: SpaceConfig, channels: int) -> SpaceConfig | None:
    """Return the space with so many channels; None where its networks cannot have these."""
    if all(field.name != "channels" for field in fields(config)):  # type: ignore[arg-type]
        raise UserError(f"the space '{config.space.name}' has no channels to set: train its network as it is")
    try:
        return replace(config, channels=channels)  # type: ignore[type-var]
    except UserError:
        return None


def _cost(name: str, config: SpaceConfig, arch: Arch, shape: tuple[int, int, int], classes: int) -> float:
    if name not in ("macs", "params"):
        return float(cost_of(name, config, shape, classes).exact(config.space.indices(arch)[None])[0])
    with torch.device("meta"):
        net = config.network(arch, shape[0], classes)
    return macs(net, shape) if name == "macs" else params(net)
