"""The reference network at other sizes: scaled without a search, as far as a budget allows."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from renascent.core.decisions import is_depth
from renascent.core.errors import BudgetError, UserError
from renascent.core.nested import uniform_rows
from renascent.core.protocols import Goal, SpaceConfig
from renascent.core.space import Arch, Integer
from renascent.core.within import largest
from renascent.costs.counts import cost_of
from renascent.nets.sizes.resolution import RESOLUTION
from renascent.nets.sizes.sized import has_depthwise

WAYS: tuple[Mapping[str, bool], ...] = (
    {"depth": True},
    {"depth": True, "resolution": True},
    {"depth_first": True},
)
"""What is scaled: widths and depths, with them the resolution; depths, and then the widths."""

MORE = 2
"""Another way is taken where it keeps so many times the multiply-accumulates: what bounds latency is often the number
of layers, of which narrow ones are as many."""


class Scaling(NamedTuple):
    """The reference, scaled. way: what `uniform_rows` has to be told, and `--strategy uniform`, of WAYS."""

    arch: Arch
    way: Mapping[str, bool]


def is_size_space(config: SpaceConfig) -> bool:
    """Return whether a space has a reference network, and all decisions are sizes of it."""
    sizes = all(isinstance(decision, Integer) for decision in config.space.decisions.values())
    return sizes and config.reference is not None


def has_depths(config: SpaceConfig) -> bool:
    """Return whether blocks of a space can be left out."""
    return any(map(is_depth, config.space.decisions))


def scaled(config: SpaceConfig, goals: Sequence[Goal], shape: tuple[int, int, int], classes: int) -> Scaling | None:
    """Return the scaled reference, the largest inside a budget.

    Its widths and depths are scaled by one factor; of a network with depthwise convolutions, depths first and then the
    widths: each was measured to be better there. In another of WAYS, where that cannot keep the budget, the other is
    nowhere smaller, or it keeps twice the multiply-accumulates.
    shape: (channels, h, w) of the data.  None where a space is not all sizes, or no such network is inside.
    """
    space, reference, inside = config.space, config.reference, list[Scaling]()
    if reference is None or not goals or not is_size_space(config):
        return None
    for way in _ways(config, depth_first=has_depthwise(config.network(reference, shape[0], classes))):
        with suppress(BudgetError):
            inside.append(Scaling(largest(space, goals, uniform_rows(space, reference, **way)), way))
    if not inside:
        return None
    rows, best = np.stack([space.indices(found.arch) for found in inside]), 0
    for at, row in enumerate(rows):
        best = at if (row >= rows[best]).all() and (row > rows[best]).any() else best
    with suppress(UserError):  # not of every model it is known what it multiplies
        kept = cost_of("macs", config, shape, classes).exact(rows)
        if kept.max() > MORE * kept[best]:
            best = int(kept.argmax())
    return inside[best]


def scaled_to(
    config: SpaceConfig, goal: Goal, shares: Sequence[float], shape: tuple[int, int, int], classes: int
) -> dict[str, Arch]:
    """Return the reference scaled to some shares of its cost, by name. What cannot be reached is left out.

    goal: of that cost; its limit does not matter.  shape: (channels, h, w) of the data.
    """
    assert config.reference is not None
    whole = float(goal.exact(config.space.indices(config.reference)[None])[0])
    found: dict[str, Arch] = {}
    for share in shares:
        fits = scaled(config, [replace(goal, limit=share * whole)], shape, classes)
        if fits and fits.arch not in found.values():  # two shares that give the same network are one point
            found[f"{share:.3g}x"] = fits.arch
    return found


def _ways(config: SpaceConfig, *, depth_first: bool) -> list[Mapping[str, bool]]:
    """Return the ways in which something that is decided changes, each said by no more than that; the preferred first.

    depth_first: which that is.
    """
    decided = {"depth": has_depths(config), "depth_first": has_depths(config)}
    decided["resolution"] = RESOLUTION in config.space.decisions
    ways = sorted(WAYS, key=lambda way: ("depth_first" in way) != depth_first)
    found = [{name: True for name in way if decided[name]} for way in ways]
    return [way for number, way in enumerate(found) if way not in found[:number]]
