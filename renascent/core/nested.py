"""Rows of networks, each one step of one decision larger than the one before, by where each decision takes a step."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from renascent.core.decisions import is_depth
from renascent.core.gates import ONE_HOT_DECISIONS
from renascent.core.space import Arch, Space


def nested(space: Space, start: Arch, steps: Mapping[str, NDArray[np.float64]]) -> NDArray[np.int64]:
    """Return every member of a family that has one parameter, as option indices (n, decisions), the smallest first.

    Of decisions that take a step at the same value, those that come first in the space take it first, each in a row of
    its own, so that a budget between two values is used.

    steps: from which value of the parameter on a decision has its next option, (options - 1,), not falling; infinite
    where it never has. Decisions without an entry are as in `start`.

    >>> from renascent.core.space import Integer
    >>> space = Space({"a": Integer((1, 2)), "b": Integer((1, 2, 3)), "c": Integer((1, 2))})
    >>> start = space.arch({"a": 2, "b": 3, "c": 2})
    >>> nested(space, start, {"a": np.array([0.5]), "b": np.array([0.5, 0.7])}).tolist()
    [[0, 0, 1], [1, 0, 1], [1, 1, 1], [1, 2, 1]]
    """
    places = {name: place for place, name in enumerate(space.decisions)}
    order = sorted((value, places[name]) for name, values in steps.items() for value in values if value < np.inf)
    rows = np.repeat(space.indices(start)[None], len(order) + 1, axis=0)
    rows[:, [places[name] for name in steps]] = 0
    for row, (_, place) in enumerate(order, start=1):
        rows[row:, place] += 1
    return rows


def uniform_rows(
    space: Space, reference: Arch, *, depth: bool = False, resolution: bool = False, depth_first: bool = False
) -> NDArray[np.int64]:
    """Return every network that one factor of the reference's sizes gives, as `nested` does.

    Each size is the option nearest to the reference's times the factor; where it lies in the middle of two, the first
    ones have the larger and the rest the smaller, in every share.
    depth: scale the numbers of blocks, too.  resolution: scale the size of the input, too.
    depth_first: scale the numbers of blocks alone, by a factor of their own, and the rest only in networks that have
    the fewest; `depth` says nothing then.
    """
    depths = {name for name in space.decisions if is_depth(name)}
    kept = set() if resolution else ONE_HOT_DECISIONS
    if not depth_first:
        return _scaled(space, reference, kept if depth else kept | depths)
    narrow = _scaled(space, reference, kept | depths)
    narrow = narrow[(narrow < space.indices(reference)).any(1)]
    narrow[:, [place for place, name in enumerate(space.decisions) if name in depths]] = 0
    return np.concatenate([narrow, _scaled(space, reference, set(space.decisions) - depths)])


def _scaled(space: Space, reference: Arch, kept: AbstractSet[str]) -> NDArray[np.int64]:
    """Return the networks that one factor of all but some sizes of the reference gives."""
    moved = [name for name in space.decisions if name not in kept]
    return nested(space, reference, {name: middles(space, name) / float(str(reference[name])) for name in moved})


def middles(space: Space, name: str) -> NDArray[np.float64]:
    """Return what lies between neighbouring options of a size, (options - 1,): above it the larger one is nearer."""
    options = np.asarray(space.options(name), dtype=np.float64)
    return (options[1:] + options[:-1]) / 2


def magnitude_rows(space: Space, reference: Arch, channels: Mapping[str, NDArray[np.float64]]) -> NDArray[np.int64]:
    """Return every network that one threshold gives, as `nested` does. channels: as in `Setup`."""
    steps = {name: _at_thresholds(space, name, strengths) for name, strengths in channels.items()}
    return nested(space, reference, steps)


def _at_thresholds(space: Space, name: str, strengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return minus the threshold at which a width has its next option: when one channel more than the middle is kept.

    strengths: (channels,), not rising.
    """
    needed = np.floor(middles(space, name)).astype(np.int64)
    return np.append(-strengths, np.inf)[np.minimum(needed, len(strengths))]
