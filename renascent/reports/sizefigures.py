"""Figures of sizes: before and after, over a search, and what they cost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from renascent.core.text import number
from renascent.reports.plots import (
    CLOUDS,
    COLOURS,
    SOFT,
    Line,
    Picture,
    bare,
    draw,
    ends,
    epoch_axis,
    room,
    tip,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL = 20
"""Letters of a decision's name that a drawing has room for."""

SHADES, BINS = 10, 48
"""Depths of colour in a heat map, and columns at most: neighbouring epochs come together."""

ROWS = 26
"""More rows than this have no names of their own."""


@dataclass(frozen=True)
class Size:
    """One decision. before: of the reference.  after: of what was found; None where it is not there any more."""

    name: str
    before: float
    after: float | None


@dataclass(frozen=True)
class Dots(Line):
    """Points of one kind. names: of each point, its kind's if not given.  joined: by a line."""

    names: Sequence[str] = ()
    joined: bool = False


def profile(sizes: Sequence[Size], *, unit: str, title: str, share: bool = False) -> Picture:
    """Draw sizes layer by layer as columns: pale before, full after; only pale where a layer is not there any more.

    share: in times the size before.
    """
    wide = 0.84 if len(sizes) < 80 else 1.0

    def paint(axes: Axes) -> None:
        for k, size in enumerate(sizes):
            whole, gone = size.before if share else 1.0, size.after is None
            said = tip(f"{size.name}: {size.before:g}, now {'left out' if gone else f'{size.after:g}'}")
            axes.bar(k, size.before / whole, wide, color=(SOFT, 0.14 if gone else 0.28), gid=said)
            if size.after is not None:
                axes.bar(k, size.after / whole, wide, color=COLOURS[0], gid=said)
        axes.margins(x=0)
        _stages(axes, [size.name for size in sizes])
        axes.grid(visible=False, axis="x")

    return draw(title, paint, height=190, head=unit)


def bars(sizes: Sequence[Size], title: str) -> Picture:
    """Draw a few sizes, such as depths, as bars across: pale before, full after."""

    def paint(axes: Axes) -> None:
        for k, size in enumerate(sizes):
            before, after = size.before, size.after or 0
            for value, colour in ((before, (SOFT, 0.28)), (after, COLOURS[0])):
                axes.barh(k, value / max(before, after), 0.72, color=colour, gid=tip(f"{value:g}"))
            axes.text(1.03, k, f"{after:g} of {before:g}", color=SOFT, va="center")
        bare(axes, [_named(size.name) for size in sizes])
        axes.set(xlim=(0, 1), xticks=[])

    return draw(title, paint, height=21 * len(sizes) + 10, head="")


def heat(rows: Mapping[str, Sequence[float]], epochs: Sequence[int], *, high: float, unit: str, title: str) -> Picture:
    """Draw a number of each decision (a row) at each epoch, the larger the darker. high: of the darkest.

    Of hundreds of epochs, neighbouring ones are drawn as their mean; so are shades a few.
    """
    parts = np.array_split(np.array(list(rows.values())), min(BINS, len(epochs)), axis=1)
    means = np.stack([part.mean(1) for part in parts], axis=1) / high
    tall = 13.0 if len(rows) <= ROWS else max(2.4, 340 / len(rows))

    def paint(axes: Axes) -> None:
        extent = (epochs[0] - 0.5, epochs[-1] + 0.5, len(rows) - 0.5, -0.5)
        axes.imshow(_shaded(means), aspect="auto", interpolation="none", extent=extent)
        bare(axes, *_rows(list(rows), tall))
        epoch_axis(axes, epochs[0], epochs[-1], margin=0.5)
        _key(axes, high)

    return draw(title, paint, height=tall * len(rows) + 70, head=unit)


def plane(series: Sequence[Dots], *, title: str, x_unit: str, y_unit: str, limit: float | None = None) -> Picture:
    """Draw points in a plane. limit: where a dashed line goes upright."""
    xs = [x for dots in series for x, _ in dots.points] + ([] if limit is None else [limit])
    ys = [y for dots in series for _, y in dots.points]

    def paint(axes: Axes) -> None:
        axes.set_xlim(0, 1.04 * max(xs))
        low, high = room(ys)
        axes.set_ylim(low, high if limit is None else high + 0.08 * (high - low))  # the budget's name stands on top
        if limit is not None:
            axes.axvline(limit, color=SOFT, linewidth=1, linestyle=(0, (3, 3)))
            axes.text(limit, 1, " budget", color=SOFT, va="top", transform=axes.get_xaxis_transform())
        for dots in series:
            if dots.joined:
                axes.plot(*zip(*dots.points, strict=True), color=dots.colour, linewidth=1, linestyle=(0, (2, 3)))
            for name, (x, y) in zip(dots.names or itertools.repeat(dots.name), dots.points, strict=False):
                said = tip(f"{name}: {number(x, 3, short=True)}, {y:.2f}")
                axes.plot(x, y, "o", color=dots.colour, markersize=6, gid=said, clip_on=False)
        axes.xaxis.set_major_formatter(lambda value, _: number(value, 3, short=True))
        axes.set_xlabel(x_unit)
        ends(axes, series)

    return draw(title, paint, height=215, head=y_unit)


def _key(axes: Axes, high: float) -> None:
    """Show on the upper right what the depths of colour mean, 0 to `high`."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    key: dict[str, Any] = {"xy": (1, 1), "xycoords": "axes fraction"}
    for x, side, words in ((-83, "right", "0"), (-28, "left", f"{high:.3g}")):
        axes.annotate(words, xytext=(x, 9), textcoords="offset points", ha=side, color=SOFT, **key)
    image = OffsetImage(_shaded(np.linspace(0, 1, SHADES + 1)[None].repeat(8, 0).repeat(4, 1)), interpolation="none")
    about: dict[str, Any] = {"boxcoords": "offset points", "box_alignment": (0, 0), "frameon": False, "pad": 0}
    axes.add_artist(AnnotationBbox(image, xybox=(-78, 9), **about, **key))


def _shaded(shares: np.ndarray) -> np.ndarray:
    """Return an image of one colour, the more opaque the larger the share of one."""
    from matplotlib.colors import to_rgb

    opacity = np.maximum(np.round(np.clip(shares, 0, 1) * SHADES) / SHADES, 0.04)
    return np.concatenate([np.broadcast_to(to_rgb(CLOUDS[0]), (*shares.shape, 3)), opacity[..., None]], axis=-1)


def _stages(axes: Axes, names: Sequence[str]) -> None:
    """Name runs of decisions that begin alike on the lower axis, where there is room."""
    runs = list(_runs(names))
    axes.set_xticks([first - 0.5 for _, first, _ in runs], minor=True)
    held = [run for run in runs if 300 * run[2] / len(names) > 6.5 * len(run[0])]
    axes.set_xticks([first + (count - 1) / 2 for _, first, count in held], [stage for stage, *_ in held])
    axes.tick_params(axis="x", length=0, which="major")


def _rows(names: Sequence[str], tall: float) -> tuple[list[str], list[float]]:
    """Return a name for every row and where it stands; where there are many, of runs of them that begin alike."""
    if len(names) <= ROWS:
        return [_named(name) for name in names], list(range(len(names)))
    places: dict[float, str] = {}
    for stage, first, count in _runs(names):
        middle = first + (count - 1) / 2
        if not places or tall * (middle - max(places)) >= 13:
            places[middle] = _named(stage, 12)
    return list(places.values()), list(places)


def _runs(names: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Return (what they begin with, first, count) of neighbouring names that begin alike."""
    first = 0
    for stage, run in itertools.groupby(names, key=lambda name: name.partition(".")[0]):
        count = len(list(run))
        yield stage, first, count
        first += count


def _named(name: str, most: int = LABEL) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"
