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
    known = list(goals)
    if not goals and config.layered:
        with contextlib.suppress(UserError):  # not of every model it is known what it multiplies
            macs = cost_of("macs", config, shape, classes)
            known = [Goal("macs", 0.0, macs, macs.exact)]
    reference = config.reference if known and is_size_space(config) else None
    if reference is None:
        return []
    archs = {"found": found, "reference": reference}
    # to the budget, too
    asked = {goals[0].limit / float(goals[0].exact(config.space.indices(reference)[None])[0])} if goals else set()
    shares = sorted({*SHARES, *(share for share in asked if share < 1)})
    archs |= scaled_to(config, known[0], shares, shape, classes)
    rows = np.stack([config.space.indices(arch) for arch in archs.values()])
    priced = {goal.name: goal.exact(rows).tolist() for goal in known}
    return [
        Point(name=name, costs={cost: values[k] for cost, values in priced.items()}, score=score(arch))
        for k, (name, arch) in enumerate(archs.items())
    ]
