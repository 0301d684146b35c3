"""What a search found, in the plane of accuracy and cost: beside the reference, and the reference scaled uniformly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from renascent.core import Goal, SpaceConfig
from renascent.costs.budget import reference_of
from renascent.costs.named import cost_of
from renascent.nets.layers import SizedSpace
from renascent.nets.resolution import RESOLUTION
from renascent.run import Json
from renascent.space import Arch, Integer

SHARES = (0.1, 0.25, 0.5, 0.75)
"""Shares of the reference's cost to which it is scaled."""

FACTORS = np.linspace(0.02, 1.0, 99)
"""By which the reference's sizes are tried to be multiplied."""

Exact = Callable[[NDArray[np.integer]], NDArray[np.float64]]


def plane(
    config: SpaceConfig,
    found: Arch,
    goals: Sequence[Goal],
    score: Callable[[Arch], float],
    shape: tuple[int, int, int],
    classes: int,
) -> list[Json]:
    """Return what each of some architectures costs, and scores inside the supernet: name, costs, score.

    Costs are those of the budget, macs without one; the first is scaled by. shape: (channels, h, w) of the data.
    Empty where a space has no reference, or not only sizes.
    """
    costs = _costs(config, goals, shape, classes)
    reference = reference_of(config) if costs and is_size_space(config) else None
    if reference is None:
        return []
    archs = {"found": found, "reference": reference}
    exact = next(iter(costs.values()))
    # to the budget, too
    asked = {goals[0].limit / float(exact(config.space.indices(reference)[None])[0])} if goals else set()
    archs |= scaled_to(config, reference, exact, sorted({*SHARES, *(share for share in asked if share < 1)}))
    rows = np.stack([config.space.indices(arch) for arch in archs.values()])
    priced = {name: exact(rows).tolist() for name, exact in costs.items()}
    return [
        {"name": name, **{cost: values[k] for cost, values in priced.items()}, "score": score(arch)}
        for k, (name, arch) in enumerate(archs.items())
    ]


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


def _costs(
    config: SpaceConfig, goals: Sequence[Goal], shape: tuple[int, int, int], classes: int
) -> Mapping[str, Exact]:
    if goals:
        return {goal.name: goal.exact for goal in goals}
    return {"macs": cost_of("macs", config, shape, classes).exact} if isinstance(config, SizedSpace) else {}
