"""Sizes in text: before and after, decision by decision."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from renascent.core.space import Arch, Space
from renascent.core.text import aligned

LINES = 40
"""More decisions than this share lines."""


def draw_sizes(space: Space, reference: Mapping[str, Any], arch: Arch) -> str:
    """Return one line a decision that matters in `arch`: its value, the reference's, a bar of the share that is left.

    Decisions of dropped blocks are left out. With more than 40 decisions, those of a block share a line.

    >>> from renascent.core.space import Integer
    >>> space = Space({"stem": Integer((8, 16))})
    >>> print(draw_sizes(space, {"stem": 16}, space.arch({"stem": 8})))
    stem  8  of  16  ##########..........
    """
    names = space.active(arch)
    if len(names) > LINES:
        return _in_blocks({name: f"{arch[name]} of {reference[name]}" for name in names})
    return aligned([(name, *_change(reference[name], arch[name])) for name in names], "<><><")


def _change(before: int, after: Any) -> tuple[str, ...]:
    filled = round(20 * min(after / max(before, 1), 1.5))
    return str(after), "of", str(before), "#" * filled + "." * (20 - filled)


def _in_blocks(values: Mapping[str, str]) -> str:
    """Return one line for each run of decisions whose names differ behind the last dot only."""
    lines: list[tuple[str, str]] = []
    for place, names in itertools.groupby(values, key=lambda name: name.rpartition(".")[0]):
        if place:
            parts = [f"{name.rpartition('.')[2]} {values[name]}" for name in names]
            lines.append((place, ", ".join(parts)))
        else:
            lines += [(name, values[name]) for name in names]
    return aligned(lines)
