"""Figures of benchmark reports: curves with bands, scatters, rankings and correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renascent.reports.plots import CLOUDS, COLOURS, DASHES, INK, PAPER, Line, Picture, draw, ends, levels, room

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 2000
"""Points from which on a scatter is drawn as pixels."""

Curve = tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]
"""x, and at each x the mean, the lower and the upper end of its band; NaN where nothing is known."""


def bands(
    curves: Mapping[str, Curve], xlabel: str, ylabel: str, title: str, references: Mapping[str, float] | None = None
) -> Picture:
    """Draw a mean over time for each name, with a band around it.

    references: label -> value of a dashed line across.

    The upright axis holds what is there after the first twentieth of the time: the first few trials are much lower,
    and would leave no room for the rest.
    """
    held = {name: [np.asarray(part, dtype=float) for part in curve] for name, curve in curves.items()}

    def paint(axes: Axes) -> None:
        lines = []
        for k, (name, (x, mean, low, high)) in enumerate(held.items()):
            colour = COLOURS[k % len(COLOURS)]
            axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
            axes.plot(x, mean, color=colour, linestyle=DASHES[colour], linewidth=1.8)
            lines.append(Line(name, list(zip(x, mean, strict=True)), colour))
        axes.margins(x=0)
        axes.set(xlabel=xlabel, ylabel=ylabel, ylim=_settled(list(held.values()), list((references or {}).values())))
        levels(axes, references or {})
        ends(axes, lines)

    return draw(title, paint)


def scatter(
    x: ArrayLike,
    y: ArrayLike,
    xlabel: str,
    ylabel: str,
    title: str,
    *,
    front: NDArray[np.bool_] | None = None,
    marked: Mapping[str, int] | None = None,
) -> Picture:
    """Draw a point for each architecture, (n,) each.

    front: those on the Pareto front, joined by steps.  marked: label -> a point to be named.

    An axis leaves out its lowest twentieth where that would take most of the room; the figure says how many these are.
    """
    across, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)

    def paint(axes: Axes) -> None:
        _cloud(axes, across, up, CLOUDS[0])
        hidden = np.zeros(len(up), dtype=bool)
        for values, limit in ((across, axes.set_xlim), (up, axes.set_ylim)):
            if (least := _least(values)) is not None:
                least -= 0.04 * (values.max() - least)
                limit(least)
                hidden |= values < least
        if front is not None and front.any():
            order = np.argsort(across[front], kind="stable")
            points = across[front][order], up[front][order]
            axes.plot(*points, color=COLOURS[4], linewidth=1.3, drawstyle="steps-post")
            axes.plot(*points, "o", color=COLOURS[4], markersize=4, label="Pareto front")
        for k, (label, at) in enumerate((marked or {}).items()):
            colour, shape, size = (COLOURS[3], "D", 10) if k == 0 else (COLOURS[1], "s", 6)
            axes.plot(across[at], up[at], shape, color=colour, markersize=size, markeredgecolor=PAPER, label=label)
        words = f"{xlabel}; {hidden.sum():,} lower points lie outside" if hidden.any() else xlabel
        axes.set(xlabel=words, ylabel=ylabel)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", handletextpad=0.4)

    return draw(title, paint)


def rankings(base: str, ranks: Mapping[str, ArrayLike], title: str) -> Picture:
    """Draw the rank of each architecture on some data sets against its rank on another, 1 being the best.

    base: the data set across.  ranks: data set -> rank of each architecture (n,); the same order in all.
    """
    across = np.asarray(ranks[base])
    others = {name: np.asarray(rank) for name, rank in ranks.items() if name != base}

    def paint(axes: Axes) -> None:
        for k, (name, rank) in enumerate(others.items()):
            colour = CLOUDS[k % len(CLOUDS)]
            _cloud(axes, across, rank, colour)
            axes.plot([], [], "o", color=colour, markersize=5, label=name)
        limits = (1, len(across))
        axes.plot(limits, limits, color=INK, linewidth=1, label=base)
        axes.set(xlabel=f"rank on {base}", ylabel="rank on the others", xlim=limits, ylim=limits)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, handletextpad=0.4, handlelength=1.2)

    return draw(title, paint)


def matrix(names: Sequence[str], values: ArrayLike, title: str) -> Picture:
    """Draw correlations (n, n) from -1 to 1 as a map with numbers in it; NaN stays empty."""
    from matplotlib.patches import Rectangle

    cells = np.asarray(values, dtype=float)

    def paint(axes: Axes) -> None:
        for (i, j), value in np.ndenumerate(cells):
            if np.isfinite(value):
                colour, alpha = COLOURS[0 if value >= 0 else 4], 0.04 + 0.46 * abs(value) ** 2
                axes.add_patch(Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, color=colour, alpha=alpha, linewidth=0))
            words = f"{value:.3f}" if np.isfinite(value) else "-"
            axes.text(j, i, words, ha="center", va="center", color=INK)
        axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
        lean, side = (30, "right") if len(names) > 3 else (0, "center")
        axes.set_xticks(range(len(names)), names, rotation=lean, ha=side)
        axes.set_yticks(range(len(names)), names)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return draw(title, paint, height=min(84 + 34 * len(names), 320))


def _cloud(axes: Axes, x: NDArray[Any], y: NDArray[Any], colour: str) -> None:
    many = len(x) > MANY
    size, alpha = (3.0, 0.25) if many else (14.0, 0.6)
    axes.scatter(x, y, s=size, color=colour, alpha=alpha, linewidths=0, rasterized=many)


def _least(values: NDArray[Any]) -> float | None:
    """Return where an axis is to begin; None where it may begin at the lowest value."""
    if len(values) < 20:
        return None
    bulk = float(np.quantile(values, 0.05))
    return bulk if bulk - values.min() > 0.4 * (values.max() - values.min()) else None


def _settled(curves: Sequence[Sequence[NDArray[Any]]], levels: Sequence[float]) -> tuple[float, float]:
    """Return the limits of the upright axis."""
    seen = list(levels)
    for x, mean, low, high in curves:
        late = x >= x[0] + 0.05 * (x[-1] - x[0])
        told = np.concatenate([part[late & np.isfinite(part)] for part in (mean, low, high)])
        seen += [float(told.min()), float(told.max())] if len(told) else []
    return room(seen)
