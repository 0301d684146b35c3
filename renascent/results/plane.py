"""What a search found, in the plane of accuracy and cost: beside the reference, and the reference scaled uniformly."""

import contextlib
from collections.abc import Callable, Sequence

import numpy as np

from renascent.core.errors import UserError
from renascent.core.protocols import Goal, SpaceConfig
from renascent.core.space import Arch
from renascent.costs.counts import cost_of
from renascent.costs.scaling import is_size_space, scaled_to
from renascent.results.facts import Point

SHARES = (0.1, 0.25, 0.5, 0.75)
"""Shares of the reference's cost to which it is scaled."""


def plane(
    config: SpaceConfig,
    found: Arch,
    goals: Sequence[Goal],
    score: Callable[[Arch], float],
    shape: tuple[int, int, int],
    classes: int,
) -> list[Point]:
    """Return what each of some architectures costs, and scores inside the supernet: name, costs, score.

    Costs are those of the budget, macs without one; the first is scaled by. shape: (channels, h, w) of the data.
    Empty where a space has no reference, or not only sizes.
    """
    costs = {goal.name: goal.exact for goal in goals}
    if not goals and config.layered:
        with contextlib.suppress(UserError):  # not of every model it is known what it multiplies
            costs = {"macs": cost_of("macs", config, shape, classes).exact}
    reference = config.reference if costs and is_size_space(config) else None
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
        Point(name=name, costs={cost: values[k] for cost, values in priced.items()}, score=score(arch))
        for k, (name, arch) in enumerate(archs.items())
    ]
