"""Figures of a search and of a training: curves over epochs, and which option each decision preferred."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from renascent.reports.cell import short
from renascent.reports.plots import COLOURS, HUES, RULE, SOFT, Line, Picture, bare, chart, draw, epoch_axis, tip

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = {"loss": ("loss", 1.0), "score": ("accuracy (%)", 100.0)}
"""What is drawn over epochs: its axis, and the factor to the axis's unit."""

SPLITS = {"train": ("train", SOFT), "val": ("validation", COLOURS[0])}
"""Of which data, and in which colour."""


def curves(epochs: Sequence[Mapping[str, Any]], what: str) -> list[Picture]:
    """Draw loss and accuracy over epochs; what a strategy does not measure is left out."""
    drawn = []
    for metric, (unit, factor) in METRICS.items():
        lines = [
            Line(name, points, colour)
            for split, (name, colour) in SPLITS.items()
            if (points := [(e["epoch"], factor * e[key]) for e in epochs if (key := f"{split}_{metric}") in e])
        ]
        if lines:
            drawn.append(chart(lines, f"{unit} in each epoch of {what}", unit))
    return drawn


def strips(
    rows: Mapping[str, Sequence[object]], epochs: Sequence[int], styles: Mapping[object, str], title: str
) -> Picture:
    """Draw which option each decision (a row) preferred at each epoch, as strips of colour.

    styles: the class of each option in the style sheet, o0 to o7 or none.
    """

    def paint(axes: Axes) -> None:
        for k, (name, options) in enumerate(rows.items()):
            at = 0
            for option, run in itertools.groupby(options):
                n, style = len(list(run)), styles.get(option, "")
                colour = HUES[int(style[1:])] if style.startswith("o") else RULE if style else SOFT
                span = f"epoch {epochs[at]}" if n == 1 else f"epochs {epochs[at]} to {epochs[at + n - 1]}"
                said = tip(f"{name}: {short(option)}, {span}")
                axes.barh(k, epochs[at + n - 1] - epochs[at] + 1, 0.8, left=epochs[at] - 0.5, color=colour, gid=said)
                at += n
            axes.text(1.03, k, short(options[-1]), va="center", transform=axes.get_yaxis_transform())
        bare(axes, list(rows))
        epoch_axis(axes, epochs[0], epochs[-1], margin=0.5)

    return draw(title, paint, height=18 * len(rows) + 50, head="")
