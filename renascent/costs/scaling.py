"""The reference network at other sizes: scaled without a search, as far as a budget allows."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from renascent.core.decisions import is_depth
from renascent.core.errors import BudgetError, UserError
from renascent.core.nested import uniform_rows
from renascent.core.protocols import Goal, Priced, SpaceConfig
from renascent.core.space import Arch, Integer
from renascent.core.within import largest
from renascent.costs.counts import cost_of
from renascent.nets.sizes.resolution import RESOLUTION
from renascent.nets.sizes.sized import has_depthwise

WAYS: tuple[Mapping[str, bool], ...] = (
    {"depth": True},
    {"depth": True, "resolution": True},
    {"depth_first": True},
    {},
)
"""What is scaled: widths and depths, with them the resolution; depths, and then the widths; widths alone."""

FULLER, MORE = 1.5, 2
"""Another way is taken where it uses so many times as much of the budget: of few blocks each is a large step. Or where
it keeps so many times the multiply-accumulates: what bounds latency is often the number of layers, of which narrow ones
are as many."""


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


def flags(way: Mapping[str, bool]) -> str:
    """Return the flags of `--strategy uniform` that scale in a way.

    >>> flags({"depth_first": True}), flags({})
    (' --depth-first', '')
    """
    return "".join(f" --{name.replace('_', '-')}" for name in way)


def scaled(config: SpaceConfig, goals: Sequence[Goal], shape: tuple[int, int, int], classes: int) -> Scaling | None:
    """Return the scaled reference, the largest inside a budget; None where none is, or a space is not all sizes.

    Its widths and depths are scaled by one factor; of a network with depthwise convolutions, depths first and then the
    widths: each was measured to be better there. In another of WAYS, where that cannot keep the budget, the other is
    nowhere smaller, uses 1.5 times as much of the budget, or keeps twice the multiply-accumulates; the resolution only
    where nothing else keeps the budget.
    shape: (channels, h, w) of the data.
    """
    return _Scaled(config, shape, classes).inside(goals) if goals and is_size_space(config) else None


def scaled_to(
    config: SpaceConfig, goal: Goal, shares: Sequence[float], shape: tuple[int, int, int], classes: int
) -> dict[str, Arch]:
    """Return the reference scaled to some shares of its cost, by name. What cannot be reached is left out.

    goal: of that cost; its limit does not matter.  shape: (channels, h, w) of the data.
    """
    rows = _Scaled(config, shape, classes)
    whole = float(goal.exact(config.space.indices(rows.reference)[None])[0])
    found: dict[str, Arch] = {}
    for share in shares:
        # a limit is not to be missed by the rounding of its quotient
        fits = rows.inside([replace(goal, limit=share * whole * (1 + 1e-9))])
        if fits and fits.arch not in found.values():  # two shares that give the same network are one point
            found[f"{share:.3g}x"] = fits.arch
    return found


class _Scaled:
    """The rows of networks that the reference is scaled to, one for each way, the preferred first."""

    def __init__(self, config: SpaceConfig, shape: tuple[int, int, int], classes: int) -> None:
        assert config.reference is not None
        self.space, self.reference = config.space, config.reference
        with torch.random.fork_rng([]):  # what is drawn for its weights is not looked at
            mobile = has_depthwise(config.network(self.reference, shape[0], classes))
        self.rows = [(way, uniform_rows(self.space, self.reference, **way)) for way in _ways(config, mobile=mobile)]
        self.work: Priced | None = None
        with suppress(UserError):  # not of every model it is known what it multiplies
            self.work = cost_of("macs", config, shape, classes)

    def inside(self, goals: Sequence[Goal]) -> Scaling | None:
        """Return the largest network inside a budget of the most preferred way that is not far behind another."""
        found = []
        for way, rows in self.rows:
            with suppress(BudgetError):
                found.append(Scaling(largest(self.space, goals, rows), way))
        if not found:
            return None
        found = [one for one in found if RESOLUTION not in one.way] or found
        sizes = np.stack([self.space.indices(one.arch) for one in found])
        places = [k for k, row in enumerate(sizes) if not any(_smaller(row, other) for other in sizes)]
        measures = [(FULLER, np.max([goal.exact(sizes) / goal.limit for goal in goals], axis=0))]
        measures += [(MORE, self.work.exact(sizes))] if self.work is not None else []
        for times, kept in measures:
            places = [k for k in places if times * kept[k] >= kept[places].max()]
        return found[places[0]]


def _smaller(row: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Return whether a network is nowhere larger than another, and somewhere smaller."""
    return bool((row <= other).all() and (row < other).any())


def _ways(config: SpaceConfig, *, mobile: bool) -> list[Mapping[str, bool]]:
    """Return the ways in which something that is decided changes, each said by no more than that; the preferred first.

    mobile: the network has depthwise convolutions.
    """
    decided = {"depth": has_depths(config), "depth_first": has_depths(config)}
    decided["resolution"] = RESOLUTION in config.space.decisions
    ways = sorted(WAYS, key=lambda way: (not way, ("depth_first" in way) != mobile))
    found = [{name: True for name in way if decided[name]} for way in ways]
    return [way for number, way in enumerate(found) if way not in found[:number]]
