"""Bounds in text: NAME<=NUMBER."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from renascent.core.errors import UserError, unknown

COSTS = ("macs", "params", "memory_access_bytes", "activation_bytes")
"""Multiply-accumulates, parameters, bytes moved, and the peak of bytes of maps alive: of one input."""

LATENCY = "latency_ms"

SUFFIXES = {"": 1.0, "x": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}


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


@dataclass(frozen=True)
class Bound:
    """The most allowed of one cost. value: in its unit, or, if `relative`, in times the reference's.

    >>> Bound.parse("macs<=0.5x"), Bound.parse("params <= 2M").value
    (Bound(name='macs', value=0.5, relative=True), 2000000.0)
    """

    name: str
    value: float
    relative: bool = False

    @classmethod
    def parse(cls, text: str) -> Bound:
        """Read NAME<=NUMBER, the number with k, M, G or x behind it. Raises UserError for anything else."""
        read = read_bound(text)
        if read is None or not read.upper:
            raise UserError(
                f"budget '{text.strip()}' cannot be read: write NAME<=NUMBER, as in macs<=0.5x or params<=2M"
            )
        name, _, number, suffix = read
        if name not in (*COSTS, LATENCY):
            raise unknown("cost in the budget", name, (*COSTS, LATENCY))
        if suffix not in SUFFIXES or (suffix not in ("", "x") and name == LATENCY):
            raise UserError(
                f"budget '{text.strip()}' has the unit '{suffix}': write a plain number, k, M or G behind it, or x "
                f"for times the reference's ({LATENCY} is in milliseconds)"
            )
        value = number * SUFFIXES[suffix]
        if math.isnan(value):
            raise UserError(f"budget '{text.strip()}' has no number behind <=: write one, as in macs<=40e6")
        if not 0 < value < math.inf:
            says = "bounds nothing" if value > 0 else "allows nothing"
            raise UserError(f"budget '{text.strip()}' {says}: give a finite number above 0")
        return cls(name, value, suffix == "x")

    def __str__(self) -> str:
        return f"{self.name}<={self.value:.12g}{'x' if self.relative else ''}"


def read_budget(text: str) -> tuple[Bound, ...]:
    """Read bounds with commas between them. Raises UserError for what cannot be read, and a cost given twice."""
    bounds = tuple(Bound.parse(part) for part in text.split(","))
    names = [bound.name for bound in bounds]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"budget '{text}' bounds {twice[0]} twice: give each cost once")
    return bounds
