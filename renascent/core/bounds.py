"""Bounds in text: NAME<=NUMBER."""

from __future__ import annotations

import re
from typing import NamedTuple


class Read(NamedTuple):
    """What a bound says. number: NaN where there is none.  suffix: letters behind it."""

    name: str
    upper: bool
    number: float
    suffix: str


def read_bound(text: str) -> Read | None:
    """Return the parts of NAME<=NUMBER or NAME>=NUMBER, letters behind the number; None for anything else.

    >>> read_bound("macs <= 0.5x"), read_bound("macs=3")
    (Read(name='macs', upper=True, number=0.5, suffix='x'), None)
    """
    match = re.fullmatch(r"\s*([^<>=\s]+)\s*([<>])=\s*([-+.\deE]+?)\s*([A-Za-z]*)\s*", text)
    if match is None:
        return None
    try:
        number = float(match[3])
    except ValueError:
        number = float("nan")
    return Read(match[1], match[2] == "<", number, match[4])
