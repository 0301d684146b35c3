"""The reference network at other sizes: everything times one factor, or as much as a budget allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from renascent.core.knapsack import cheapest
from renascent.core.protocols import Goal, SpaceConfig
from renascent.core.space import Arch, Integer
from renascent.nets.sizes.resolution import RESOLUTION

FACTORS = np.linspace(0.02, 1.0, 99)
"""By which the reference's sizes are tried to be multiplied."""


Exact = Callable[[NDArray[np.integer]], NDArray[np.float64]]


def is_size_space(config: SpaceConfig) -> bool:
    """Return whether a space has a reference network, and all decisions are sizes of it."""
    sizes = all(isinstance(decision, Integer) for decision in config.space.decisions.values())
    return sizes and reference_of(config) is not None


def is_depth(name: str) -> bool:
    """Return whether a decision is how many blocks there are.

    >>> is_depth("depth1"), is_depth("depth.layers"), is_depth("depthwise.conv")
    (True, True, False)
    """
    return re.fullmatch(r"depth(\d*|\..+)", name) is not None


def scaled_to(config: SpaceConfig, reference: Arch, exact: Exact, shares: Sequence[float]) -> dict[str, Arch]:
    """Return the reference at some shares of its cost, by name: all its widths times one factor, the largest possible.

    Depths and resolution as well, where widths alone cannot be that small, or none are decided. What cannot be reached
    is left out.
    """
    space = config.space
    whole = space.indices(reference)[None]
    kept = frozenset(name for name in space.decisions if is_depth(name) or name == RESOLUTION)
    ways = [_scaled(config, reference, names) for names in (kept, frozenset()) if len(names) < len(space.decisions)]
    priced = [exact(rows) / exact(whole) for rows in ways]
    found: dict[str, Arch] = {}
    for share in shares:
        for rows, usage in zip(ways, priced, strict=True):
            if (fits := np.flatnonzero(usage <= share)).size:
                found[f"{share:.3g}x"] = space.from_indices(rows[fits[-1]])
                break
    # two shares that give the same network are one point
    return {name: arch for k, (name, arch) in enumerate(found.items()) if arch not in list(found.values())[:k]}


def _scaled(config: SpaceConfig, reference: Mapping[str, object], kept: frozenset[str]) -> NDArray[np.int64]:
    """Return the option indices (factors, decisions) nearest to the reference's sizes times each factor."""
    columns = []
    for name, decision in config.space.decisions.items():
        options = np.array(decision.options, dtype=np.float64)  # type: ignore[union-attr]
        wanted = float(str(reference[name])) * (np.ones_like(FACTORS) if name in kept else FACTORS)
        columns.append(np.abs(options[None, :] - wanted[:, None]).argmin(1))
    return np.stack(columns, axis=1)


def scaled(config: SpaceConfig, goals: Sequence[Goal], kept: Mapping[str, bool] | None = None) -> Arch:
    """Return the reference scaled uniformly to the budget: every decision by one factor, the largest that fits.

    A space without a reference is scaled from its largest. kept: decisions that stay at the reference's option.
    The cheapest architecture, where even the smallest factor does not fit.
    """
    space = config.space
    options = {name: np.array(decision.options) for name, decision in space.decisions.items()}  # type: ignore[union-attr]
    whole = reference_of(config)
    if whole is None or not all(np.issubdtype(o.dtype, np.number) for o in options.values()):
        return space.from_indices(cheapest(space, goals)) if goals else next(iter(space))
    best: NDArray[np.int64] | None = None
    for factor in np.linspace(0.02, 2.0, 199):
        wanted = {n: float(whole[n]) * (1.0 if kept and kept.get(n) else factor) for n in options}  # type: ignore[arg-type]
        row = [int(np.abs(o - wanted[n]).argmin()) for n, o in options.items()]
        rows = np.array([row], dtype=np.int64)
        if not goals or max(float(goal.exact(rows)[0]) / goal.limit for goal in goals) <= 1:
            best = rows[0] if goals or factor <= 1 else best
    return space.from_indices(cheapest(space, goals) if best is None else best)


def reference_of(config: SpaceConfig) -> Arch | None:
    """Return the published network of a space, or the user's as it was given; None where there is none."""
    found = getattr(config, "reference", None)
    return found if isinstance(found, Arch) else None
