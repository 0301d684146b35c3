"""Widths as a decision: shares of an original's channels."""

from collections.abc import Iterable, Mapping
from typing import Annotated

from renascent.core.fields import Range
from renascent.core.space import Integer, When

Multiplier = Annotated[float, Range(0.01)]
"""What all channels of an original are multiplied by."""


def percent(low: int, high: int, step: int) -> tuple[float, ...]:
    """Return shares from `low` % to `high` %, both included.

    >>> percent(20, 40, 5)
    (0.2, 0.25, 0.3, 0.35, 0.4)
    """
    return tuple(k / 100 for k in range(low, high + 1, step))


def width_decision(original: int, shares: Iterable[float], when: When = None) -> Integer:
    """Return the shares of `original` channels, rounded down; one channel at least.

    >>> width_decision(8, (0.1, 0.3, 1.0)).options
    (1, 2, 8)
    """
    found = Integer.multiples(original, shares).options
    return Integer(tuple(sorted({max(1, option) for option in found})), when)


def integers(arch: Mapping[str, object]) -> dict[str, int]:
    """Return the values of an architecture that are whole numbers: its widths, its depths, its resolution."""
    return {name: value for name, value in arch.items() if isinstance(value, int)}


def widened(channels: int, factor: float) -> int:
    """Return `channels` times `factor`, rounded down; one channel at least.

    >>> widened(32, 0.5), widened(1, 0.1)
    (16, 1)
    """
    return max(1, int(channels * factor * (1 + 1e-12)))
