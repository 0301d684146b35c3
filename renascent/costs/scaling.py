"""The reference network at other sizes: everything times one factor, or as much as a budget allows."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from renascent.core.decisions import is_depth
from renascent.core.protocols import Goal, SpaceConfig
from renascent.core.space import Arch, Integer, Space
from renascent.core.within import cheapest
from renascent.nets.sizes.resolution import RESOLUTION

FACTORS = np.linspace(0.02, 2.0, 199)
"""Factors by which the reference's sizes are scaled."""

Exact = Callable[[NDArray[np.integer]], NDArray[np.float64]]


def is_size_space(config: SpaceConfig) -> bool:
    """Return whether a space has a reference network, and all decisions are sizes of it."""
    sizes = all(isinstance(decision, Integer) for decision in config.space.decisions.values())
    return sizes and config.reference is not None


def scaled_to(config: SpaceConfig, reference: Arch, exact: Exact, shares: Sequence[float]) -> dict[str, Arch]:
    """Return the reference at some shares of its cost, by name: all its widths times one factor, the largest possible.

    Depths and resolution as well, where widths alone cannot be that small, or none are decided. What cannot be reached
    is left out.
    """
    space = config.space
    whole = space.indices(reference)[None]
    kept = [name for name in space.decisions if is_depth(name) or name == RESOLUTION]
    smaller = FACTORS[FACTORS <= 1]
    ways = [_scaled(space, reference, names, smaller) for names in (kept, ()) if len(names) < len(space.decisions)]
    priced = [exact(rows) / exact(whole) for rows in ways]
    found: dict[str, Arch] = {}
    for share in shares:
        for rows, usage in zip(ways, priced, strict=True):
            if (fits := np.flatnonzero(usage <= share)).size:
                arch = space.from_indices(rows[fits[-1]])
                if arch not in found.values():  # two shares that give the same network are one point
                    found[f"{share:.3g}x"] = arch
                break
    return found


def scaled(config: SpaceConfig, goals: Sequence[Goal], kept: Collection[str] = ()) -> Arch:
    """Return the reference scaled uniformly to the budget: every decision by one factor, the largest that fits.

    kept: decisions that stay at the reference's option.
    The cheapest architecture, where even the smallest factor does not fit, or the space is not one of sizes.
    """
    space, reference = config.space, config.reference
    if reference is not None and is_size_space(config):
        rows = _scaled(space, reference, kept, FACTORS)
        usage = np.max([goal.exact(rows) / goal.limit for goal in goals], axis=0)
        if (fits := np.flatnonzero(usage <= 1)).size:
            return space.from_indices(rows[fits[-1]])
    return space.from_indices(cheapest(space, goals))


def _scaled(space: Space, reference: Arch, kept: Collection[str], factors: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the option indices (factors, decisions) nearest to the reference's sizes times each factor."""
    columns = []
    for name in space.decisions:
        wanted = float(str(reference[name])) * (np.ones_like(factors) if name in kept else factors)
        columns.append(np.abs(np.array(space.options(name)) - wanted[:, None]).argmin(1))
    return np.stack(columns, axis=1)
