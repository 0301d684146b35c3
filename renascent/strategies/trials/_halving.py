"""Hyperband's schedule: how many architectures are trained for how long, and which of them go on."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple


class Rung(NamedTuple):
    """size: trainings on this rung.  epochs: of each."""

    size: int
    epochs: int


class Place(NamedTuple):
    """Where a training stands. bracket: number from 0.  rung: in its bracket.  slot: in the bracket's first rung."""

    bracket: int
    rung: int
    slot: int


Answers = Mapping[tuple[int, int], Mapping[int, tuple[tuple[int, ...], float]]]
"""(bracket, rung) -> slot -> (picks, score)."""


@cache
def rungs(bracket: int, eta: int, least: int, most: int) -> tuple[Rung, ...]:
    """Return the rungs of a bracket: Li et al., Hyperband, JMLR 2018, arXiv:1603.06560, Algorithm 1.

    eta: one in `eta` goes on to the next rung.  least, most: epochs of the shortest and the longest training.

    >>> rungs(0, 3, 1, 12)
    (Rung(size=9, epochs=1), Rung(size=3, epochs=4), Rung(size=1, epochs=12))
    >>> rungs(2, 3, 1, 12), rungs(0, 3, 12, 12)
    ((Rung(size=3, epochs=12),), (Rung(size=1, epochs=12),))
    """
    last = 0
    while least * eta ** (last + 1) <= most:
        last += 1
    steps = last - bracket % (last + 1)
    size = -(-(last + 1) * eta**steps // (steps + 1))  # rounded up, exactly
    return tuple(Rung(size // eta**k, max(least, round(most / eta ** (steps - k)))) for k in range(steps + 1))


def vacancy(bracket: int, plan: Sequence[Rung], answers: Answers, out: Iterable[Place]) -> Place | None:
    """Return the next training of a bracket, None when it has to wait for answers or is done.

    out: trainings under way. A rung is filled once the one below it has all its answers, best first; what is under
    way or answered is never handed out again.
    """
    taken = {place for place in out if place.bracket == bracket}
    for k, rung in enumerate(plan):
        held = answers.get((bracket, k), {})
        slots = set(held) | {place.slot for place in taken if place.rung == k}
        if len(slots) < rung.size:
            fitting = range(rung.size) if k == 0 else promoted(answers[bracket, k - 1], rung.size)
            return Place(bracket, k, next(slot for slot in fitting if slot not in slots))
        if len(held) < rung.size:
            return None
    return None


def promoted(below: Mapping[int, tuple[tuple[int, ...], float]], size: int) -> list[int]:
    """Return the `size` slots of the best scores, best first; the earlier of equals.

    >>> promoted({0: ((1,), 0.5), 1: ((2,), 0.9), 2: ((0,), 0.9)}, 2)
    [1, 2]
    """
    return sorted(sorted(below), key=lambda slot: -below[slot][1])[:size]
