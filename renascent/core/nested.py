"""Rows of networks, each as large as the one before or larger: all of them, by where each decision takes a step."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from renascent.core.decisions import is_depth
from renascent.core.gates import ONE_HOT_DECISIONS
from renascent.core.space import Arch, Space


def nested(space: Space, start: Arch, steps: Mapping[str, NDArray[np.float64]]) -> NDArray[np.int64]:
    """Return every member of a family that has one parameter, as option indices (n, decisions), the smallest first.

    steps: from which value of the parameter on a decision has its next option, (options - 1,), not falling; infinite
    where it never has. Decisions without an entry are as in `start`.

    >>> from renascent.core.space import Integer
    >>> space = Space({"a": Integer((1, 2)), "b": Integer((1, 2, 3)), "c": Integer((1, 2))})
    >>> start = space.arch({"a": 2, "b": 3, "c": 2})
    >>> nested(space, start, {"a": np.array([0.5]), "b": np.array([0.5, 0.7])}).tolist()
    [[0, 0, 1], [1, 1, 1], [1, 2, 1]]
    """
    values = np.unique(np.concatenate([[-np.inf], *steps.values()]))
    values = values[values < np.inf]
    rows = np.repeat(space.indices(start)[None], len(values), axis=0)
    for place, name in enumerate(space.decisions):
        if name in steps:
            rows[:, place] = np.searchsorted(steps[name], values, side="right")
    return rows


def uniform_rows(space: Space, reference: Arch, *, depth: bool, resolution: bool) -> NDArray[np.int64]:
    """Return every network that one factor of the reference's widths gives, as `nested` does.

    Each size is the option nearest to the reference's times the factor, the smaller one of two that are as near.
    depth: scale the numbers of blocks, too.  resolution: scale the size of the input, too.
    """
    kept = {name for name in space.decisions if is_depth(name) and not depth}
    kept |= set() if resolution else ONE_HOT_DECISIONS
    moved = [name for name in space.decisions if name not in kept]
    return nested(space, reference, {name: middles(space, name) / float(str(reference[name])) for name in moved})


def middles(space: Space, name: str) -> NDArray[np.float64]:
    """Return what lies between neighbouring options of a size, (options - 1,): above it the larger one is nearer."""
    options = np.asarray(space.options(name), dtype=np.float64)
    return (options[1:] + options[:-1]) / 2
