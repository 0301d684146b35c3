"""Random option indices: a uniform sample, and a mutation. One call of the generator each, for speed."""

from collections.abc import Sequence

import numpy as np


def uniform(counts: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
    """Return an option index of each decision, all equally likely.

    >>> uniform((1, 1), np.random.default_rng(0))
    (0, 0)
    """
    return tuple([int(u * count) for u, count in zip(rng.random(len(counts)).tolist(), counts, strict=True)])


def mutated(picks: Sequence[int], counts: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
    """Return `picks` with one decision, which has a choice, changed to another option; all changes equally likely.

    >>> mutated((0, 1), (1, 2), np.random.default_rng(0))
    (0, 0)
    """
    where, which = rng.random(2).tolist()
    free = [k for k, count in enumerate(counts) if count > 1]
    place = free[int(where * len(free))]
    changed = list(picks)
    changed[place] = (picks[place] + 1 + int(which * (counts[place] - 1))) % counts[place]
    return tuple(changed)
